"""Decoding of encapsulated grayscale frames, by imagecodecs.

pydicom's own decoders are not used: of the plugins that could be shipped none decodes JPEG Extended
well, and pydicom keeps them in process-wide tables. Only imagecodecs' BSD-licensed codecs are
called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.encaps import generate_frames

from monai_dental.errors import CorruptImageError, UnsupportedImageError

Decode = Callable[[bytes], NDArray[Any]]


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
    count = 0
    try:
        for frame in generate_frames(encoded, number_of_frames=shape[0]):
            if count == shape[0]:
                break
            if decode is None:
                cells[count] = _decode_rle(frame, shape[1:], cells.dtype)
            else:
                cells[count] = _decode_frame(decode, frame, transfer_syntax, shape[1:], cells.dtype)
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
    decode: Decode, frame: bytes, transfer_syntax: str, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> NDArray[Any]:
    # A decoder fills what a cut-off codestream lacks with grey, and says nothing.
    if transfer_syntax not in _WITHOUT_END_MARKER and b"\xff\xd9" not in frame[-64:]:
        raise CorruptImageError("is cut off: its end marker is missing")
    try:
        image = decode(frame)
    except (RuntimeError, ValueError, TypeError, OverflowError, MemoryError, IndexError) as error:
        raise CorruptImageError(f"cannot be decoded: {type(error).__name__}") from error
    image = np.squeeze(image) if image.ndim > 2 else image
    if image.shape != shape and image.size != shape[0] * shape[1]:
        raise CorruptImageError(f"decodes to shape {image.shape}; need {shape}")
    if image.dtype.itemsize > dtype.itemsize:
        raise CorruptImageError(f"decodes to {image.dtype}; need {8 * dtype.itemsize} bits")
    # Signed codestreams become bit patterns of the allocated width, sign bits and all.
    return image.reshape(shape).astype(dtype)


def _decode_rle(frame: bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    try:
        decoded = imagecodecs.dicomrle_decode(frame, dtype.newbyteorder("<"))
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
    **dict.fromkeys((uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit), imagecodecs.jpeg_decode),
    **dict.fromkeys((uid.JPEGLossless, uid.JPEGLosslessSV1), imagecodecs.jpeg_decode),
    **dict.fromkeys((uid.JPEGLSLossless, uid.JPEGLSNearLossless), imagecodecs.jpegls_decode),
    **dict.fromkeys(_JPEG2000, imagecodecs.jpeg2k_decode),
    **dict.fromkeys(
        ("1.2.840.10008.1.2.4.110", "1.2.840.10008.1.2.4.112"), imagecodecs.jpegxl_decode
    ),
}
_WITHOUT_END_MARKER = frozenset({"1.2.840.10008.1.2.4.110", "1.2.840.10008.1.2.4.112"})
