"""The folder of instances that a node has received and not yet forwarded."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset

from monai_dental.batch.target import StoredObject
from monai_dental.dicom.derive import encode_dataset
from monai_dental.dicom.head import read_head
from monai_dental.dicom.identity import is_uid
from monai_dental.errors import CorruptImageError, OutputError
from monai_dental.files.atomic import flush_folder, open_atomically, output_error
from monai_dental.files.digests import stamp_of
from monai_dental.node.incoming import OWNER_ALONE, IncomingFile, close_to_others

_PARTS, _RECEIVED, _DERIVED = ".parts", "received", "derived"
_OWN = (_PARTS, _RECEIVED, _DERIVED, "queue.sqlite", "node.lock")
_FREE_BYTES = 64 << 20  # kept free for the queue and for other users of the disk
_KEY = re.compile(r"[0-9a-f]{64}")


class Spool:
    """Complete files on the disk, within a size limit.

    `received/DIGEST.dcm` is an instance as received, `derived/UID.dcm` a derived instance. Only
    `.parts` holds files that are still being written.

    Args:
        folder: The folder.
        limit: Maximum size of all files together, in bytes.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit = folder, limit
        self.derived = DerivedFolder(folder)
        self._sizes: dict[Path, int] = {}
        self._used = 0
        self._is_refusing = False
        self._lock = threading.Lock()

    @property
    def used(self) -> int:
        """Size of all files together, in bytes."""
        return self._used

    @property
    def is_full(self) -> bool:
        """Whether a file was refused since space was last freed, or the disk is almost full."""
        return self._is_refusing or _free_bytes(self.folder) < _FREE_BYTES

    def check(self) -> None:
        """Check that the folder can be made, or exists and is writable, without making it.

        Raises:
            OutputError: It cannot be made or written.
        """
        place = self.folder.absolute()
        while not os.path.lexists(place):
            place = place.parent
        if not os.path.isdir(place):
            raise OutputError(f"{self.folder}: cannot be written: {place} is not a folder")
        if not os.access(place, os.W_OK | os.X_OK):
            raise OutputError(
                f"{self.folder}: cannot be written: {place} is not accessible to this user"
            )
        if self.folder.is_dir():
            self._check_own()

    def make(self) -> None:
        """Make the folder if it does not exist, and let only its owner read it.

        Raises:
            OutputError: It cannot be made, belongs to another user, or holds a link.
        """
        self.check()
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._check_own()
            self.folder.chmod(0o700)
        except OSError as error:
            raise output_error(self.folder, error) from error

    def prepare(self) -> None:
        """Make its subfolders, let only their owner read them, and remove incomplete files.

        Raises:
            OutputError: They cannot be made or written, belong to another user, or are links.
        """
        try:
            places = [self.folder / name for name in (_PARTS, _RECEIVED, _DERIVED)]
            for place in places:
                place.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._check_own()
            for place in places:
                place.chmod(0o700)
            for part in (self.folder / _PARTS).iterdir():
                part.unlink()
            probe = self.folder / _PARTS / secrets.token_hex(8)
            probe.touch(exist_ok=False)
            probe.unlink()
            files = [file for place in places[1:] for file in place.iterdir()]
            for file in (*self._own(), *files):
                close_to_others(file)
            self._sizes = {file: file.stat().st_size for file in files}
            self._used = sum(self._sizes.values())
        except OSError as error:
            raise output_error(self.folder, error) from error

    def _own(self) -> list[Path]:
        """Return what a node makes in the folder, and not, for example, a lost+found."""
        return [path for path in self.folder.iterdir() if path.name.startswith(_OWN)]

    def _check_own(self) -> None:
        """Refuse files that another user could have put here, or could remove.

        The folder itself may be a link, as systemd makes for a StateDirectory.

        Raises:
            OSError: The folder cannot be read.
            OutputError: Something belongs to another user, or is a link.
        """
        for path in (self.folder, *self._own()):
            status = path.stat() if path == self.folder else path.lstat()
            if stat.S_ISLNK(status.st_mode):
                raise OutputError(
                    f"{path}: is a link, which a node does not follow; need a spool folder that "
                    "nothing else uses"
                )
            if status.st_uid != os.geteuid():
                raise OutputError(
                    f"{path}: belongs to another user; need a spool folder that belongs to the "
                    "node's user"
                )

    def begin(self, head: bytes, seed: bytes) -> IncomingFile:
        """Begin to write an instance that is being received.

        Args:
            head: The first bytes of its file.
            seed: Bytes that its key depends on, besides those that are written.
        """
        return IncomingFile(self, self.folder / _PARTS / f"{secrets.token_hex(8)}.part", head, seed)

    def reserve(self, part: Path, size: int) -> None:
        """Reserve space for a file that is being written.

        Raises:
            OutputError: There is not enough space.
        """
        with self._lock:
            before = self._sizes.get(part, 0)
            is_disk_full = _free_bytes(self.folder) < size - before + _FREE_BYTES
            self._is_refusing = is_disk_full or self._used + size - before > self.limit
            if is_disk_full:
                raise OutputError(f"{self.folder}: its disk is full")
            if self._is_refusing:
                raise OutputError(
                    f"{self.folder}: holds {self._used >> 20} of {self.limit >> 20} MiB; no more "
                    f"instances are accepted until some are forwarded"
                )
            self._sizes[part] = size
            self._used += size - before

    def place(self, part: Path, path: Path) -> None:
        """Rename a complete file to its place, and count it there.

        Raises:
            OSError: It cannot be renamed.
        """
        with self._lock:
            part.replace(path)
            self._used -= self._sizes.pop(path, 0)
            self._sizes[path] = self._sizes.pop(part, 0)

    def drop(self, part: Path) -> None:
        """Remove an incomplete file, if it still exists."""
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        with self._lock:
            # `_is_refusing` stays: no more space is free than before this file came.
            self._used -= self._sizes.pop(part, 0)

    def path(self, key: str) -> Path:
        """Return the path of an instance, whether it exists or not."""
        if not _KEY.fullmatch(key):
            raise ValueError("a key of the spool is a SHA-256: 64 lower-case hexadecimal digits")
        return self.folder / _RECEIVED / f"{key}.dcm"

    def keys(self) -> Iterator[str]:
        """Yield the keys of all received instances."""
        for path in (self.folder / _RECEIVED).iterdir():
            if path.suffix == ".dcm" and _KEY.fullmatch(path.stem):
                yield path.stem

    def study(self, key: str) -> str:
        """Return the Study Instance UID of a received instance; "" if it has none."""
        try:
            uid = read_head(self.path(key), "StudyInstanceUID")["StudyInstanceUID"]
        except CorruptImageError:
            return ""
        return uid if is_uid(uid) else ""

    def note_derived(self, stored: StoredObject) -> None:
        """Count a derived instance that a worker process wrote; repeated calls count it once."""
        path = self.derived.path(stored.location)
        with self._lock:
            self._count(path, _size(path))

    def remove(self, key: str) -> None:
        """Remove a received instance, if it still exists."""
        self._remove(self.path(key))

    def remove_derived(self, location: str) -> None:
        """Remove a derived instance, if it still exists."""
        self._remove(self.derived.path(location))

    def _remove(self, path: Path) -> None:
        with self._lock:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise output_error(path, error) from error
            self._count(path, 0)

    def _count(self, path: Path, size: int) -> None:
        """Set the counted size of a file; the lock must be held."""
        freed = self._sizes.pop(path, 0) - size
        if size:
            self._sizes[path] = size
        self._used -= freed
        self._is_refusing = self._is_refusing and freed <= 0


@dataclass(frozen=True)
class DerivedFolder:
    """The derived instances of the spool in a folder: an `ObjectTarget` for workers."""

    folder: Path

    @property
    def scratch(self) -> Path:
        """Folder for temporary files; the next node removes those that a killed one left."""
        return self.folder / _PARTS

    def prepare(self) -> None:
        """Do nothing: the spool makes and checks its folders."""

    def close(self) -> None:
        """Do nothing: nothing is open."""

    def store(self, derived: Dataset) -> StoredObject:
        """Write an instance to the disk; see `ObjectTarget.store`."""
        uid = str(derived.SOPInstanceUID)
        location = f"{uid}.dcm"
        path = self.path(location)
        content = encode_dataset(derived)
        part = self.folder / _PARTS / f"{secrets.token_hex(8)}.part"
        with open_atomically(path, part=part, mode=OWNER_ALONE) as stream:
            stream.write(content)
        try:
            flush_folder(path.parent)
            stamp = stamp_of(path.stat())
        except OSError as error:
            raise output_error(path, error) from error
        return StoredObject(location, uid, hashlib.sha256(content).hexdigest(), stamp)

    def find(self, stored: StoredObject) -> StoredObject | None:
        """Look for an instance; see `ObjectTarget.find`."""
        return stored if self.path(stored.location).is_file() else None

    def path(self, location: str) -> Path:
        """Return the path of a derived instance, whether it exists or not."""
        if not is_uid(location.removesuffix(".dcm")):
            raise ValueError("a derived instance is named by its UID; need one that derive made")
        return self.folder / _DERIVED / location

    def locations(self) -> Iterator[str]:
        """Yield the locations of all derived instances."""
        for path in (self.folder / _DERIVED).iterdir():
            if path.suffix == ".dcm" and is_uid(path.stem):
                yield path.name


def _free_bytes(folder: Path) -> int:
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
