"""Lists of images to train, evaluate and run on: MONAI datalists, made from a folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pydicom
from tqdm import tqdm

from monai_dental.dicom.quiet import PYDICOM_ERRORS, quiet_pydicom
from monai_dental.errors import DatasetError
from monai_dental.formats import read_radiograph
from monai_dental.formats.find import find_images
from monai_dental.phantom import PHANTOM_VERSION, write_phantoms
from monai_dental.synthetic import SYNTHETIC_VERSION, write_images

PHANTOM_COUNT = 120
_DAY_S = 86400

Datalist = list[dict[str, str]]


def read_datalist(
    dataset_dir: str | None, phantom: str = "clean", excluded: Sequence[str] = ()
) -> Datalist:
    """List the images of a folder; without a folder, those of the phantom.

    Args:
        dataset_dir: Folder of images, or None for the simulated radiographs.
        phantom: Which of these: "clean" or "noisy".
        excluded: Folders whose files are passed over: the output, where it lies in the input.

    Returns:
        One `{"image": path}` for each file, in natural order.

    Raises:
        DatasetError: There is no such folder, or no image in it.
    """
    folder = phantom_folder() / phantom if dataset_dir is None else _folder(dataset_dir)
    outputs = [_folder(name).resolve() for name in excluded]
    images = [
        path
        for path in find_images(folder)
        if not any(path.resolve().is_relative_to(output) for output in outputs)
    ]
    if not images:
        raise DatasetError(f"{folder}: holds nothing but the output; need a folder of images")
    return [{"image": str(path)} for path in images]


def read_pairs(dataset_dir: str | None, label_dir: str | None) -> Datalist:
    """List noisy images with their clean references, which have the same names in another folder.

    Args:
        dataset_dir: Folder of noisy images; None, with `label_dir` None too, for the simulated
            radiographs.
        label_dir: Folder of clean images.

    Returns:
        One `{"image": path, "label": path}` for each noisy image, in natural order.

    Raises:
        DatasetError: A folder is missing or named alone, or a noisy image has no clean one.
    """
    if (dataset_dir is None) != (label_dir is None):
        raise DatasetError("need dataset_dir (noisy images) and label_dir (clean ones), or neither")
    if dataset_dir is None or label_dir is None:
        noisy, clean = phantom_folder() / "noisy", phantom_folder() / "clean"
    else:
        noisy, clean = _folder(dataset_dir), _folder(label_dir)
    pairs = []
    for image in find_images(noisy):
        label = clean / image.relative_to(noisy)
        if not label.is_file():
            raise DatasetError(f"{image}: no clean image for it; looked for {label}")
        pairs.append({"image": str(image), "label": str(label)})
    return pairs


def hold_out(datalist: Sequence[dict[str, str]], count: int) -> list[Datalist]:
    """Return all but the last images of a datalist, which may be none, and the last."""
    return [list(datalist[:-count]), list(datalist[-count:])]


def split_datalist(datalist: Sequence[dict[str, str]], validation_count: int) -> list[Datalist]:
    """Split a datalist into training and validation, no patient in both.

    The last images validate. An earlier DICOM image of one of their patients goes with them.

    Args:
        datalist: One `{"image": path}` for each file.
        validation_count: How many of the last images validate, at the least.

    Returns:
        The training part and the validation part.

    Raises:
        DatasetError: Nothing is left to train on.
    """
    first, last = datalist[:-validation_count], datalist[-validation_count:]
    patients = {_patient(item["image"]) for item in last}
    train: Datalist = []
    validation: Datalist = []
    for item in first:
        (validation if _patient(item["image"]) in patients else train).append(item)
    validation += last
    if validation_count < 1 or not train:
        raise DatasetError(
            f"{len(datalist)} images, of which the last {validation_count} (and others of the same "
            f"patients) validate: need some of each; add images or change validation_count"
        )
    return [train, validation]


def load_datalist(path: str) -> list[Any]:
    """Return a datalist, or several, from a JSON file.

    For file names that MONAI's configs would read as something else (`$`, `@`, `#`).
    """
    content: list[Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    return content


def digest_of_images(datalist: Sequence[dict[str, str]]) -> str:
    """Return a digest (SHA-256) of the contents of all files of a datalist.

    Raises:
        DatasetError: One of them cannot be read.
    """
    digest = hashlib.sha256()
    for path in (Path(path) for item in datalist for path in item.values()):
        try:
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        except OSError as error:
            raise DatasetError(f"{path}: cannot be read: {error.strerror}") from error
    return digest.hexdigest()


def affordable_count(datalist: Sequence[dict[str, str]], limit_mb: float) -> int:
    """Return how many items may be kept in memory, judged by up to eight of them.

    Args:
        datalist: The paths of the images of each item, by key.
        limit_mb: Memory for them in megabytes, at four bytes a pixel.

    Raises:
        MonaiDentalError: One of the eight cannot be read.
    """
    sample = datalist[:: -(-len(datalist) // 8)]
    paths = [Path(path) for item in sample for path in item.values()]
    pixels = sum(read_radiograph(path).pixels.size for path in paths) / len(sample)
    return int(limit_mb * 2**20 / (4 * pixels))


def read_clean_datalist(
    dataset_dir: str | None, synthetic_count: int, photographs_dir: str | None = None
) -> Datalist:
    """List clean images to learn from; without a folder, photographs and synthetic images.

    Args:
        dataset_dir: Folder of images, or None.
        synthetic_count: How many synthetic images, made when they are first asked for.
        photographs_dir: Folder of photographs, as `scripts/fetch_photographs.py` makes it, which
            come before the synthetic images; None for none.

    Returns:
        One `{"image": path}` for each file, in natural order.

    Raises:
        DatasetError: There is no such folder, or no image in it.
    """
    if dataset_dir is not None:
        return read_datalist(dataset_dir)
    photographs = [] if photographs_dir is None else read_datalist(photographs_dir)
    return photographs + read_datalist(str(synthetic_folder(synthetic_count)))


def sampling_weights(
    datalist: Sequence[dict[str, str]], folder: str | None, share: float
) -> list[float]:
    """Return how often each image is drawn, relative to others.

    Args:
        datalist: One `{"image": path}` for each file.
        folder: Images in this folder are drawn in a given share of cases; None for all alike.
        share: That share, 0 to 1.

    Raises:
        ValueError: The share is not from 0 to 1.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share is {share:g}; need 0 to 1")
    inside = [
        folder is not None and Path(item["image"]).is_relative_to(_folder(folder))
        for item in datalist
    ]
    counts = {True: sum(inside), False: len(inside) - sum(inside)}
    if not all(counts.values()):
        return [1.0] * len(inside)
    return [(share if is_in else 1 - share) / counts[is_in] for is_in in inside]


def phantom_folder() -> Path:
    """Return the folder of the simulated radiographs, made when it is first asked for.

    It lies in `$MONAI_DENTAL_CACHE`, else in `$XDG_CACHE_HOME/monai_dental`, else in
    `~/.cache/monai_dental`, and holds `clean/`, `noisy/` and `truth/` of images 1 to 120.

    Raises:
        DatasetError: The folder cannot be made.
    """
    name = f"phantom-{PHANTOM_VERSION}-{PHANTOM_COUNT}"
    return _cached_folder(name, write_phantoms, PHANTOM_COUNT)


def synthetic_folder(count: int) -> Path:
    """Return the folder of synthetic images, made beside `phantom_folder` when first asked for.

    Raises:
        DatasetError: The folder cannot be made.
    """
    name = f"synthetic-{SYNTHETIC_VERSION}-{count}"
    return _cached_folder(name, write_images, count)


def _cached_folder(name: str, write: Callable[..., object], count: int) -> Path:
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "monai_dental"
    cache = Path(os.environ.get("MONAI_DENTAL_CACHE") or default)
    folder = cache / name
    if folder.is_dir():
        return folder
    try:
        cache.mkdir(parents=True, exist_ok=True)
        _sweep(cache, f".{name}-*")
        temporary = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=cache))
    except OSError as error:
        raise DatasetError(
            f"{cache}: cannot keep simulated images here: {error.strerror}; "
            "set MONAI_DENTAL_CACHE to a folder that can be written"
        ) from error
    try:
        with tqdm(desc="Simulating images, once", total=count) as bar:
            write(temporary, count=count, progress=lambda done: bar.update(done - bar.n))
        temporary.rename(folder)
    except OSError as error:
        if not folder.is_dir():  # else another process was faster
            raise DatasetError(f"{folder}: cannot be made: {error.strerror}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _sweep(cache: Path, pattern: str) -> None:
    """Remove what processes that were killed have left a day ago or earlier."""
    for left in cache.glob(pattern):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > _DAY_S:
                shutil.rmtree(left)


def _folder(name: str) -> Path:
    return Path(str(name)).expanduser()  # a command line makes a number of 2024


def _patient(path: str) -> str:
    """Return what tells patients apart: (0010,0020) Patient ID of a DICOM file, else its path."""
    with quiet_pydicom():
        try:
            dataset = pydicom.dcmread(path, specific_tags=["PatientID"], stop_before_pixels=True)
            return str(dataset.get("PatientID") or path)
        except PYDICOM_ERRORS:
            return path
