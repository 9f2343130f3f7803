"""Checks of the headers and the completeness of PNG, JPEG, TIFF and BMP files.

OpenCV decodes a truncated file without an error, with missing rows in grey or black, and allocates
any size that a header asks for. These functions check first: each takes a whole file, returns the
size, and raises an error for a truncated file.

None of our libraries does this without decoding. Pillow's `open` returns size and mode, but does
not detect missing rows, damaged chunks, the pages and sample formats of TIFF, or strips beyond the
end; its `verify` only checks PNG. imagecodecs only checks the first bytes.
"""

from __future__ import annotations

import struct
import zlib

from monai_dental.errors import CorruptImageError, UnsupportedImageError

Size = tuple[int, int]
"""(rows, columns)"""

_TIFF_FORMATS = {1: "B", 2: "c", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 16: "Q"}
_JPEG_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def png_size(content: bytes) -> Size:
    """Return the size of a PNG, and check all chunks and the checksums of critical ones.

    Raises:
        CorruptImageError: A chunk is cut off or damaged, or the end chunk is missing.
    """
    size = None
    position = 8
    while position + 12 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, position)
        end = position + 12 + length
        if end > len(content):
            break
        if kind.isupper():  # only critical chunks: damaged text is harmless
            (checksum,) = struct.unpack_from(">I", content, end - 4)
            if zlib.crc32(memoryview(content)[position + 4 : end - 4]) != checksum:
                raise CorruptImageError(f"the {kind.decode('latin-1')} chunk is damaged")
        if kind == b"IHDR" and length == 13:
            columns, rows = struct.unpack_from(">II", content, position + 8)
            size = (rows, columns)
        if kind == b"IEND" and size is not None:
            return size
        position = end
    raise CorruptImageError(f"the file ends after {len(content)} bytes without its end chunk")


def jpeg_size(content: bytes) -> Size:
    """Return the size of a JPEG whose scan is followed by an end marker.

    Returns:
        (rows, columns), as stored: an EXIF orientation is not applied.

    Raises:
        CorruptImageError: A segment is cut off, or the end marker is missing.
    """
    size = None
    position = 2
    while position + 4 <= len(content):
        if content[position] != 0xFF:
            raise CorruptImageError(f"no JPEG marker at byte {position}")
        marker = content[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:  # markers without a segment
            position += 2
            continue
        (length,) = struct.unpack_from(">H", content, position + 2)
        if marker in _JPEG_SIZES and position + 9 <= len(content):
            size = struct.unpack_from(">HH", content, position + 5)
        position += 2 + length
        if marker == 0xDA:  # the scan follows: there 0xFFD9 can only be the end marker
            if size is None or content.find(b"\xff\xd9", position) < 0:
                break
            return size[0], size[1]
    raise CorruptImageError(f"the file ends after {len(content)} bytes without its end marker")


def bmp_size(content: bytes) -> Size:
    """Return the size of a BMP that is as long as its header says.

    Raises:
        CorruptImageError: The file is shorter than its pixels.
    """
    try:
        offset, header_bytes = struct.unpack_from("<II", content, 10)
        if header_bytes == 12:
            columns, rows, _, depth = struct.unpack_from("<HHHH", content, 18)
            compression = 0
        else:
            columns, rows, _, depth, compression = struct.unpack_from("<iiHHI", content, 18)
    except struct.error as error:
        raise CorruptImageError("the header is cut off") from error
    rows = abs(rows)  # negative: stored top to bottom
    needed = offset
    if compression in (0, 3):  # not run-length encoded
        needed += (columns * depth + 31) // 32 * 4 * rows
    if len(content) < needed:
        raise CorruptImageError(f"{len(content)} bytes; need {needed}")
    return rows, columns


def tiff_size(content: bytes) -> tuple[Size, bool]:
    """Return the size of a one-page grey or colour TIFF whose strips or tiles lie within the file.

    Returns:
        (rows, columns) as stored (an orientation tag is not applied), and whether it is a 16-bit
        file with WhiteIsZero, which OpenCV only handles for 8 bits.

    Raises:
        CorruptImageError: The directory or the pixels are cut off.
        UnsupportedImageError: The file has several pages, or an unsupported pixel type.
    """
    order = "<" if content[:2] == b"II" else ">"
    try:
        (position,) = struct.unpack_from(order + "I", content, 4)
        tags, following = _tiff_directory(content, order, position)
        columns, rows = tags[256][0], tags[257][0]
        offsets, counts = tags.get(273) or tags[324], tags.get(279) or tags[325]
    except (struct.error, KeyError, IndexError) as error:
        raise CorruptImageError("the TIFF directory is cut off or incomplete") from error
    needed = max(map(sum, zip(offsets, counts, strict=False)), default=0)
    if len(offsets) != len(counts) or len(content) < needed:
        raise CorruptImageError(f"{len(content)} bytes; need {needed}")
    if following:
        raise UnsupportedImageError("several pages; need one")
    bits, kind = set(tags.get(258, (1,))), set(tags.get(339, (1,)))
    if not (kind == {1} and bits <= {1, 4, 8, 16}) and not (kind == {3} and bits == {32}):
        raise UnsupportedImageError(
            f"TIFF with {sorted(bits)} bits per sample of format {sorted(kind)}; "
            "need unsigned integers of 8 or 16 bits, or floats of 32"
        )
    is_white_zero = tags.get(262, (1,))[0] == 0
    if is_white_zero and bits == {32}:
        raise UnsupportedImageError("float TIFF with WhiteIsZero; need BlackIsZero")
    return (rows, columns), is_white_zero and bits == {16}


def _tiff_directory(
    content: bytes, order: str, position: int
) -> tuple[dict[int, tuple[int, ...]], int]:
    """Read the integer tags of an image file directory, and the position of the next one or 0."""
    (count,) = struct.unpack_from(order + "H", content, position)
    tags: dict[int, tuple[int, ...]] = {}
    for entry in range(position + 2, position + 2 + 12 * count, 12):
        tag, kind, values = struct.unpack_from(order + "HHI", content, entry)
        form = _TIFF_FORMATS.get(kind)
        if form is None or form == "c" or values > len(content):
            continue
        layout = f"{order}{values}{form}"
        start = entry + 8
        if struct.calcsize(layout) > 4:
            (start,) = struct.unpack_from(order + "I", content, entry + 8)
        tags[tag] = struct.unpack_from(layout, content, start)
    (following,) = struct.unpack_from(order + "I", content, position + 2 + 12 * count)
    return tags, following
