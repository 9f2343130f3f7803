"""Decoding of encapsulated frames with imagecodecs.

pydicom's own decoders are not used: none of the plugins that could be shipped decodes JPEG Extended
well, and pydicom keeps them in process-wide tables. Only imagecodecs' BSD-licensed codecs are
called, and each one only for an image of the size given in the dataset.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.encaps import generate_frames

from monai_dental.dicom.codestream import (
    CodestreamHeader,
    read_jpeg2000_header,
    read_jpeg_header,
)
from monai_dental.dicom.elements import ImagePixel
from monai_dental.dicom.fit import fit_cells, to_grey
from monai_dental.dicom.identity import is_uid
from monai_dental.dicom.lossy import is_lossy_syntax
from monai_dental.errors import CorruptImageError, UnsupportedImageError

Samples = NDArray[np.integer[Any]]
Decode = Callable[[bytes, ImagePixel], tuple[Samples, CodestreamHeader]]
"""Decodes a frame to (rows, columns) or (rows, columns, 3) and returns its header as well. Raises
an error before it allocates an image of another size."""

_CODEC_ERRORS = (RuntimeError, ValueError, TypeError, OverflowError, MemoryError, IndexError)


def decode_frames(
    transfer_syntax: str, encoded: bytes, image_pixel: ImagePixel
) -> NDArray[np.unsignedinteger[Any]]:
    """Decode the frames of encapsulated Pixel Data.

    Args:
        transfer_syntax: Transfer Syntax UID.
        encoded: The value of Pixel Data: the offset table and the fragments.
        image_pixel: Image Pixel Module of the dataset.

    Returns:
        The pixel cells as unsigned integers of `bits_allocated` bits, (frames, rows, columns).

    Raises:
        UnsupportedImageError: There is no decoder for the transfer syntax.
        ColourImageError: A frame of three samples is not grey.
        CorruptImageError: A frame is missing, truncated, undecodable or of another size, or its
            codestream contradicts the dataset.
    """
    check_decodable(transfer_syntax)
    cells = np.empty(image_pixel.shape, np.uint8 if image_pixel.bits_allocated == 8 else np.uint16)
    count = 0
    try:
        for frame in generate_frames(encoded, number_of_frames=image_pixel.frames):
            if count == image_pixel.frames:
                break
            cells[count] = _decode_frame(frame, transfer_syntax, image_pixel).astype(cells.dtype)
            count += 1
    except UnsupportedImageError:
        raise
    except CorruptImageError as error:
        raise CorruptImageError(f"frame {count + 1} {error}") from error
    except (ValueError, LookupError, TypeError, EOFError, struct.error) as error:
        raise CorruptImageError(
            f"(7FE0,0010) Pixel Data has broken fragments: {type(error).__name__}"
        ) from error
    if count < image_pixel.frames:
        raise CorruptImageError(
            f"(7FE0,0010) Pixel Data has {count} frames; need {image_pixel.frames}"
        )
    return cells


def check_decodable(transfer_syntax: str) -> None:
    """Check that there is a decoder for a transfer syntax.

    Raises:
        UnsupportedImageError: There is no decoder.
    """
    if transfer_syntax not in _DECODERS:
        raise UnsupportedImageError(
            f"(0002,0010) Transfer Syntax UID is {_syntax_name(transfer_syntax)}; "
            "need native, RLE, JPEG, JPEG-LS, JPEG 2000 or JPEG XL pixel data"
        )


def _decode_frame(frame: bytes, transfer_syntax: str, image_pixel: ImagePixel) -> Samples:
    # Decoders fill the missing part of a truncated codestream with grey, without an error.
    if transfer_syntax not in _WITHOUT_END_MARKER and b"\xff\xd9" not in frame[-64:]:
        raise CorruptImageError("is cut off: its end marker is missing")
    try:
        samples, header = _DECODERS[transfer_syntax](frame, image_pixel)
    except _CODEC_ERRORS as error:
        raise CorruptImageError(f"cannot be decoded: {type(error).__name__}") from error
    shape = _shape(image_pixel)
    if samples.size != np.prod(shape):
        raise CorruptImageError(f"decodes to shape {samples.shape}; need {shape}")
    samples = samples.reshape(shape)
    is_lossy = is_lossy_syntax(transfer_syntax)
    if image_pixel.samples == 3:
        samples = to_grey(samples, image_pixel.photometric_interpretation, is_lossy=is_lossy)
    # Signed samples become bit patterns of the allocated width, including the sign bits.
    return fit_cells(samples, header, image_pixel, is_lossy=is_lossy)


def _shape(image_pixel: ImagePixel) -> tuple[int, ...]:
    size = image_pixel.rows, image_pixel.columns
    return size if image_pixel.samples == 1 else (*size, image_pixel.samples)


def _decode_jpeg(
    codec: Callable[..., Samples], frame: bytes, image_pixel: ImagePixel
) -> tuple[Samples, CodestreamHeader]:
    header = read_jpeg_header(frame)
    header.check(image_pixel.shape[1:], image_pixel.samples, image_pixel.bits_allocated)
    # The array limits the size if the decoder finds another frame header than we do.
    out = np.empty(_shape(image_pixel), np.uint8 if header.bits <= 8 else np.uint16)
    if image_pixel.samples == 3 and codec is imagecodecs.jpeg_decode:
        # Same colour space in and out: otherwise libjpeg guesses the space and converts.
        return codec(frame, colorspace="RGB", outcolorspace="RGB", out=out), header
    return codec(frame, out=out), header


def _decode_jpeg2000(frame: bytes, image_pixel: ImagePixel) -> tuple[Samples, CodestreamHeader]:
    # OpenJPEG allocates memory before it looks at the output array, so check the size first.
    header = read_jpeg2000_header(frame)
    header.check(image_pixel.shape[1:], image_pixel.samples, image_pixel.bits_allocated)
    return imagecodecs.jpeg2k_decode(frame), header


def _decode_jpegxl(frame: bytes, image_pixel: ImagePixel) -> tuple[Samples, CodestreamHeader]:
    # This decoder first compares the array with the header; it raises ValueError if they differ.
    rows, columns = image_pixel.shape[1:]
    for dtype in (np.uint16, np.uint8)[image_pixel.bits_allocated == 8 :]:
        try:
            samples = imagecodecs.jpegxl_decode(frame, out=np.empty(_shape(image_pixel), dtype))
        except ValueError:
            continue
        bits = 8 * samples.itemsize
        return samples, CodestreamHeader(rows, columns, image_pixel.samples, bits)
    raise CorruptImageError(
        "has no JPEG XL codestream of one greyscale picture of the (0028,0010) Rows x "
        f"(0028,0011) Columns of the header, {rows} x {columns}"
    )


def _decode_rle(frame: bytes, image_pixel: ImagePixel) -> tuple[Samples, CodestreamHeader]:
    rows, columns = image_pixel.shape[1:]
    bits, size = image_pixel.bits_allocated, image_pixel.bits_allocated // 8
    segments = _segments(frame)
    needed = size * image_pixel.samples
    if len(segments) != needed:
        raise CorruptImageError(f"has {len(segments)} RLE segments; the header asks for {needed}")
    channels = [
        _decode_segments(segments[at : at + size], rows, columns, size)
        for at in range(0, needed, size)
    ]
    samples = channels[0] if len(channels) == 1 else np.stack(channels, axis=-1)
    return samples, CodestreamHeader(rows, columns, image_pixel.samples, bits)


def _segments(frame: bytes) -> list[bytes]:
    """Return the segments of an RLE frame (PS3.5 G.3.1)."""
    count, *offsets = struct.unpack_from("<16I", frame)
    if not 1 <= count <= 15 or sorted(offsets[:count]) != offsets[:count] or offsets[0] != 64:
        raise CorruptImageError("has a broken RLE header")
    ends = [*offsets[1:count], len(frame)]
    return [frame[start:end] for start, end in zip(offsets, ends, strict=False)]


def _decode_segments(segments: list[bytes], rows: int, columns: int, size: int) -> Samples:
    """Decode one channel from its byte segments, the most significant first."""
    dtype = np.dtype(f"<u{size}")
    most = (rows + 1) * columns * size  # one more row, for padding
    try:
        decoded = imagecodecs.dicomrle_decode(_joined(segments), dtype, out=most)
    except _CODEC_ERRORS:
        # Some encoders pad with bytes that are not a run, such as blanks.
        segments = [_without_padding(each, rows * columns) for each in segments]
        decoded = imagecodecs.dicomrle_decode(_joined(segments), dtype, out=most)
    samples = np.frombuffer(decoded, dtype)
    if samples.size < rows * columns:
        raise CorruptImageError(f"decodes to {samples.size} pixels; need {rows * columns}")
    return samples[: rows * columns].reshape(rows, columns)


def _joined(segments: list[bytes]) -> bytes:
    offsets = np.cumsum([64, *map(len, segments)])[:-1].tolist()
    unused = [0] * (15 - len(segments))
    return struct.pack("<16I", len(segments), *offsets, *unused) + b"".join(segments)


def _without_padding(segment: bytes, needed: int) -> bytes:
    """Drop a single pad byte after the run that completes the pixels of a segment."""
    at = made = 0
    while made < needed and at < len(segment):
        control = segment[at]
        made += control + 1 if control < 128 else 257 - control if control > 128 else 0
        at += control + 2 if control < 128 else 2 if control > 128 else 1
    return segment[:at] if made == needed and len(segment) - at == 1 else segment


def _syntax_name(transfer_syntax: str) -> str:
    known = uid.UID(transfer_syntax)
    if known.is_transfer_syntax and not known.is_private:
        return f"'{known.name}'"
    return transfer_syntax if is_uid(transfer_syntax) else "no UID"


_JPEG_LOSSY = (
    uid.JPEGBaseline8Bit,
    uid.JPEGExtended12Bit,
    "1.2.840.10008.1.2.4.53",  # spectral selection and full progression, both retired
    "1.2.840.10008.1.2.4.55",
)
_JPEG_LOSSLESS = (uid.JPEGLossless, uid.JPEGLosslessSV1)
_JPEG_LS = (uid.JPEGLSLossless, uid.JPEGLSNearLossless)
_JPEG_XL = ("1.2.840.10008.1.2.4.110", "1.2.840.10008.1.2.4.112")
# OpenJPEG decodes High-Throughput JPEG 2000 too. OpenJPH is twice as fast, but reported only 3 of
# 100 damaged codestreams; OpenJPEG reported 61. The others were decoded to noise without an error.
_JPEG2000 = (
    uid.JPEG2000Lossless,
    uid.JPEG2000,
    uid.JPEG2000MCLossless,
    uid.JPEG2000MC,
    uid.HTJ2KLossless,
    uid.HTJ2KLosslessRPCL,
    uid.HTJ2K,
)
FAMILIES = (_JPEG_LOSSY, _JPEG_LOSSLESS, _JPEG_LS, _JPEG2000, _JPEG_XL)
"""Groups of transfer syntaxes that share a decoder, lossy or lossless."""

_DECODERS: dict[str, Decode] = {
    uid.RLELossless: _decode_rle,
    **dict.fromkeys(_JPEG_LOSSY + _JPEG_LOSSLESS, partial(_decode_jpeg, imagecodecs.jpeg_decode)),
    **dict.fromkeys(_JPEG_LS, partial(_decode_jpeg, imagecodecs.jpegls_decode)),
    **dict.fromkeys(_JPEG2000, _decode_jpeg2000),
    **dict.fromkeys(_JPEG_XL, _decode_jpegxl),
}
COMPRESSED = tuple(map(str, _DECODERS))
"""Encapsulated transfer syntaxes that can be decoded."""

_WITHOUT_END_MARKER = frozenset((*_JPEG_XL, uid.RLELossless))
