"""A folder of files that were fetched and are not done, which takes no more disk than it may."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from monai_dental.errors import OutputError


class SourceSpool:
    """Files below a folder, each of them there whole or not at all.

    Args:
        folder: The folder, whose parent exists; made anew, and for its owner alone to read.
        max_bytes: Disk that all files together may take.
        max_file_bytes: Disk that one may take; of `max_bytes` at most that.

    Raises:
        OutputError: It cannot be written.
    """

    def __init__(self, folder: Path, max_bytes: int, max_file_bytes: int) -> None:
        self._folder, self._max_bytes = folder, max_bytes
        self.max_file_bytes = min(max_file_bytes, max_bytes)
        self._sizes: dict[Path, int] = {}
        self._lock = threading.Lock()
        try:
            folder.mkdir(exist_ok=True, mode=0o700)
            folder.chmod(0o700)
            for path in folder.iterdir():
                path.unlink()
        except OSError as error:
            raise OutputError(f"{folder}: cannot be written: {error.strerror}") from error

    def path(self, name: str) -> Path:
        """Where a file is, or will be.

        Args:
            name: What tells it from others; not part of the path.
        """
        return self._folder / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.dcm"

    def reserve(self, path: Path) -> bool:
        """Keep room for a file of the largest size until it is whole or removed.

        Args:
            path: As of `path`.

        Returns:
            Whether there is so much.
        """
        with self._lock:
            if sum(self._sizes.values()) + self.max_file_bytes > self._max_bytes:
                return False
            self._sizes[path] = self.max_file_bytes
            return True

    @contextmanager
    def open(self, path: Path) -> Iterator[BinaryIO]:
        """Write a file.

        Args:
            path: As of `path`; room for it is kept.

        Raises:
            OutputError: It cannot be written.
        """
        part = path.with_suffix(".part")
        try:
            with part.open("wb+") as stream:
                yield stream
            part.replace(path)
            with self._lock:
                self._sizes[path] = path.stat().st_size
        except BaseException as error:
            self.remove(path)
            if isinstance(error, OSError):
                raise OutputError(f"{path}: cannot be written: {error.strerror}") from error
            raise

    def remove(self, path: Path) -> None:
        """Remove a file, whether it is there or not."""
        for each in (path, path.with_suffix(".part")):
            with contextlib.suppress(OSError):
                each.unlink()
        with self._lock:
            self._sizes.pop(path, None)

    def close(self) -> None:
        """Remove the folder and all files."""
        with contextlib.suppress(OSError):
            for path in self._folder.iterdir():
                path.unlink()
            self._folder.rmdir()
