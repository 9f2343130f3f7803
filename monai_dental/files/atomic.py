"""Atomic writing: a file is written completely or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from monai_dental.errors import OutputError


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file completely or not at all; see `open_atomically`.

    Args:
        path: The file to write, in an existing folder; an existing file is replaced.
        content: The bytes of the file.

    Raises:
        OutputError: The file cannot be written.
    """
    with open_atomically(path) as stream:
        stream.write(content)


@contextlib.contextmanager
def open_atomically(
    path: Path,
    *,
    part: Path | None = None,
    place: Callable[[Path, Path], object] | None = None,
    mode: int = 0o666,
) -> Iterator[BinaryIO]:
    """Open a file that gets its name, in one step, only once it is completely on the disk.

    Until then the content is in a temporary file, which is removed on any exception, including an
    interrupt. If the process is killed, the temporary file is replaced when the same file is
    written again.

    Args:
        path: The file to write, in an existing folder.
        part: The temporary file; by default one beside it, always the same for the same `path`.
        place: Called with both paths to move the temporary file into place; by default a rename,
            which replaces an existing file.
        mode: File mode, before the umask.

    Raises:
        OutputError: The file cannot be written, or another process is writing it.
    """
    if part is None:  # does not contain the file's name, which may have the maximum length
        digest = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]
        part = path.with_name(f".{digest}.part")
    try:
        part.unlink(missing_ok=True)
        try:
            with open(part, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
                written = os.fstat(stream.fileno())
            if not os.path.samestat(written, part.stat()):
                raise OSError(None, "another process writes it at the same time")
            (place or os.replace)(part, path)
        finally:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
    except OSError as error:
        raise output_error(path, error) from error


def flush_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk.

    Raises:
        OSError: They cannot be written.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def output_error(path: Path, error: OSError) -> OutputError:
    """Return the `OutputError` to raise for an error of the system."""
    return OutputError(f"{path}: cannot be written: {error.strerror or type(error).__name__}")
