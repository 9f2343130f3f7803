"""A folder of limited size, for fetched files that are still to be processed."""

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
    """Files in a folder; each is complete or does not exist.

    Args:
        folder: The folder, whose parent exists; it is emptied, and readable by its owner only.
        max_bytes: Maximum size of all files together.
        max_file_bytes: Maximum size of one file; limited to `max_bytes`.

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
        """Return the path of a file, whether it exists or not.

        Args:
            name: Its unique name, which is not part of the path.
        """
        return self._folder / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.dcm"

    def reserve(self, path: Path) -> bool:
        """Reserve space for a file of maximum size until it is complete or removed.

        Args:
            path: A result of `path`.

        Returns:
            Whether there is enough space.
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
            path: A result of `path`, with reserved space.

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
        """Remove a file, if it exists."""
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
