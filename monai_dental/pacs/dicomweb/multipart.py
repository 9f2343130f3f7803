"""The bodies of STOW-RS requests and WADO-RS answers: multipart/related (RFC 2387, RFC 2046).

No library does this: requests-toolbelt writes only multipart/form-data, whose parts have names,
which STOW-RS does not know. Its decoder holds a whole answer in memory; so does dicomweb-client,
whose `iter_instances` also parses each instance.
"""

from __future__ import annotations

import io
import re
import secrets
from collections.abc import Iterable
from email.message import Message
from typing import BinaryIO

from monai_dental.errors import PacsError
from monai_dental.pacs.dicomweb.http import BrokenAnswerError
from monai_dental.pacs.parcel import Parcel

_MAX_HEAD = 1 << 16
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{1,70}")  # RFC 2046 5.1.1


class Body:
    """A body with one DICOM file, which is read piece by piece without a copy."""

    def __init__(self, parcel: Parcel, boundary: str) -> None:
        head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        tail = f"\r\n--{boundary}--\r\n".encode()
        self._parts = (io.BytesIO(head), parcel.open(), io.BytesIO(tail))
        self._sizes = (len(head), parcel.size, len(tail))
        self._position = 0

    def __len__(self) -> int:
        """Return the number of bytes, which requests sends in the header."""
        return sum(self._sizes)

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, position: int) -> None:
        """Set the position: urllib3 rewinds the body before it sends a request again."""
        self._position = position

    def read(self, size: int = -1) -> bytes:
        """Read at most `size` bytes."""
        begin = 0
        for part, length in zip(self._parts, self._sizes, strict=True):
            if self._position < begin + length:
                part.seek(self._position - begin)
                left = begin + length - self._position
                content = part.read(left if size < 0 else min(size, left))
                self._position += len(content)
                return content
            begin += length
        return b""

    def close(self) -> None:
        """Close the file."""
        for part in self._parts:
            part.close()


def encode(parcel: Parcel) -> tuple[Body, str]:
    """Put a DICOM file into a body, and return the body and its media type."""
    boundary = secrets.token_hex(24)
    media_type = f'multipart/related; type="application/dicom"; boundary={boundary}'
    return Body(parcel, boundary), media_type


def read_only_part(content_type: str, chunks: Iterable[bytes], stream: BinaryIO) -> int:
    """Write the only part of a body to a file, piece by piece.

    Args:
        content_type: The media type of the body. If it is application/dicom, which some servers
            send against the standard, the body itself is the part.
        chunks: The body.
        stream: The file to write; it is complete only when this returns.

    Returns:
        The number of bytes of the part.

    Raises:
        BrokenAnswerError: The body ends too early.
        PacsError: It is not such a body, or does not have exactly one part.
    """
    header = Message()
    header["Content-Type"] = content_type
    if header.get_content_type() == "application/dicom":
        return sum(map(stream.write, chunks))
    boundary = str(header.get_param("boundary", ""))
    if header.get_content_type() != "multipart/related" or not _BOUNDARY.fullmatch(boundary):
        raise PacsError("the answer is not multipart/related; need application/dicom in it")
    delimiter = b"\r\n--" + boundary.encode()
    pieces = iter(chunks)
    # The first delimiter may stand at the very beginning.
    rest = _skip_to(b"\r\n\r\n", b"\r\n", delimiter, pieces)
    count = 0
    for piece in pieces:
        rest += piece
        if delimiter in rest:
            break
        sure = max(0, len(rest) - len(delimiter) + 1)
        count += stream.write(rest[:sure])
        rest = rest[sure:]
    part, found, tail = rest.partition(delimiter)
    if not found:
        raise BrokenAnswerError("the answer ends in the middle of an instance")
    for piece in pieces:
        if len(tail) < _MAX_HEAD:
            tail += piece
    if not tail.startswith(b"--"):
        raise PacsError("the answer has more than one instance, or ends too early; need only one")
    return count + stream.write(part)


def _skip_to(end: bytes, head: bytes, delimiter: bytes, pieces: Iterable[bytes]) -> bytes:
    """Skip the headers of the first part, and return the bytes read after them."""
    found = head
    for piece in pieces:
        found += piece
        _, has_part, part = found.partition(delimiter)
        _, has_end, rest = part.partition(end)
        if has_part and has_end:
            return rest
        if len(found) > _MAX_HEAD:
            break
    raise PacsError("the answer has no beginning; need multipart/related")
