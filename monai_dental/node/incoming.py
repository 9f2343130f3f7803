"""A file received into a node's spool: complete, on the disk, and readable by its owner only."""

from __future__ import annotations

import contextlib
import hashlib
import os
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from monai_dental.errors import OutputError
from monai_dental.files.atomic import flush_folder, output_error

if TYPE_CHECKING:
    from monai_dental.node.spool import Spool

OWNER_ALONE = 0o600


class IncomingFile:
    """A file of the spool that is being received; a `Sink`.

    Args:
        spool: The spool.
        part: Its path until it is complete.
        head: Its first bytes.
        seed: See `Spool.begin`.
    """

    def __init__(self, spool: Spool, part: Path, head: bytes, seed: bytes) -> None:
        self._spool, self._part = spool, part
        self._size = 0
        self._digest = hashlib.sha256(seed)
        self._error: OutputError | None = None
        self._stream: BinaryIO | None = None
        # The file is removed however the association ends.
        self._remove = weakref.finalize(self, spool.drop, part)
        try:
            self._stream = open(part, "xb", opener=_open_for_owner)  # noqa: SIM115
        except OSError as error:
            self._error = output_error(part, error)
        self._write(head)

    @property
    def key(self) -> str:
        """SHA-256 of the seed and of the bytes written."""
        return self._digest.hexdigest()

    def write(self, content: bytes | memoryview, /) -> None:
        """Write a piece; errors are raised later, by `keep`."""
        self._digest.update(content)
        self._write(content)

    def keep(self) -> None:
        """Move the file to its place: it is on the disk when this returns.

        Raises:
            OutputError: There was not enough space, or it cannot be written.
        """
        if self._error is None and self._stream is not None:
            path = self._spool.path(self.key)
            try:
                self._stream.flush()
                os.fsync(self._stream.fileno())
                self._stream.close()
                self._spool.place(self._part, path)
                flush_folder(path.parent)
            except OSError as error:
                self._error = output_error(path, error)
        self.discard()
        if self._error is not None:
            raise self._error

    def open(self) -> BinaryIO:
        """Open what was written so far, including the head, for reading.

        Raises:
            OutputError: There was not enough space, or it could not be written.
            OSError: It cannot be read.
        """
        if self._error is not None:
            raise self._error
        if self._stream is not None:
            self._stream.flush()
        return self._part.open("rb")

    def discard(self) -> None:
        """Close the file, and remove it unless it was kept."""
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
            self._error = output_error(self._part, error)
        except OutputError as error:
            self._error = error
        if self._error is not None:
            self.discard()


def close_to_others(path: Path) -> None:
    """Let only its owner read or write a file; refuse a link.

    Raises:
        OSError: It is a link, or belongs to another user.
    """
    if path.is_dir() and not path.is_symlink():
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fchmod(descriptor, OWNER_ALONE)
    finally:
        os.close(descriptor)


def _open_for_owner(name: str, flags: int) -> int:
    return os.open(name, flags | os.O_NOFOLLOW, OWNER_ALONE)
