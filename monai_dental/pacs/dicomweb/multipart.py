"""The bodies of STOW-RS requests and WADO-RS answers: multipart/related (RFC 2387, RFC 2046)."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Sequence
from email.message import Message
from typing import BinaryIO

from monai_dental.errors import PacsError
from monai_dental.pacs.dicomweb.http import BrokenAnswerError

_MAX_HEAD = 1 << 16
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{1,70}")  # RFC 2046 5.1.1


def encode(contents: Sequence[bytes]) -> tuple[bytes, str]:
    """Put DICOM files into one body.

    Args:
        contents: The files.

    Returns:
        The body, and its media type.
    """
    boundary = secrets.token_hex(24)
    body = bytearray()
    for content in contents:
        body += f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        body += content
        body += b"\r\n"
    body += f"--{boundary}--\r\n".encode()
    return bytes(body), f'multipart/related; type="application/dicom"; boundary={boundary}'


def read_only_part(content_type: str, chunks: Iterable[bytes], stream: BinaryIO) -> int:
    """Write the one part of a body, as it comes, to a file.

    Args:
        content_type: The media type of the body. One that is application/dicom, which servers were
            seen to send in spite of the standard, is the part itself.
        chunks: The body.
        stream: Where the part goes; what it holds is whole only when this returns.

    Returns:
        The number of bytes of the part.

    Raises:
        BrokenAnswerError: It ends too early.
        PacsError: It is no such body, or has another number of parts.
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
        raise BrokenAnswerError("the answer ends in mid-instance")
    for piece in pieces:
        if len(tail) < _MAX_HEAD:
            tail += piece
    if not tail.startswith(b"--"):
        raise PacsError("the answer holds more than one instance, or ends early; need the one")
    return count + stream.write(part)


def _skip_to(end: bytes, head: bytes, delimiter: bytes, pieces: Iterable[bytes]) -> bytes:
    """What follows the headers of the first part."""
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
