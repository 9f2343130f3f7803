"""scripts/release: the release passes verification, and faults are found."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest

import monai_dental

BUNDLES = Path(__file__).parents[2] / "bundles"


@pytest.fixture(scope="module")
def release(load_script):
    return load_script("build_release")


@pytest.fixture(scope="module")
def built(release, tmp_path_factory):
    """A verified release."""
    output = tmp_path_factory.mktemp("release") / "dist"
    release.build(output)
    release.verify(output)
    return output


def test_release_has_wheel_sdist_a_zip_for_each_bundle_and_checksums(built):
    version = monai_dental.__version__
    names = {path.name for path in built.iterdir()}

    assert {
        f"monai_dental-{version}-py3-none-any.whl",
        f"monai_dental-{version}.tar.gz",
        "SHA256SUMS",
    } < names
    zips = {name.rpartition("_v")[0] for name in names if name.endswith(".zip")}
    assert zips == {path.name for path in BUNDLES.iterdir()}


def test_file_that_changed_or_went_away_is_found(release, built, tmp_path):
    output = tmp_path / "dist"
    shutil.copytree(built, output)
    path = next(output.glob("*.zip"))
    content = path.read_bytes()

    path.write_bytes(content[:-1] + b"!")
    with pytest.raises(release.ReleaseError, match="differs from SHA256SUMS; build again"):
        release.verify_checksums(output)
    path.unlink()
    with pytest.raises(release.ReleaseError, match="is not both there and in SHA256SUMS"):
        release.verify_checksums(output)


def test_folder_that_is_not_empty_is_refused(release, tmp_path):
    (tmp_path / "earlier.whl").touch()

    with pytest.raises(release.ReleaseError, match="not empty; remove what is in it"):
        release.build(tmp_path)


def test_zip_holds_what_the_bundle_ships_and_the_same_bytes_each_time(release, tmp_path):
    bundle = tmp_path / "dental_xray_denoising_dae"
    shutil.copytree(BUNDLES / bundle.name, bundle)
    for name in ("eval/history.csv", "models/checkpoint_model.pt", "models/model.previous.pt"):
        (bundle / name).parent.mkdir(exist_ok=True)
        (bundle / name).write_bytes(b"of a training")
    contents = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        path = release.zip_bundle(bundle, tmp_path / name)
        contents.append(path.read_bytes())

    assert contents[0] == contents[1]
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    assert {name.split("/")[1] for name in names} == {"LICENSE", "configs", "docs", "models"}
    assert [name for name in names if "/models/" in name] == [f"{bundle.name}/models/model.pt"]


def test_bundle_without_weights_is_refused(release, tmp_path):
    bundle = tmp_path / "dental_xray_denoising_dae"
    shutil.copytree(BUNDLES / bundle.name, bundle)
    (bundle / "models" / "model.pt").unlink()

    with pytest.raises(release.ReleaseError, match="no models/model.pt; restore it"):
        release.zip_bundle(bundle, tmp_path)
