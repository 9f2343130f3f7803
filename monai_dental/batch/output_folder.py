"""A folder of derived instances, by study and series."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pydicom import Dataset, dcmread

from monai_dental.batch.record.shard import Shard
from monai_dental.batch.target import StoredObject
from monai_dental.dicom.derive import encode_dataset
from monai_dental.dicom.identity import is_uid
from monai_dental.dicom.quiet import PYDICOM_ERRORS, quiet_pydicom
from monai_dental.errors import OutputError
from monai_dental.files.atomic import open_atomically
from monai_dental.files.digests import digest_of, stamp_of

PARTS = Shard().parts
"""Folder of what is being written: whatever a killed run leaves is here, and nowhere else."""


@dataclass(frozen=True)
class StudyTree:
    """A folder that holds `<Study Instance UID>/<Series Instance UID>/<SOP Instance UID>.dcm`.

    Attributes:
        folder: The folder.
        parts: Name of the folder in it of what is being written.
    """

    folder: Path
    parts: str = PARTS

    def prepare(self) -> None:
        """Make the folder, and remove what a killed run left half written.

        Raises:
            OutputError: It cannot be made, or not be written.
        """
        try:
            (self.folder / self.parts).mkdir(parents=True, exist_ok=True)
            for part in (self.folder / self.parts).iterdir():
                part.unlink()
            # A folder can be there and not let itself be written: to be said before any file.
            part = self.folder / self.parts / secrets.token_hex(8)
            part.touch(exist_ok=False)
            part.unlink()
        except OSError as error:
            raise _output_error(self.folder, error) from error

    def close(self) -> None:
        """Remove the folder of what is being written, when nothing is any more."""
        with contextlib.suppress(OSError):
            for part in (self.folder / self.parts).iterdir():
                part.unlink()
            (self.folder / self.parts).rmdir()

    def store(self, derived: Dataset) -> StoredObject:
        """Write an instance to the disk, or find that it is there; see `ObjectTarget.store`."""
        location = locate(derived)
        path = self.folder / location
        content = encode_dataset(derived)
        # A name of its own: two workers may make the same instance, if the input is there twice.
        part = self.folder / self.parts / f"{secrets.token_hex(8)}.part"
        with open_atomically(path, part=part, place=_bring) as stream:
            stream.write(content)
        try:
            digest, stamp = digest_of(path), stamp_of(path.stat())
        except OSError as error:
            raise _output_error(path, error) from error
        return StoredObject(location, str(derived.SOPInstanceUID), digest, stamp)

    def find(self, stored: StoredObject) -> StoredObject | None:
        """Look whether an instance is there unchanged; see `ObjectTarget.find`."""
        path = self.folder / stored.location
        try:
            stamp = stamp_of(path.stat())
            if stamp != stored.stamp and digest_of(path) != stored.digest:
                return None
        except OSError:
            return None
        return replace(stored, stamp=stamp)

    def locations(self) -> Iterator[str]:
        """The places of all instances that are there."""
        for path in self.folder.glob("*/*/*.dcm"):
            yield path.relative_to(self.folder).as_posix()


def locate(derived: Dataset) -> str:
    """The place of an instance below the folder; nothing but digits, dots and our own words.

    Args:
        derived: The instance.

    Returns:
        A relative path. A Study Instance UID that is none, which may hold anything, a patient's
        name or a path among it, is replaced by a digest.
    """
    with quiet_pydicom():
        study = str(derived.get("StudyInstanceUID") or "")
    if not study:
        study = "no-study"
    elif not is_uid(study):
        study = f"invalid-{hashlib.sha256(study.encode(errors='replace')).hexdigest()[:32]}"
    series, instance = str(derived.SeriesInstanceUID), str(derived.SOPInstanceUID)
    if not (is_uid(series) and is_uid(instance)):
        raise ValueError("Series or SOP Instance UID is no UID; need an instance that derive made")
    return f"{study}/{series}/{instance}.dcm"


def without_times(content: bytes) -> bytes | None:
    """The bytes of a derived instance without the time of its making; None for a broken one.

    Args:
        content: A file as `StudyTree.store` writes it.

    Returns:
        The same for any two instances that differ in that time alone.
    """
    with quiet_pydicom():
        try:
            dataset = dcmread(io.BytesIO(content))
            for keyword in ("InstanceCreationDate", "InstanceCreationTime"):
                if keyword in dataset:
                    del dataset[keyword]
            equipment = dataset.ContributingEquipmentSequence[-1]
            if "ContributionDateTime" in equipment:
                del equipment.ContributionDateTime
            stream = io.BytesIO()
            dataset.save_as(stream, enforce_file_format=True)
        except PYDICOM_ERRORS:
            return None
    return stream.getvalue()


def _bring(part: Path, path: Path) -> None:
    """Put a file in its place, unless what is there differs by the time of its making alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(part, path)  # unlike a rename it never takes the place of another
    except OSError:  # it is there, by another worker perhaps, or the file system has no links
        if not (path.exists() and _is_same(path.read_bytes(), part.read_bytes())):
            os.replace(part, path)
    _flush_folders(path)


def _is_same(there: bytes, content: bytes) -> bool:
    canonical = without_times(content)
    is_timed = canonical is not None and canonical != content
    return there == content or (is_timed and without_times(there) == canonical)


def _flush_folders(path: Path) -> None:
    for folder in (path.parent, path.parent.parent, path.parent.parent.parent):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _output_error(path: Path, error: OSError) -> OutputError:
    return OutputError(f"{path}: cannot be written: {error.strerror or type(error).__name__}")
