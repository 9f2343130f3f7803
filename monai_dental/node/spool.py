"""The folder of what a node has received and not yet forwarded."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import threading
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydicom import Dataset

from monai_dental.batch.target import StoredObject
from monai_dental.dicom.derive import encode_dataset
from monai_dental.dicom.identity import is_uid
from monai_dental.errors import OutputError
from monai_dental.files.atomic import open_atomically
from monai_dental.files.digests import stamp_of

_PARTS, _RECEIVED, _DERIVED = ".parts", "received", "derived"
_FREE_BYTES = 64 << 20  # for the queue, and for whoever else lives on this disk
_OWNER_ALONE = 0o600
_KEY = re.compile(r"[0-9a-f]{64}")


class Spool:
    """Files by digest, each whole and on the disk, within a limit.

    `received/DIGEST.dcm` is an instance as it came, `derived/UID.dcm` what was made of one;
    `.parts` holds what is being written, and nothing else.

    Args:
        folder: The folder.
        limit: What the files may take together, in bytes.
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
        """What the files take, in bytes."""
        return self._used

    @property
    def is_full(self) -> bool:
        """Whether something found no room since room was made."""
        return self._is_refusing or _free_bytes(self.folder) < _FREE_BYTES

    def check(self) -> None:
        """Look whether the folder can be made, or is there and can be written; makes nothing.

        Raises:
            OutputError: It cannot.
        """
        place = self.folder.absolute()
        while not os.path.lexists(place):
            place = place.parent
        if not os.path.isdir(place):
            raise OutputError(f"{self.folder}: cannot be written: {place} is no folder")
        if not os.access(place, os.W_OK | os.X_OK):
            raise OutputError(f"{self.folder}: cannot be written: {place} is closed to this user")

    def make(self) -> None:
        """Make the folder, for nobody else to read.

        Raises:
            OutputError: It cannot be made.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise _error(self.folder, error) from error

    def prepare(self) -> None:
        """Make the folders in it, for nobody else to read, and remove what was half written.

        Raises:
            OutputError: They cannot be made or written.
        """
        try:
            for name in (_PARTS, _RECEIVED, _DERIVED):
                (self.folder / name).mkdir(parents=True, exist_ok=True, mode=0o700)
            for part in (self.folder / _PARTS).iterdir():
                part.unlink()
            probe = self.folder / _PARTS / secrets.token_hex(8)
            probe.touch(exist_ok=False)
            probe.unlink()
            places = (self.folder / _RECEIVED, self.folder / _DERIVED)
            self._sizes = {file: file.stat().st_size for each in places for file in each.iterdir()}
            self._used = sum(self._sizes.values())
        except OSError as error:
            raise _error(self.folder, error) from error

    def begin(self, head: bytes, seed: bytes) -> IncomingFile:
        """Begin to write what is received.

        Args:
            head: What its file begins with.
            seed: What its key depends on, beside what is written.
        """
        return IncomingFile(self, self.folder / _PARTS / f"{secrets.token_hex(8)}.part", head, seed)

    def reserve(self, part: Path, size: int) -> None:
        """Count a file that is being written as so large.

        Raises:
            OutputError: There is no room for it.
        """
        with self._lock:
            before = self._sizes.get(part, 0)
            is_disk_full = _free_bytes(self.folder) < size - before + _FREE_BYTES
            self._is_refusing = is_disk_full or self._used + size - before > self.limit
            if is_disk_full:
                raise OutputError(f"{self.folder}: its disk is full")
            if self._is_refusing:
                raise OutputError(
                    f"{self.folder}: holds {self._used >> 20} MiB of {self.limit >> 20}; nothing "
                    "more is taken until some is forwarded"
                )
            self._sizes[part] = size
            self._used += size - before

    def place(self, part: Path, path: Path) -> None:
        """Give a file that was written its name, and count it under that.

        Raises:
            OSError: It cannot be renamed.
        """
        with self._lock:
            part.replace(path)
            self._used -= self._sizes.pop(path, 0)
            self._sizes[path] = self._sizes.pop(part, 0)

    def drop(self, part: Path) -> None:
        """Remove a file that will not be whole; nothing where it is gone."""
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        with self._lock:
            # It was not there for long: room for others is no larger than before it came.
            self._used -= self._sizes.pop(part, 0)

    def path(self, key: str) -> Path:
        """Where the instance of a digest is, or would be."""
        if not _KEY.fullmatch(key):
            raise ValueError("a key of the spool is a SHA-256: 64 lower-case hexadecimal digits")
        return self.folder / _RECEIVED / f"{key}.dcm"

    def keys(self) -> Iterator[str]:
        """The digest of each instance that is there."""
        for path in (self.folder / _RECEIVED).iterdir():
            if path.suffix == ".dcm" and _KEY.fullmatch(path.stem):
                yield path.stem

    def note_derived(self, stored: StoredObject) -> None:
        """Count a derived instance, which a worker process has written; once, if told again."""
        path = self.derived.path(stored.location)
        with self._lock:
            self._count(path, _size(path))

    def remove(self, key: str) -> None:
        """Remove what was received; nothing where it is gone."""
        self._remove(self.path(key))

    def remove_derived(self, location: str) -> None:
        """Remove a derived instance; nothing where it is gone."""
        self._remove(self.derived.path(location))

    def _remove(self, path: Path) -> None:
        with self._lock:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise _error(path, error) from error
            self._count(path, 0)

    def _count(self, path: Path, size: int) -> None:
        """Count a file as so large, however often it is told; within the lock."""
        freed = self._sizes.pop(path, 0) - size
        if size:
            self._sizes[path] = size
        self._used -= freed
        self._is_refusing = self._is_refusing and freed <= 0


class IncomingFile:
    """A file of the spool that is being received; a `Sink`.

    Args:
        spool: The spool.
        part: Where it is until it is whole.
        head: What it begins with.
        seed: See `Spool.begin`.
    """

    def __init__(self, spool: Spool, part: Path, head: bytes, seed: bytes) -> None:
        self._spool, self._part = spool, part
        self._size = 0
        self._digest = hashlib.sha256(seed)
        self._error: OutputError | None = None
        self._stream: BinaryIO | None = None
        # Whatever becomes of the association, nothing stays.
        self._remove = weakref.finalize(self, spool.drop, part)
        try:
            self._stream = open(part, "xb", opener=_open_for_owner)  # noqa: SIM115
        except OSError as error:
            self._error = _error(part, error)
        self._write(head)

    @property
    def key(self) -> str:
        """SHA-256 of the seed and of what was written."""
        return self._digest.hexdigest()

    def write(self, content: bytes | memoryview, /) -> None:
        """Take a piece; what goes wrong with it `keep` tells, as only then it matters."""
        self._digest.update(content)
        self._write(content)

    def keep(self) -> None:
        """Bring the file to its place; when this returns it is on the disk.

        Raises:
            OutputError: There was no room, or it cannot be written.
        """
        if self._error is None and self._stream is not None:
            path = self._spool.path(self.key)
            try:
                self._stream.flush()
                os.fsync(self._stream.fileno())
                self._stream.close()
                self._spool.place(self._part, path)
                _flush_folder(path.parent)
            except OSError as error:
                self._error = _error(path, error)
        self.discard()
        if self._error is not None:
            raise self._error

    def open(self) -> BinaryIO:
        """What was written so far, head and all.

        Raises:
            OSError: It cannot be read.
        """
        if self._stream is not None and not self._stream.closed:
            self._stream.flush()
        return self._part.open("rb")

    def discard(self) -> None:
        """Forget what is not kept."""
        if self._stream is not None:
            with contextlib.suppress(OSError):
                self._stream.close()
        self._remove()

    def _write(self, content: bytes | memoryview) -> None:
        if self._error is not None or self._stream is None:
            return
        self._size += len(content)
        try:
            self._spool.reserve(self._part, self._size)
            self._stream.write(content)
        except OSError as error:
            self._error = _error(self._part, error)
        except OutputError as error:
            self._error = error
        if self._error is not None:
            self.discard()


@dataclass(frozen=True)
class DerivedFolder:
    """The derived instances of a spool: an `ObjectTarget` for workers.

    Attributes:
        folder: The spool's folder.
    """

    folder: Path

    @property
    def scratch(self) -> Path:
        """Where files may lie for a moment: what a kill leaves there the next node removes."""
        return self.folder / _PARTS

    def prepare(self) -> None:
        """Nothing: the spool has made and checked its folders."""

    def close(self) -> None:
        """Nothing: it holds nothing open."""

    def store(self, derived: Dataset) -> StoredObject:
        """Write an instance to the disk; see `ObjectTarget.store`."""
        uid = str(derived.SOPInstanceUID)
        location = f"{uid}.dcm"
        path = self.path(location)
        content = encode_dataset(derived)
        part = self.folder / _PARTS / f"{secrets.token_hex(8)}.part"
        with open_atomically(path, part=part, mode=_OWNER_ALONE) as stream:
            stream.write(content)
        try:
            _flush_folder(path.parent)
            stamp = stamp_of(path.stat())
        except OSError as error:
            raise _error(path, error) from error
        return StoredObject(location, uid, hashlib.sha256(content).hexdigest(), stamp)

    def find(self, stored: StoredObject) -> StoredObject | None:
        """Look whether an instance is there; see `ObjectTarget.find`."""
        return stored if self.path(stored.location).is_file() else None

    def path(self, location: str) -> Path:
        """Where a derived instance is, or would be."""
        if not is_uid(location.removesuffix(".dcm")):
            raise ValueError("a derived instance is named by its UID; need one that derive made")
        return self.folder / _DERIVED / location

    def locations(self) -> Iterator[str]:
        """The derived instances that are there."""
        for path in (self.folder / _DERIVED).iterdir():
            if path.suffix == ".dcm" and is_uid(path.stem):
                yield path.name


def _open_for_owner(name: str, flags: int) -> int:
    return os.open(name, flags | os.O_NOFOLLOW, _OWNER_ALONE)


def _free_bytes(folder: Path) -> int:
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _flush_folder(folder: Path) -> None:
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _error(folder, error) from error


def _error(path: Path, error: OSError) -> OutputError:
    return OutputError(f"{path}: cannot be written: {error.strerror or type(error).__name__}")
