"""What the header of a codestream tells of it, read before anything is decoded.

A decoder allocates what the codestream asks for, whatever the dataset around it says.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from monai_dental.errors import CorruptImageError

_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
# SOF0 to SOF15 but for DHT, JPG and DAC, which stand among them; and SOF55 of JPEG-LS.
_START_OF_FRAME = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})
_CODING_STYLE, _START_OF_TILE = 0xFF52, 0xFF90
_JP2_SIGNATURE = b"\0\0\0\x0cjP  \r\n\x87\n"


@dataclass(frozen=True)
class CodestreamHeader:
    """The size of a codestream's picture.

    Attributes:
        rows: Number of rows.
        columns: Number of columns.
        components: Number of components, 1 for grayscale.
        bits: Bits of a sample of the first component, without regard to its sign.
    """

    rows: int
    columns: int
    components: int
    bits: int

    def check(self, shape: tuple[int, int]) -> None:
        """Check that the picture is grayscale and of the dataset's size.

        Args:
            shape: (Rows, Columns) of the dataset.

        Raises:
            CorruptImageError: It is not.
        """
        if (self.rows, self.columns) != shape:
            raise CorruptImageError(
                f"has a codestream of {self.rows} x {self.columns} pixels; the header has "
                f"(0028,0010) Rows x (0028,0011) Columns of {shape[0]} x {shape[1]}"
            )
        if self.components != 1:
            raise CorruptImageError(f"has a codestream of {self.components} components; need 1")


def read_jpeg_header(codestream: bytes) -> CodestreamHeader:
    """Read the frame header of a JPEG or JPEG-LS codestream (ITU-T T.81 B.2.2, T.87 C.2.2).

    Bytes between the marker segments are skipped, as decoders do. A size that is told after the
    frame header only (DNL, LSE) is returned as 0.

    Args:
        codestream: The codestream, from its SOI marker on.

    Returns:
        The size in the first frame header.

    Raises:
        CorruptImageError: There is no frame header before the first scan.
    """
    at = 2 if codestream.startswith(b"\xff\xd8") else len(codestream)
    while (at := codestream.find(b"\xff", at)) >= 0:
        while codestream[at : at + 1] == b"\xff":
            at += 1
        marker = codestream[at] if at < len(codestream) else _END_OF_IMAGE
        at += 1
        if marker in (_START_OF_SCAN, _END_OF_IMAGE):
            break
        if marker == 0 or marker in _WITHOUT_LENGTH:
            continue
        try:
            if marker in _START_OF_FRAME:
                bits, rows, columns, components = struct.unpack_from(">BHHB", codestream, at + 2)
                return CodestreamHeader(rows, columns, components, bits)
            at += max(struct.unpack_from(">H", codestream, at)[0], 2)
        except struct.error:
            break
    raise CorruptImageError("cannot be decoded: its codestream has no JPEG frame header")


def read_jpeg2000_header(codestream: bytes) -> CodestreamHeader:
    """Read the SIZ marker segment of a JPEG 2000 or HTJ2K codestream (ITU-T T.800 A.5.1).

    Args:
        codestream: The codestream, or a JP2 file around it.

    Returns:
        The extent of the reference grid: the size of every component that is not subsampled, more
        than that of the others.

    Raises:
        CorruptImageError: There is no SIZ marker segment at the start of the codestream.
    """
    at = _start_of_jpeg2000(codestream)
    if codestream[at : at + 4] == b"\xff\x4f\xff\x51":
        try:
            right, bottom, left, top = struct.unpack_from(">4I", codestream, at + 8)
            components, bits = struct.unpack_from(">HB", codestream, at + 40)
        except struct.error:
            pass
        else:
            return CodestreamHeader(bottom - top, right - left, components, (bits & 0x7F) + 1)
    raise CorruptImageError("cannot be decoded: its codestream has no JPEG 2000 SIZ marker")


def is_irreversible(codestream: bytes) -> bool:
    """Whether a JPEG 2000 or HTJ2K codestream has the 9-7 transform (ITU-T T.800 A.6.1).

    Args:
        codestream: The codestream, or a JP2 file around it.

    Returns:
        What the COD marker segment of the main header tells. One with the reversible transform can
        have lost something too, where it was cut off; no marker tells that.
    """
    at = _start_of_jpeg2000(codestream) + 2
    while at + 14 <= len(codestream):
        marker, length = struct.unpack_from(">HH", codestream, at)
        if marker == _CODING_STYLE:
            return codestream[at + 13] == 0
        if marker == _START_OF_TILE or marker >> 8 != 0xFF:
            break
        at += 2 + max(length, 2)
    return False


def _start_of_jpeg2000(content: bytes) -> int:
    return _find_jp2_codestream(content) if content.startswith(_JP2_SIGNATURE) else 0


def _find_jp2_codestream(content: bytes) -> int:
    """Where the first contiguous codestream box (ITU-T T.800 I.5.4) has its content, or the end."""
    at = 0
    while at + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        start = at + 8
        if length == 1:  # the length stands behind the type
            if start + 8 > len(content):
                break
            length = struct.unpack_from(">Q", content, start)[0]
            start += 8
        if kind == b"jp2c":
            return start
        if at + length < start:
            break
        at += length
    return len(content)
