"""Receive a file: streamed to the disk, within limits, under a name chosen by the server."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

from monai_dental.errors import MonaiDentalError

LARGEST_UPLOAD = 1 << 30
"""Maximum bytes of one file."""

MOST_IMAGES = 20_000
"""Maximum number of images of one server."""

_KEPT_FREE = 1 << 30  # bytes to leave free on the disk for others


class RequestError(MonaiDentalError):
    """A request is not valid, or its file is refused.

    Args:
        status: The HTTP status.
        message: The reason, a sentence.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


async def receive(chunks: AsyncIterator[bytes], path: Path, declared: int | None) -> None:
    """Write an upload to a file; leave nothing behind if it is refused.

    Args:
        chunks: The content.
        path: The file, in an existing folder.
        declared: Size in bytes that the browser declares.

    Raises:
        RequestError: The file is larger than `LARGEST_UPLOAD`, the disk is full, or the upload is
            incomplete.
    """
    if declared is not None:
        _check(declared, path)
    size = 0
    try:
        with path.open("xb") as stream:
            async for chunk in chunks:
                size += len(chunk)
                _check(size, path)
                await asyncio.to_thread(stream.write, chunk)
        if declared is not None and size != declared:
            raise RequestError(400, f"only {size} of {declared} bytes arrived; send the file again")
    except OSError as error:
        path.unlink(missing_ok=True)
        raise RequestError(507, f"cannot be written: {error.strerror}") from error
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _check(size: int, path: Path) -> None:
    if size > LARGEST_UPLOAD:
        raise RequestError(413, f"larger than {LARGEST_UPLOAD >> 20} MiB; use monai-dental denoise")
    if shutil.disk_usage(path.parent).free < _KEPT_FREE:
        raise RequestError(507, "the disk of the temporary folder is almost full; free some of it")
