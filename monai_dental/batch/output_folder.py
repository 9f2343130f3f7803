"""A folder of derived instances, sorted by study and series."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pydicom import Dataset

from monai_dental.batch.record.shard import Shard
from monai_dental.batch.target import StoredObject
from monai_dental.dicom.derive import encode_dataset
from monai_dental.dicom.identity import is_uid
from monai_dental.dicom.quiet import PYDICOM_ERRORS, quiet_pydicom
from monai_dental.dicom.read import read_dataset
from monai_dental.errors import MonaiDentalError
from monai_dental.files.atomic import flush_folder, open_atomically, output_error
from monai_dental.files.digests import digest_of, stamp_of

PARTS = Shard().parts
"""Folder of unfinished files: a killed run leaves incomplete files only here."""


@dataclass(frozen=True)
class StudyTree:
    """A folder that holds `<Study Instance UID>/<Series Instance UID>/<SOP Instance UID>.dcm`.

    Attributes:
        parts: Name of its subfolder for unfinished files.
    """

    folder: Path
    parts: str = PARTS

    def prepare(self) -> None:
        """Make the folder, and remove incomplete files of a killed run.

        Raises:
            OutputError: It cannot be made or written.
        """
        try:
            (self.folder / self.parts).mkdir(parents=True, exist_ok=True)
            for part in (self.folder / self.parts).iterdir():
                part.unlink()
            # An existing folder may be read-only: report that before the first file.
            part = self.folder / self.parts / secrets.token_hex(8)
            part.touch(exist_ok=False)
            part.unlink()
        except OSError as error:
            raise output_error(self.folder, error) from error

    def close(self) -> None:
        """Remove the folder of unfinished files, once nothing is being written."""
        with contextlib.suppress(OSError):
            for part in (self.folder / self.parts).iterdir():
                part.unlink()
            (self.folder / self.parts).rmdir()

    def store(self, derived: Dataset) -> StoredObject:
        """Write an instance, unless it is there already; see `ObjectTarget.store`."""
        location = locate(derived)
        path = self.folder / location
        content = encode_dataset(derived)
        # A unique name: two workers may make the same instance if the input has duplicates.
        part = self.folder / self.parts / f"{secrets.token_hex(8)}.part"
        with open_atomically(path, part=part, place=_bring) as stream:
            stream.write(content)
        try:
            digest, stamp = digest_of(path), stamp_of(path.stat())
        except OSError as error:
            raise output_error(path, error) from error
        return StoredObject(location, str(derived.SOPInstanceUID), digest, stamp)

    def find(self, stored: StoredObject) -> StoredObject | None:
        """Check whether an instance is there unchanged; see `ObjectTarget.find`."""
        path = self.folder / stored.location
        try:
            stamp = stamp_of(path.stat())
            if stamp != stored.stamp and digest_of(path) != stored.digest:
                return None
        except OSError:
            return None
        return replace(stored, stamp=stamp)

    def locations(self) -> Iterator[str]:
        """Yield the locations of all instances in the folder."""
        for path in self.folder.glob("*/*/*.dcm"):
            yield path.relative_to(self.folder).as_posix()


def locate(derived: Dataset) -> str:
    """Return the location of an instance below the folder: only digits, dots and our own words.

    Returns:
        A relative path. An invalid Study Instance UID is replaced by a digest, since it may hold
        anything, even a patient's name or a path.
    """
    with quiet_pydicom():
        study = str(derived.get("StudyInstanceUID") or "")
    if not study:
        study = "no-study"
    elif not is_uid(study):
        study = f"invalid-{hashlib.sha256(study.encode(errors='replace')).hexdigest()[:32]}"
    series, instance = str(derived.SeriesInstanceUID), str(derived.SOPInstanceUID)
    if not (is_uid(series) and is_uid(instance)):
        raise ValueError(
            "Series or SOP Instance UID is not a UID; need an instance that derive made"
        )
    return f"{study}/{series}/{instance}.dcm"


def without_times(content: bytes) -> bytes | None:
    """Return the bytes of a derived instance without its creation time, or None if it is broken.

    Args:
        content: A file as written by `StudyTree.store`.

    Returns:
        Bytes that are equal for two instances that differ only in their creation time.
    """
    try:
        dataset = read_dataset(Path("output"), content)
    except MonaiDentalError:
        return None
    with quiet_pydicom():
        try:
            for keyword in ("InstanceCreationDate", "InstanceCreationTime"):
                dataset.pop(keyword, None)
            dataset.ContributingEquipmentSequence[-1].pop("ContributionDateTime", None)
            stream = io.BytesIO()
            dataset.save_as(stream, enforce_file_format=True)
        except PYDICOM_ERRORS:
            return None
    return stream.getvalue()


def _bring(part: Path, path: Path) -> None:
    """Move a file into place, unless the file there differs only in its creation time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(part, path)  # unlike a rename it never replaces another file
    except OSError:  # it exists, perhaps from another worker, or the file system has no links
        if not (path.exists() and _is_same(path.read_bytes(), part.read_bytes())):
            os.replace(part, path)
    for folder in path.parents[:3]:
        flush_folder(folder)


def _is_same(there: bytes, content: bytes) -> bool:
    canonical = without_times(content)
    is_timed = canonical is not None and canonical != content
    return there == content or (is_timed and without_times(there) == canonical)
