"""Decoding of encapsulated grayscale frames, by imagecodecs.

pydicom's own decoders are not used: of the plugins that could be shipped none decodes JPEG Extended
well, and pydicom keeps them in process-wide tables. Only imagecodecs' BSD-licensed codecs are
called, and each only for a picture of the dataset's own size.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.encaps import generate_frames

from monai_dental.dicom.codestream import read_jpeg2000_header, read_jpeg_header
from monai_dental.errors import CorruptImageError, UnsupportedImageError

Decode = Callable[[bytes, tuple[int, int]], NDArray[Any]]
"""Decodes a frame of (rows, columns); raises before it allocates those of another size."""


def decode_frames(
    transfer_syntax: str, encoded: bytes, shape: tuple[int, int, int], bits_allocated: int
) -> NDArray[np.unsignedinteger[Any]]:
    """Decode the frames of encapsulated Pixel Data.

    Args:
        transfer_syntax: Transfer Syntax UID.
        encoded: The value of Pixel Data: the offset table and the fragments.
        shape: (frames, rows, columns) that the dataset tells.
        bits_allocated: 8 or 16.

    Returns:
        The pixel cells as unsigned integers of `bits_allocated` bits, of that shape.

    Raises:
        UnsupportedImageError: There is no decoder for the transfer syntax.
        CorruptImageError: A frame is missing, truncated, undecodable or of another size.
    """
    decode = _DECODERS.get(transfer_syntax)
    if decode is None and transfer_syntax != uid.RLELossless:
        raise UnsupportedImageError(
            f"(0002,0010) Transfer Syntax UID is '{_syntax_name(transfer_syntax)}'; "
            "need native, RLE, JPEG, JPEG-LS, JPEG 2000 or JPEG XL pixel data"
        )
    cells = np.empty(shape, np.uint8 if bits_allocated == 8 else np.uint16)
    size = shape[1:]
    count = 0
    try:
        for frame in generate_frames(encoded, number_of_frames=shape[0]):
            if count == shape[0]:
                break
            if decode is None:
                cells[count] = _decode_rle(frame, size, cells.dtype)
            else:
                cells[count] = _decode_frame(decode, frame, transfer_syntax, size, cells.dtype)
            count += 1
    except CorruptImageError as error:
        raise CorruptImageError(f"frame {count + 1} {error}") from error
    except (ValueError, LookupError, TypeError, EOFError) as error:
        raise CorruptImageError(
            f"(7FE0,0010) Pixel Data has broken fragments: {type(error).__name__}"
        ) from error
    if count < shape[0]:
        raise CorruptImageError(f"(7FE0,0010) Pixel Data has {count} frames; need {shape[0]}")
    return cells


def _decode_frame(
    decode: Decode, frame: bytes, transfer_syntax: str, shape: tuple[int, int], dtype: np.dtype[Any]
) -> NDArray[Any]:
    # A decoder fills what a cut-off codestream lacks with grey, and says nothing.
    if transfer_syntax not in _WITHOUT_END_MARKER and b"\xff\xd9" not in frame[-64:]:
        raise CorruptImageError("is cut off: its end marker is missing")
    try:
        image = decode(frame, shape)
    except (RuntimeError, ValueError, TypeError, OverflowError, MemoryError, IndexError) as error:
        raise CorruptImageError(f"cannot be decoded: {type(error).__name__}") from error
    image = np.squeeze(image) if image.ndim > 2 else image
    if image.shape != shape and image.size != shape[0] * shape[1]:
        raise CorruptImageError(f"decodes to shape {image.shape}; need {shape}")
    if image.dtype.itemsize > dtype.itemsize:
        raise CorruptImageError(f"decodes to {image.dtype}; need {8 * dtype.itemsize} bits")
    # Signed codestreams become bit patterns of the allocated width, sign bits and all.
    return image.reshape(shape).astype(dtype)


def _decode_jpeg(
    codec: Callable[..., NDArray[Any]], frame: bytes, shape: tuple[int, int]
) -> NDArray[Any]:
    header = read_jpeg_header(frame)
    header.check(shape)
    # The array holds the decoder to the size, should it find another frame header than ours.
    return codec(frame, out=np.empty(shape, np.uint8 if header.bits <= 8 else np.uint16))


def _decode_jpeg2000(frame: bytes, shape: tuple[int, int]) -> NDArray[Any]:
    # OpenJPEG allocates before an array given to it would be looked at.
    read_jpeg2000_header(frame).check(shape)
    return imagecodecs.jpeg2k_decode(frame)


def _decode_jpegxl(frame: bytes, shape: tuple[int, int]) -> NDArray[Any]:
    # Here the array is compared with the header first, and a ValueError tells that it differs.
    for dtype in (np.uint16, np.uint8):
        try:
            return imagecodecs.jpegxl_decode(frame, out=np.empty(shape, dtype))
        except ValueError:
            continue
    raise CorruptImageError(
        "has no JPEG XL codestream of one grayscale picture of the (0028,0010) Rows x "
        f"(0028,0011) Columns of the header, {shape[0]} x {shape[1]}"
    )


def _decode_rle(frame: bytes, shape: tuple[int, int], dtype: np.dtype[Any]) -> NDArray[Any]:
    most = (shape[0] + 1) * shape[1] * dtype.itemsize  # a row more, for what encoders pad
    try:
        decoded = imagecodecs.dicomrle_decode(frame, dtype.newbyteorder("<"), out=most)
    except (RuntimeError, ValueError, TypeError, OverflowError, IndexError) as error:
        raise CorruptImageError(f"cannot be decoded: {type(error).__name__}") from error
    image = np.frombuffer(decoded, dtype.newbyteorder("<"))
    needed = shape[0] * shape[1]
    if image.size < needed:
        raise CorruptImageError(f"decodes to {image.size} pixels; need {needed}")
    return image[:needed].reshape(shape)


def _syntax_name(transfer_syntax: str) -> str:
    known = uid.UID(transfer_syntax)
    return known.name if known.is_transfer_syntax else "unknown"


_JPEG = (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLossless, uid.JPEGLosslessSV1)
_JPEG_LS = (uid.JPEGLSLossless, uid.JPEGLSNearLossless)
_JPEG_XL = ("1.2.840.10008.1.2.4.110", "1.2.840.10008.1.2.4.112")
# High-throughput JPEG 2000 too by OpenJPEG: OpenJPH, at twice the speed, told of 3 of 100 damaged
# codestreams, OpenJPEG of 61; the others came out as noise without a word.
_JPEG2000 = (
    uid.JPEG2000Lossless,
    uid.JPEG2000,
    uid.JPEG2000MCLossless,
    uid.JPEG2000MC,
    uid.HTJ2KLossless,
    uid.HTJ2KLosslessRPCL,
    uid.HTJ2K,
)
_DECODERS: dict[str, Decode] = {
    **dict.fromkeys(_JPEG, partial(_decode_jpeg, imagecodecs.jpeg_decode)),
    **dict.fromkeys(_JPEG_LS, partial(_decode_jpeg, imagecodecs.jpegls_decode)),
    **dict.fromkeys(_JPEG2000, _decode_jpeg2000),
    **dict.fromkeys(_JPEG_XL, _decode_jpegxl),
}
COMPRESSED = (str(uid.RLELossless), *map(str, _DECODERS))
"""Encapsulated transfer syntaxes that are decoded here."""

_WITHOUT_END_MARKER = frozenset(_JPEG_XL)
