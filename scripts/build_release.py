"""Build the files of a release and verify them; called by scripts/release."""

from __future__ import annotations

import hashlib
import json
import logging
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import numpy as np

import monai_dental
from monai_dental.bundle.find import read_metadata
from monai_dental.errors import MonaiDentalError
from monai_dental.files.digests import digest_of

ROOT = Path(__file__).parents[1]
CHECKSUMS = "SHA256SUMS"
_SHIPPED = ("LICENSE", "configs", "docs", "models/model.pt")
_MOMENT = (1980, 1, 1, 0, 0, 0)
"""Time stamp of each file in a zip, so that the same bundle gives the same bytes."""


class ReleaseError(MonaiDentalError):
    """A release cannot be built, or has wrong contents."""


def main(arguments: list[str]) -> int:
    """Build a release into an empty or new folder, and verify it."""
    output = Path(arguments[0])
    logging.disable(logging.INFO)  # MONAI logs each argument of a download
    try:
        build(output)
        verify(output)
    except MonaiDentalError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    print(f"{len(list(output.iterdir()))} files, read back: {output}")
    return 0


def build(output: Path) -> None:
    """Build wheel, sdist, a zip for each bundle, and their checksums.

    Args:
        output: An empty or new folder.

    Raises:
        ReleaseError: The folder is not empty, or a build fails.
    """
    output.mkdir(parents=True, exist_ok=True)
    if any(output.iterdir()):
        raise ReleaseError(f"{output}: not empty; remove what is in it, or name another folder")
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(output)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ReleaseError(f"{ROOT}: hatchling cannot build it:\n{done.stderr.strip()}")
    for bundle in sorted((ROOT / "bundles").iterdir()):
        zip_bundle(bundle, output)
    lines = [f"{digest_of(path)}  {path.name}\n" for path in sorted(output.iterdir())]
    (output / CHECKSUMS).write_text("".join(lines), encoding="utf-8")


def zip_bundle(bundle: Path, output: Path) -> Path:
    """Write a bundle as a zip for `monai.bundle.download`, named as in MONAI's model zoo.

    Args:
        bundle: The bundle's folder. Outputs of a training are left out.
        output: Folder for the zip.

    Returns:
        The zip: NAME_vVERSION.zip, its files below NAME/.

    Raises:
        ReleaseError: The bundle lacks its weights.
    """
    if not (bundle / "models" / "model.pt").is_file():
        raise ReleaseError(f"{bundle}: there is no models/model.pt; restore it or train the bundle")
    path = output / f"{bundle.name}_v{read_metadata(bundle)['version']}.zip"
    files = [
        file
        for name in _SHIPPED
        for file in sorted([bundle / name, *(bundle / name).rglob("*")])
        if file.is_file()
    ]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            name = file.relative_to(bundle.parent).as_posix()
            entry = zipfile.ZipInfo(name, _MOMENT)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, file.read_bytes())
    return path


def verify(output: Path) -> None:
    """Verify a release.

    This checks the checksums, the installed wheel's version and bundles, the wheel built from the
    sdist, and each zip by `monai.bundle.download`, with its network and weights.

    Args:
        output: Folder of the release.

    Raises:
        ReleaseError: A file is missing or wrong.
    """
    verify_checksums(output)
    version = monai_dental.__version__
    wheel = output / f"monai_dental-{version}-py3-none-any.whl"
    sdist = output / f"monai_dental-{version}.tar.gz"
    for path in (wheel, sdist):
        if not path.is_file():
            raise ReleaseError(f"{path}: not there")
    with tempfile.TemporaryDirectory() as folder:
        _verify_wheel(wheel, Path(folder) / "wheel")
        _verify_sdist(sdist, wheel, Path(folder) / "sdist")
        zips = sorted(output.glob("*.zip"))
        for path in zips:
            verify_zip(path, Path(folder) / "bundles")
    if len(zips) != len(list((ROOT / "bundles").iterdir())):
        raise ReleaseError(f"{output}: {len(zips)} zips; need one for each bundle")


def verify_checksums(output: Path) -> None:
    """Compare each file with its checksum.

    Raises:
        ReleaseError: A file is missing, or its digest is missing or different.
    """
    lines = (output / CHECKSUMS).read_text(encoding="utf-8").splitlines()
    listed = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    there = {path.name for path in output.iterdir()} - {CHECKSUMS}
    for name in sorted(there ^ set(listed)):
        raise ReleaseError(f"{output / name}: is not both there and in {CHECKSUMS}; build again")
    for name, digest in listed.items():
        if digest_of(output / name) != digest:
            raise ReleaseError(f"{output / name}: differs from {CHECKSUMS}; build again")


def verify_zip(path: Path, folder: Path) -> None:
    """Load a bundle's zip as a user of MONAI would.

    Args:
        path: The zip.
        folder: Folder to unpack it to.

    Raises:
        ReleaseError: Its version differs from the one in its name.
        BundleError: Its network or its weights cannot be loaded.
    """
    from monai.bundle import download

    from monai_dental.inference.denoiser import Denoiser

    name, _, version = path.stem.rpartition("_v")
    download(name=name, bundle_dir=str(folder), url=path.as_uri(), progress=False)
    root = folder / name
    if str(read_metadata(root)["version"]) != version:
        raise ReleaseError(f"{path}: holds version {read_metadata(root)['version']}; build again")
    Denoiser(root).denoise(np.zeros((1, 64, 64), dtype=np.float32))


def _verify_wheel(wheel: Path, folder: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        if archive.testzip() is not None:
            raise ReleaseError(f"{wheel}: broken; build again")
        archive.extractall(folder)
    code = (
        f"import sys; sys.path.insert(0, {str(folder)!r}); import json, monai_dental; "
        "from monai_dental.bundle.find import shipped_bundles; "
        "print(json.dumps([monai_dental.__file__, monai_dental.__version__, shipped_bundles()]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ReleaseError(f"{wheel}: cannot be imported: {done.stderr.strip().splitlines()[-1]}")
    place, version, bundles = json.loads(done.stdout)
    bundles_here = sorted(path.name for path in (ROOT / "bundles").iterdir())
    if not place.startswith(str(folder)) or version != monai_dental.__version__:
        raise ReleaseError(f"{wheel}: imports as {version} from {place}")
    if len(bundles) != len(bundles_here):
        raise ReleaseError(f"{wheel}: holds the bundles {bundles}; need {bundles_here}")


def _verify_sdist(sdist: Path, wheel: Path, folder: Path) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (source,) = folder.iterdir()
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel"]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ReleaseError(f"{sdist}: hatchling cannot build it: {done.stderr.strip()}")
    if _contents(source / "dist" / wheel.name) != _contents(wheel):
        raise ReleaseError(f"{sdist}: builds another wheel than the checkout does")


def _contents(wheel: Path) -> dict[str, str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: hashlib.sha256(archive.read(name)).hexdigest() for name in archive.namelist()}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
