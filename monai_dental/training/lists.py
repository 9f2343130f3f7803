"""A user's own lists of images: MONAI's Decathlon JSON, or CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_dental.errors import DatasetError

_PARTS = ("training", "validation")


@dataclass(frozen=True)
class Row:
    """One image of a list.

    Attributes:
        files: Paths by key: "image", and "label" if requested.
        patient: Identifier of the patient; None if the list has none.
        fold: Cross-validation fold in which the image validates; None if the list has none.
        is_validation: Whether the list sets the image aside for validation.
        place: File and row, for messages.
    """

    files: dict[str, str]
    patient: str | None = None
    fold: int | None = None
    is_validation: bool = False
    place: str = ""


def read_list(path: Path, keys: Sequence[str] = ("image",)) -> list[Row]:
    """Read a list of images and check that all its files exist.

    A CSV file has the column `image` and optionally `label`, `patient` and `fold`; other columns
    are ignored. A JSON file is a MONAI datalist: items with the same keys under `training` and
    optionally under `validation`. Paths are relative to the list's folder.

    Args:
        path: The list, .csv or .json.
        keys: The files that each row must have.

    Raises:
        DatasetError: The list or one of its rows cannot be read; the message names the row.
    """
    path = path.expanduser()
    try:
        found = list(_CSV_OR_JSON[path.suffix.lower()](path))
    except KeyError as error:
        raise DatasetError(f"{path}: not a list of images; need .csv or .json") from error
    except (OSError, UnicodeDecodeError, csv.Error, json.JSONDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DatasetError(f"{path}: cannot be read as a list of images: {reason}") from error
    rows = [_row(path, number, fields, part, keys) for number, part, fields in found]
    if not rows:
        raise DatasetError(f"{path}: no images in this list")
    _check_rows(rows)
    return rows


def patients_of(path: Path, images: Sequence[str]) -> dict[str, str]:
    """Return the patient of each image from the row of a list whose path ends in its name.

    Args:
        path: The list, see `read_list`.
        images: Names, relative to a folder, with slashes.

    Raises:
        DatasetError: The list cannot be read, or does not give exactly one patient for an image.
    """
    rows = read_list(path)
    found = {}
    for image in images:
        own = [
            row for row in rows if f"/{Path(row.files['image']).as_posix()}".endswith(f"/{image}")
        ]
        patients = {row.patient for row in own}
        patient = patients.pop() if len(patients) == 1 else None
        if patient is None:
            raise DatasetError(f"{path}: no patient for the image {image}, or several; need one")
        found[image] = patient
    return found


def fold_of(rows: Sequence[Row], patients: Sequence[str], folds: int) -> list[int]:
    """Return the fold of each row: the list's own, or patients assigned to folds in turn.

    Args:
        rows: The rows.
        patients: The patient of each row.
        folds: Number of folds, if the list defines none.

    Raises:
        DatasetError: Some rows have a fold and others do not, or a patient is in two folds.
    """
    listed = [row.fold for row in rows]
    if all(fold is None for fold in listed):
        order = {patient: number for number, patient in enumerate(dict.fromkeys(patients))}
        return [order[patient] % folds for patient in patients]
    first: dict[str, Row] = {}
    result = []
    for row, patient in zip(rows, patients, strict=True):
        if row.fold is None:
            raise DatasetError(f"{row.place}: no fold; need one for each row, or for none")
        earlier = first.setdefault(patient, row)
        if earlier.fold != row.fold:
            raise DatasetError(
                f"{row.place}: fold {row.fold}, and fold {earlier.fold} for the same patient in "
                f"{earlier.place}; need one fold for a patient"
            )
        result.append(row.fold)
    return result


def _rows_of_csv(path: Path) -> Iterator[tuple[int, str, Mapping[str, Any]]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        if "image" not in (reader.fieldnames or ()):
            raise DatasetError(
                f"{path}, row 1: no column 'image'; need image, label, patient, fold"
            )
        for fields in reader:
            yield reader.line_num, "training", fields


def _rows_of_json(path: Path) -> Iterator[tuple[int, str, Mapping[str, Any]]]:
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict) or not isinstance(content.get("training"), list):
        raise DatasetError(f"{path}: no list 'training'; need MONAI's datalist")
    for part in _PARTS:
        for number, fields in enumerate(content.get(part, []), start=1):
            if not isinstance(fields, dict):
                raise DatasetError(f"{path}, {part} {number}: need an item with 'image'")
            yield number, part, fields


_CSV_OR_JSON = {".csv": _rows_of_csv, ".json": _rows_of_json}


def _row(path: Path, number: int, fields: Mapping[str, Any], part: str, keys: Sequence[str]) -> Row:
    is_csv = path.suffix.lower() == ".csv"
    place = f"{path}, {'row' if is_csv else part} {number}"
    files = {}
    for key in keys:
        name = fields.get(key)
        if not isinstance(name, str) or not name:
            raise DatasetError(f"{place}: no {key}")
        file = path.parent / Path(name).expanduser()
        if not file.is_file():
            raise DatasetError(f"{place}: {file}: no such file")
        files[key] = str(file)
    patient, fold = fields.get("patient"), fields.get("fold")
    if fold in (None, ""):
        fold = None
    elif not str(fold).strip().isdecimal():
        raise DatasetError(f"{place}: its fold is {fold!r}; need a whole number")
    return Row(
        files=files,
        patient=None if patient in (None, "") else str(patient),
        fold=None if fold is None else int(fold),
        is_validation=part == "validation",
        place=place,
    )


def _check_rows(rows: Sequence[Row]) -> None:
    first: dict[Path, Row] = {}
    for row in rows:
        earlier = first.setdefault(Path(row.files["image"]).resolve(), row)
        if earlier is not row:
            raise DatasetError(f"{row.place}: the same image as {earlier.place}")
