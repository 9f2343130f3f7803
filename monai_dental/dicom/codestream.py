"""Codestream headers, read before anything is decoded.

A decoder allocates the memory that the codestream asks for, even if the dataset gives another size.
Neither imagecodecs nor Pillow reports size, components, bits and sign of all these codestreams
without decoding them: Pillow supports neither JPEG-LS nor lossless JPEG, and reports no sign.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from pydicom import uid

from monai_dental.errors import CorruptImageError

_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
# SOF0 to SOF15, without DHT, JPG and DAC, whose markers lie among them, and SOF55 of JPEG-LS.
_START_OF_FRAME = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})
_CODING_STYLE, _START_OF_TILE = 0xFF52, 0xFF90
_JPEG_SYNTAXES = {
    0xC0: str(uid.JPEGBaseline8Bit),
    0xC1: str(uid.JPEGExtended12Bit),
    0xC2: "1.2.840.10008.1.2.4.55",
    0xC3: str(uid.JPEGLossless),
    0xF7: str(uid.JPEGLSNearLossless),
}
_JP2_SIGNATURE = b"\0\0\0\x0cjP  \r\n\x87\n"


@dataclass(frozen=True)
class CodestreamHeader:
    """Image description in a codestream.

    Attributes:
        components: Number of components, 1 for greyscale.
        bits: Bits per sample of the first component, including the sign bit.
        is_signed: Whether the first component is signed.
        process: Marker of the frame header of JPEG (SOF0 is 0xC0) or JPEG-LS (0xF7); otherwise 0.
    """

    rows: int
    columns: int
    components: int
    bits: int
    is_signed: bool = False
    process: int = 0

    def check(self, shape: tuple[int, int], components: int, bits_allocated: int) -> None:
        """Check that the image matches the dataset.

        Args:
            shape: (Rows, Columns) of the dataset.
            components: Its Samples per Pixel.
            bits_allocated: Its Bits Allocated.

        Raises:
            CorruptImageError: Size or components differ, or the bits exceed Bits Allocated.
        """
        if (self.rows, self.columns) != shape:
            raise CorruptImageError(
                f"has a codestream of {self.rows} x {self.columns} pixels; the header has "
                f"(0028,0010) Rows x (0028,0011) Columns of {shape[0]} x {shape[1]}"
            )
        if self.components != components:
            raise CorruptImageError(
                f"has a codestream of {self.components} components; need {components}"
            )
        if self.bits > bits_allocated:
            raise CorruptImageError(
                f"has a codestream of {self.bits} bits; (0028,0100) Bits Allocated is "
                f"{bits_allocated}"
            )


def read_jpeg_header(codestream: bytes) -> CodestreamHeader:
    """Read the frame header of a JPEG or JPEG-LS codestream (ITU-T T.81 B.2.2, T.87 C.2.2).

    Bytes between the marker segments are skipped, as decoders do. A size that is only given after
    the frame header (DNL, LSE) is returned as 0.

    Args:
        codestream: The codestream, from its SOI marker on.

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
                return CodestreamHeader(rows, columns, components, bits, process=marker)
            at += max(struct.unpack_from(">H", codestream, at)[0], 2)
        except struct.error:
            break
    raise CorruptImageError("cannot be decoded: its codestream has no JPEG frame header")


def read_jpeg2000_header(codestream: bytes) -> CodestreamHeader:
    """Read the SIZ marker segment of a JPEG 2000 or HTJ2K codestream (ITU-T T.800 A.5.1).

    Args:
        codestream: The codestream, or a JP2 file around it.

    Returns:
        The header, with the extent of the reference grid as size. Components that are not
        subsampled have this size; the others are smaller.

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
            size = bottom - top, right - left
            return CodestreamHeader(*size, components, (bits & 0x7F) + 1, bool(bits & 0x80))
    raise CorruptImageError("cannot be decoded: its codestream has no JPEG 2000 SIZ marker")


def is_irreversible(codestream: bytes) -> bool:
    """Return whether a JPEG 2000 or HTJ2K codestream uses the 9-7 transform (ITU-T T.800 A.6.1).

    Args:
        codestream: The codestream, or a JP2 file around it.

    Returns:
        Whether the COD marker segment of the main header names that transform. A codestream with
        the reversible transform can also be lossy if it was truncated; no marker shows that.
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


def transfer_syntax_of(codestream: bytes) -> str | None:
    """Guess the transfer syntax of a codestream from its first bytes.

    Args:
        codestream: A frame, or its beginning.

    Returns:
        A Transfer Syntax UID whose decoder reads it, or None if the bytes are of no known kind. For
        JPEG-LS, JPEG 2000 and JPEG XL this is the lossy one, which includes the lossless.
    """
    if codestream.startswith((b"\xff\x4f\xff\x51", _JP2_SIGNATURE)):
        return str(uid.JPEG2000)
    if codestream.startswith(b"\xff\xd8"):
        try:
            return _JPEG_SYNTAXES.get(read_jpeg_header(codestream).process)
        except CorruptImageError:
            return None
    if codestream.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL ")):
        return "1.2.840.10008.1.2.4.112"
    if len(codestream) > 64:
        count, *offsets = struct.unpack_from("<16I", codestream)
        used = offsets[:count]
        is_rising = all(a < b for a, b in zip(used, [*used[1:], len(codestream)], strict=False))
        if 1 <= count <= 15 and used[0] == 64 and is_rising and not any(offsets[count:]):
            return str(uid.RLELossless)
    return None


def _start_of_jpeg2000(content: bytes) -> int:
    """Return 0, or in a JP2 file the offset of its codestream (ITU-T T.800 I.5.4) or of its end."""
    if not content.startswith(_JP2_SIGNATURE):
        return 0
    at = 0
    while at + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        start = at + 8
        if length == 1:  # the length follows the type
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
