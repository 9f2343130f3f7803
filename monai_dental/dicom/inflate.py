"""Inflation of deflated files, up to the size of the largest supported image.

A deflated data set can be a thousand times larger than its file, and pydicom inflates all of it at
once, however large it gets.
"""

from __future__ import annotations

import io
import zlib
from typing import BinaryIO

from pydicom.filereader import read_dataset, read_preamble
from pydicom.tag import BaseTag
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from monai_dental.errors import UnsupportedImageError
from monai_dental.radiograph import MAX_PIXELS

MAX_BYTES = 2 * MAX_PIXELS
"""Largest inflated data set in bytes: that of the largest supported image with 16 bits."""

HEAD_BYTES = 4096
"""Number of bytes at the start of a file that `may_be_deflated` needs."""

_DEFLATED = str(DeflatedExplicitVRLittleEndian).encode()
_CHUNK = 1 << 20


def may_be_deflated(head: bytes) -> bool:
    """Return whether the first `HEAD_BYTES` bytes of a file name the deflated transfer syntax."""
    return _DEFLATED in head


def inflate(content: bytes) -> bytes | None:
    """Convert the bytes of a deflated file to Explicit VR Little Endian.

    Args:
        content: The file; within `quiet_pydicom`.

    Returns:
        The file with its Transfer Syntax UID changed, or None if it is not deflated.

    Raises:
        UnsupportedImageError: It would inflate to more than `MAX_BYTES` bytes; they are counted
            before any are kept.
        zlib.error: The deflated bytes are broken or cut off.
    """
    stream = io.BytesIO(content)
    read_preamble(stream, force=False)
    file_meta = read_dataset(stream, False, True, stop_when=_is_behind_meta)
    if file_meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        return None
    at = stream.tell()
    size = inflated_size(stream, MAX_BYTES)
    if size > MAX_BYTES:
        raise UnsupportedImageError(
            f"its deflated data set inflates to more than {MAX_BYTES >> 20} MiB; need at most that"
        )
    meta = content[:at].replace(_DEFLATED, str(ExplicitVRLittleEndian).encode().ljust(22, b"\0"))
    return meta + zlib.decompress(memoryview(content)[at:], -zlib.MAX_WBITS, max(1, size))


def inflated_size(stream: BinaryIO, limit: int) -> int:
    """Return how many bytes a deflated stream (RFC 1951) inflates to, counting to `limit` + 1.

    Args:
        stream: The stream; if it is broken, the part before the error counts.
        limit: The limit.
    """
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    size = 0
    while size <= limit and not inflater.eof:
        waiting = inflater.unconsumed_tail or stream.read(_CHUNK)
        try:
            size += len(inflater.decompress(waiting, _CHUNK) if waiting else inflater.flush())
        except zlib.error:
            break
        if not waiting:
            break
    return min(size, limit + 1)


def _is_behind_meta(tag: BaseTag, vr: str | None, length: int) -> bool:
    return tag >> 16 != 2
