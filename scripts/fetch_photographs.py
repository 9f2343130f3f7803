"""Fetch photographs from Debian packages, from which a training learns edges and textures.

A maintainers' tool: `python scripts/fetch_photographs.py --output DIR`. `photographs.csv` beside it
lists each picture, its author and licence, and its package by version and SHA-256; nothing else is
used. It needs apt-get (or `--packages`, a folder of the .deb files) and dpkg-deb. Versions that
Debian has replaced are still on snapshot.debian.org. In DIR it creates

    training/     pictures in the public domain or under licences that require at most attribution
    heldout/      pictures for evaluation, never for training, whatever their licence
    share_alike/  with `--share-alike`: pictures under the GPL, LGPL or CC-BY-SA
    CREDITS.csv   file, title, author, licence, package and version of each

Pictures are converted to 16-bit greyscale: the ITU-R BT.709 luma of the stored sRGB values,
averaged over squares of 2 or 3 pixels to remove camera noise and JPEG artefacts.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from numpy.typing import NDArray

LIST = Path(__file__).with_name("photographs.csv")
PERMISSIVE = frozenset({"BSD-3-Clause", "CC-BY-2.0", "CC-BY-4.0", "CC0-1.0", "MIT"})
SHARE_ALIKE = frozenset(
    {
        "CC-BY-SA-3.0",
        "CC-BY-SA-4.0",
        "GPL-2.0-or-later",
        "LGPL-2.1-or-later",
        "LGPL-3.0-only",
    }
)
LUMA_BGR = np.array([0.0722, 0.7152, 0.2126], np.float32)
MAX_NOISE = 0.003  # of the range; with more, a network would learn to keep a radiograph's noise
PATCH = 24  # pixels; in smaller patches the median varies, and the flattest would read far too low
NOISE_KERNEL = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32) / 6  # keeps white noise


class FetchError(Exception):
    """A package or a picture is not available as listed."""


@dataclass(frozen=True)
class Photograph:
    """One row of the list: a picture in a package, its author and licence, and its use."""

    package: str
    version: str
    sha256: str  # of the .deb file
    path: PurePosixPath  # in the package
    title: str
    author: str
    licence: str  # SPDX
    factor: int  # side in pixels of the squares to average
    held_out: bool
    share_alike: bool

    @property
    def folder(self) -> str:
        """Return the name of the picture's folder."""
        if self.held_out:
            return "heldout"
        return "share_alike" if self.share_alike else "training"

    @property
    def file_name(self) -> str:
        """Return the name of the converted picture, from its title, as stems are not unique."""
        return f"{self.package}-{self.title.replace(' ', '_')}.png"


def read_list(path: Path) -> list[Photograph]:
    """Return the photographs of a list, in its order."""
    with path.open(encoding="utf-8", newline="") as file:
        return [
            Photograph(
                package=row["package"],
                version=row["version"],
                sha256=row["sha256"],
                path=PurePosixPath(row["path"]),
                title=row["title"],
                author=row["author"],
                licence=row["licence"],
                factor=int(row["factor"]),
                held_out=row["holdout"] == "1",
                share_alike=row["share_alike"] == "1",
            )
            for row in csv.DictReader(file)
        ]


def convert(path: Path, factor: int) -> NDArray[np.uint16]:
    """Return a picture as greyscale, averaged over squares of `factor` pixels.

    Args:
        path: An 8- or 16-bit picture in colour or grey; transparency is ignored.
        factor: Side of the squares in pixels. Rows and columns that do not fill a square are
            cropped.

    Returns:
        Luma, (H // factor, W // factor), 65535 = white.

    Raises:
        FetchError: The file is not a picture, or is noisy.
    """
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    if pixels is None or pixels.dtype not in (np.uint8, np.uint16):
        raise FetchError(f"{path.name}: no 8- or 16-bit picture that OpenCV reads")
    white = np.float32(255 if pixels.dtype == np.uint8 else 65535)
    luma = pixels.astype(np.float32) @ LUMA_BGR / white
    rows, columns = (side // factor for side in luma.shape)
    squares = luma[: rows * factor, : columns * factor].reshape(rows, factor, columns, factor)
    grey = squares.mean((1, 3))
    noise = residual_noise(grey)
    if not noise <= MAX_NOISE:
        raise FetchError(f"{path.name}: noise of {noise:.4f} is left; at most {MAX_NOISE} is clean")
    stored: NDArray[np.uint16] = np.round(grey * 65535).astype(np.uint16)
    return stored


def residual_noise(image: NDArray[np.float32]) -> float:
    """Return the standard deviation of the noise in the flattest hundredth of an image.

    Args:
        image: (H, W) in [0, 1].

    Returns:
        Mean over those patches of the median absolute response to a mask that cancels planes,
        expressed as the standard deviation of white noise. Black, white or constant patches are
        ignored. NaN if fewer than 10 remain.

    References:
        Immerkær, Comput. Vis. Image Underst. 64(2), 1996.
    """
    response = _patches(np.asarray(cv2.filter2D(image, -1, NOISE_KERNEL), np.float32)[1:-1, 1:-1])
    means = _patches(image[1:-1, 1:-1]).mean(1)
    counts = (means > 0.05) & (means < 0.95) & ((response != 0).mean(1) > 0.5)
    deviations = np.sort(np.median(np.abs(response[counts]), 1)) / 0.6745
    if len(deviations) < 10:
        return float("nan")
    return float(deviations[: max(10, len(deviations) // 100)].mean())


def _patches(image: NDArray[np.float32]) -> NDArray[np.float32]:
    rows, columns = (side // PATCH for side in image.shape)
    whole = image[: rows * PATCH, : columns * PATCH]
    squares = whole.reshape(rows, PATCH, columns, PATCH)
    patches: NDArray[np.float32] = squares.transpose(0, 2, 1, 3).reshape(-1, PATCH**2)
    return patches


def find_package(photograph: Photograph, folder: Path) -> Path:
    """Find the .deb file of a photograph's package in a folder and verify its checksum.

    Raises:
        FetchError: There is none, or its checksum differs from the list's.
    """
    version = photograph.version.replace(":", "%3a")  # apt-get encodes an epoch in this way
    found = sorted(folder.glob(f"{photograph.package}_{version}_*.deb"))
    if not found:
        raise FetchError(f"{folder}: no {photograph.package}_{version}_*.deb; download it")
    digest = hashlib.sha256(found[0].read_bytes()).hexdigest()
    if digest != photograph.sha256:
        raise FetchError(
            f"{found[0]}: SHA-256 is {digest}, the list says {photograph.sha256};"
            " delete the file and download it again"
        )
    return found[0]


def download_package(photograph: Photograph, folder: Path) -> None:
    """Download a photograph's package into a folder with apt-get.

    Raises:
        FetchError: apt-get is missing, or cannot get this version.
    """
    name = f"{photograph.package}={photograph.version}"
    _run(["apt-get", "download", name], folder, name)


def _run(command: list[str], folder: Path, subject: str) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise FetchError(
            f"{subject}: there is no {command[0]} here; use Debian, or --packages DIR"
        ) from error
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if not line.startswith("W:")]
        raise FetchError(f"{subject}: {command[0]} failed: {lines[-1] if lines else 'no reason'}")


def fetch(photographs: Iterable[Photograph], packages: Path | None, target: Path) -> None:
    """Write converted photographs and their credits into an existing folder.

    Args:
        photographs: The photographs to write.
        packages: Folder of .deb files, or None to download them.
        target: The folder, which gets one folder per kind, and CREDITS.csv.

    Raises:
        FetchError: A package or a picture is not available as listed.
    """
    wanted: dict[str, list[Photograph]] = {}
    for photograph in photographs:
        wanted.setdefault(photograph.package, []).append(photograph)
    credit_rows = []
    for pictures in wanted.values():
        with tempfile.TemporaryDirectory() as temporary:
            work = Path(temporary)
            if packages is None:
                download_package(pictures[0], work)
            package = find_package(pictures[0], packages or work)
            _run(["dpkg-deb", "--extract", str(package.resolve()), "tree"], work, str(package))
            for picture in pictures:
                grey = convert(work / "tree" / picture.path, picture.factor)
                name = Path(picture.folder, picture.file_name)
                (target / name).parent.mkdir(exist_ok=True)
                if not cv2.imwrite(str(target / name), grey):
                    raise FetchError(f"{target / name}: cannot be written")
                credit_rows.append(
                    (name.as_posix(), picture.title, picture.author, picture.licence)
                    + (picture.package, picture.version)
                )
    with (target / "CREDITS.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("file", "title", "author", "licence", "package", "version"))
        writer.writerows(sorted(credit_rows))
        file.flush()
        os.fsync(file.fileno())


def main(arguments: list[str] | None = None) -> int:
    """Fetch what the command line requests, completely or not at all; return the exit code."""
    parser = argparse.ArgumentParser(description="Fetch photographs to learn from.")
    parser.add_argument("--output", type=Path, required=True, help="folder to make")
    parser.add_argument("--packages", type=Path, help="folder of .deb files; default: download")
    parser.add_argument("--share-alike", action="store_true", help="also GPL, LGPL and CC-BY-SA")
    options = parser.parse_args(arguments)
    output: Path = options.output.absolute()
    wanted = [
        photograph
        for photograph in read_list(LIST)
        if options.share_alike or photograph.folder != "share_alike"
    ]
    if output.exists():
        print(f"{output}: is there already; name a new folder", file=sys.stderr)
        return 2
    output.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{output.name}-", dir=output.parent))
    try:
        fetch(wanted, options.packages, unfinished)
        unfinished.chmod(0o755)  # mkdtemp's folder is private to its owner
        unfinished.rename(output)
    except FetchError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    print(f"{len(wanted)} photographs in {output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
