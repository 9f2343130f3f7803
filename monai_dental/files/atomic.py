"""Writing a file whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from monai_dental.errors import OutputError


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that its name never stands for half of it; see `open_atomically`.

    Args:
        path: The file to write, in an existing folder; one that is there is replaced.
        content: All of its bytes.

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
    """Open a file that gets its name, in one step, only when all is written and on the disk.

    Until then the content is in a temporary file, which any exception removes, an interrupt among
    them. What a kill leaves of it is replaced when the same file is written again.

    Args:
        path: The file to write, in an existing folder.
        part: The temporary file; default one beside it, the same for the same `path`.
        place: What brings the temporary file to its place, given both; default a rename, which
            replaces a file that is there.
        mode: Who may read and write it, less the umask.

    Raises:
        OutputError: The file cannot be written, or another process writes it at the same time.
    """
    if part is None:  # its name does not hold the file's own: that may be as long as a name can be
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
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error
