"""Writing a file whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from monai_dental.errors import OutputError


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that its name never stands for half of it.

    The content goes into a temporary file in the same folder, is flushed to the disk, and takes the
    name in one step; an existing file of that name is replaced. On any failure, an interrupt among
    them, the temporary file is removed. The folder must exist.

    Args:
        path: The file to write.
        content: All of its bytes.

    Raises:
        OutputError: The file cannot be written.
    """
    # The temporary name does not hold the file's own: that may be as long as a name can be.
    temporary = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        try:
            with temporary.open("xb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, path)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error
