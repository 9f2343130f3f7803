"""The body of an HTTP/1.1 request, piece by piece (RFC 9112 6 and 7)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from email.message import Message
from io import BufferedIOBase

_PIECE = 1 << 16
_LONGEST_LINE = 1 << 10
_MOST_TRAILERS = 32
_SIZE = re.compile(rb"[0-9A-Fa-f]{1,15}")


class LengthError(Exception):
    """A request does not say how long its body is."""


class BrokenBodyError(Exception):
    """A body ends too early, or is not chunked as it should be."""


def read_body(headers: Message, stream: BufferedIOBase) -> Iterator[bytes]:
    """Return an iterator over the pieces of a body, each of at most 64 KiB.

    Args:
        headers: The request's headers.
        stream: The stream, at the beginning of the body.

    Raises:
        LengthError: There is neither a length nor a chunked encoding, or both; raised at the call.
    """
    length, coding = headers.get("Content-Length"), headers.get("Transfer-Encoding")
    if coding is not None:
        if coding.strip().lower() != "chunked" or length is not None:
            raise LengthError("need Content-Length, or Transfer-Encoding: chunked alone")
        return _chunked(stream)
    if length is None or not length.isascii() or not length.isdecimal() or len(length) > 15:
        raise LengthError("need Content-Length, or Transfer-Encoding: chunked")
    return _exactly(stream, int(length))


def _exactly(stream: BufferedIOBase, length: int) -> Iterator[bytes]:
    while length:
        piece = stream.read1(min(length, _PIECE))
        if not piece:
            raise BrokenBodyError("ends too early")
        length -= len(piece)
        yield piece


def _chunked(stream: BufferedIOBase) -> Iterator[bytes]:
    while True:
        size = _line(stream).partition(b";")[0].strip()
        if not _SIZE.fullmatch(size):
            raise BrokenBodyError("has a chunk without a size")
        if int(size, 16) == 0:
            break
        yield from _exactly(stream, int(size, 16))
        if _line(stream):
            raise BrokenBodyError("has a chunk that is longer than it says")
    for _ in range(_MOST_TRAILERS):
        if not _line(stream):
            return
    raise BrokenBodyError("has trailers without end")


def _line(stream: BufferedIOBase) -> bytes:
    """Return the next line, without its line ending."""
    line = stream.readline(_LONGEST_LINE)
    if not line.endswith(b"\n"):
        raise BrokenBodyError("ends too early, or has a line without end")
    return line.rstrip(b"\r\n")
