"""MONAI datalists for training, evaluation and inference, made from a folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from monai_dental.dicom.head import read_head
from monai_dental.errors import CorruptImageError, DatasetError
from monai_dental.files.digests import digest_of
from monai_dental.formats import read_radiograph
from monai_dental.formats.find import find_images
from monai_dental.formats.registry import suffix_of
from monai_dental.phantom import PHANTOM_VERSION, write_phantoms
from monai_dental.synthetic import SYNTHETIC_VERSION, write_images
from monai_dental.training.lists import Row, fold_of, read_list

PHANTOM_COUNT = 120
FOLDS = 5
_DAY_S = 86400

Datalist = list[dict[str, str]]


def read_datalist(
    dataset_dir: str | None, phantom: str = "clean", excluded: Sequence[str] = ()
) -> Datalist:
    """List the images of a folder, or the simulated radiographs if there is none.

    Args:
        dataset_dir: Folder of images, or None for the simulated radiographs.
        phantom: Which simulated radiographs: "clean" or "noisy".
        excluded: Folders to skip, such as an output folder inside the input.

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
    """List noisy images with their clean references of the same name in another folder.

    File extensions may differ: `1.dcm` and `1.png` are a pair.

    Args:
        dataset_dir: Folder of noisy images; None, with `label_dir` None too, for the simulated
            radiographs.
        label_dir: Folder of clean images.

    Returns:
        One `{"image": path, "label": path}` for each noisy image, in natural order.

    Raises:
        DatasetError: A folder is missing, only one is given, or a noisy image has no clean one.
    """
    if (dataset_dir is None) != (label_dir is None):
        raise DatasetError("need dataset_dir (noisy images) and label_dir (clean ones), or neither")
    if dataset_dir is None or label_dir is None:
        noisy, clean = phantom_folder() / "noisy", phantom_folder() / "clean"
    else:
        noisy, clean = _folder(dataset_dir), _folder(label_dir)
    labels: dict[Path, list[Path]] = {}
    for label in find_images(clean):
        labels.setdefault(_without_ending(label.relative_to(clean)), []).append(label)
    return [
        {"image": str(image), "label": str(_label_of(image, noisy, clean, labels))}
        for image in find_images(noisy)
    ]


def _label_of(image: Path, noisy: Path, clean: Path, labels: Mapping[Path, Sequence[Path]]) -> Path:
    name = image.relative_to(noisy)
    same, found = clean / name, labels.get(_without_ending(name), [])
    if same in found:
        return same
    if not found:
        raise DatasetError(f"{image}: no clean image for it; looked for {same}, with any extension")
    if len(found) > 1:
        listed = " and ".join(map(str, found))
        raise DatasetError(f"{image}: two clean images for it, {listed}; need one")
    return found[0]


def _without_ending(name: Path) -> Path:
    return name.with_name(name.name.removesuffix(suffix_of(name.name)))


def hold_out(
    datalist: Sequence[dict[str, str]] | str,
    count: int,
    fold: int | None = None,
    folds: int = FOLDS,
    keys: Sequence[str] = ("image", "label"),
) -> list[Datalist]:
    """Split a datalist like `split_datalist`, but regardless of patients; all may be held out.

    For a fold or a user's own list, return the same split as for training.
    """
    if fold is None and not isinstance(datalist, str):
        return [list(datalist[:-count]), list(datalist[-count:])]
    return _split(_rows(datalist, keys), count, fold, folds)


def split_datalist(
    datalist: Sequence[dict[str, str]] | str,
    validation_count: int,
    fold: int | None = None,
    folds: int = FOLDS,
    keys: Sequence[str] = ("image",),
) -> list[Datalist]:
    """Split a datalist into training and validation parts without common patients.

    The validation part is what a user's own list sets aside, else the last images. Earlier images
    of the same patients join it. Patients are identified by the list, else by DICOM Patient ID.

    Args:
        datalist: One `{"image": path}` for each file, or the path of a user's own list; see
            `read_list`.
        validation_count: Minimum number of the last images that validate.
        fold: For cross-validation, the fold that validates, from 0; see `fold_of`. None for no
            cross-validation.
        folds: Number of folds, if the list does not define them.
        keys: The files that each row of a list must have.

    Returns:
        The training part and the validation part.

    Raises:
        DatasetError: The list cannot be used, there is no such fold, or no images are left to train
            or validate on.
    """
    rows = _rows(datalist, keys)
    train, validation = _split(rows, validation_count, fold, folds)
    if not train or not validation:
        held = f"fold {fold}" if fold is not None else f"the last {validation_count}"
        raise DatasetError(
            f"{len(rows)} images, of which {held} (and others of the same patients) are for "
            "validation; need some for training and some for validation: add images or change "
            "validation_count"
        )
    return [train, validation]


def is_synthetic(dataset_dir: str | None, datalist: Sequence[dict[str, str]] | str) -> bool:
    """Return whether images are generated, and so already scaled: no folder or list is given."""
    return dataset_dir is None and not isinstance(datalist, str)


def _rows(datalist: Sequence[dict[str, str]] | str, keys: Sequence[str]) -> list[Row]:
    if isinstance(datalist, str):
        return read_list(Path(datalist), keys)
    return [Row(files=item) for item in datalist]


def _split(rows: Sequence[Row], count: int, fold: int | None, folds: int) -> list[Datalist]:
    patients = [row.patient or patient_of(row.files["image"]) for row in rows]
    if fold is not None:
        numbers = fold_of(rows, patients, folds)
        if fold not in numbers:
            known = ", ".join(map(str, sorted(set(numbers))))
            raise DatasetError(f"fold {fold}: no such fold; there are {known}")
        is_held = [number == fold for number in numbers]
    else:
        is_listed = any(row.is_validation for row in rows)
        first = len(rows) - max(count, 0)
        held = {
            patient
            for number, (row, patient) in enumerate(zip(rows, patients, strict=True))
            if (row.is_validation if is_listed else number >= first)
        }
        is_held = [patient in held for patient in patients]
    return [
        [row.files for row, is_in in zip(rows, is_held, strict=True) if is_in == part]
        for part in (False, True)
    ]


def load_datalist(path: str) -> list[Any]:
    """Return a datalist, or several, from a JSON file.

    This is for file names that MONAI's configs would misinterpret (`$`, `@`, `#`).
    """
    content: list[Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    return content


def digest_of_images(datalist: Sequence[dict[str, str]]) -> str:
    """Return a SHA-256 digest of the contents of all files of a datalist.

    Raises:
        DatasetError: One of them cannot be read.
    """
    digest = hashlib.sha256()
    for path in (Path(path) for item in datalist for path in item.values()):
        try:
            digest.update(bytes.fromhex(digest_of(path)))
        except OSError as error:
            raise DatasetError(f"{path}: cannot be read: {error.strerror}") from error
    return digest.hexdigest()


def affordable_count(datalist: Sequence[dict[str, str]], limit_mb: float) -> int:
    """Return how many items fit in memory, estimated from up to eight of them.

    Args:
        datalist: Paths of the images of each item, by key.
        limit_mb: Memory for them in megabytes, at four bytes per pixel.

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
    """List clean images for training: a folder's, or photographs and synthetic images.

    Args:
        dataset_dir: Folder of images, or None.
        synthetic_count: Number of synthetic images; they are generated on first use.
        photographs_dir: Folder of photographs made by `scripts/fetch_photographs.py`, listed before
            the synthetic images; None for no photographs.

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
    """Return the relative sampling weight of each image.

    Args:
        datalist: One `{"image": path}` for each file.
        folder: Folder whose images make up a given fraction of the draws; None to draw all equally
            often.
        share: That fraction, 0 to 1.

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
    """Return the folder of the simulated radiographs, creating it on first use.

    It lies in `$MONAI_DENTAL_CACHE`, else in `$XDG_CACHE_HOME/monai_dental`, else in
    `~/.cache/monai_dental`. It holds `clean/`, `noisy/` and `truth/` for images 1 to 120.

    Raises:
        DatasetError: The folder cannot be made.
    """
    name = f"phantom-{PHANTOM_VERSION}-{PHANTOM_COUNT}"
    return _cached_folder(name, write_phantoms, PHANTOM_COUNT)


def synthetic_folder(count: int) -> Path:
    """Return the folder of synthetic images, creating it beside `phantom_folder` on first use.

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
    """Remove files that killed processes left at least a day ago."""
    for left in cache.glob(pattern):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > _DAY_S:
                shutil.rmtree(left)


def _folder(name: str) -> Path:
    return Path(str(name)).expanduser()  # the command line parses 2024 as a number


def patient_of(path: str) -> str:
    """Return what identifies a file's patient: DICOM (0010,0020) Patient ID, else the path."""
    try:
        return read_head(Path(path), "PatientID")["PatientID"] or path
    except CorruptImageError:
        return path
