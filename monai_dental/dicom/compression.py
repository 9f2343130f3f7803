"""Lossless compression of a derived instance; its UIDs do not change."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, uid
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders import RLELosslessEncoder

from monai_dental.dicom.codecs import decode_frames
from monai_dental.dicom.elements import read_image_pixel
from monai_dental.dicom.quiet import parsing
from monai_dental.errors import CorruptImageError

COMPRESSIONS = ("none", "jpegls", "as-source")
"""Choices of `target_syntax`: none, JPEG-LS lossless, or the source's if it is lossless."""

_Cells = NDArray[np.integer[Any]]


def target_syntax(compression: str, source_syntax: str) -> str:
    """Return the transfer syntax to write.

    Args:
        compression: One of `COMPRESSIONS`.
        source_syntax: Transfer Syntax UID of the source.

    Returns:
        A Transfer Syntax UID for `compress`. With "as-source", this is Explicit VR Little Endian
        unless the source has a lossless compression that can be written.
    """
    if compression == "jpegls":
        return str(uid.JPEGLSLossless)
    if compression == "as-source" and source_syntax in _ENCODERS:
        return source_syntax
    return str(uid.ExplicitVRLittleEndian)


def compress(derived: Dataset, transfer_syntax: str) -> None:
    """Compress the Pixel Data of an instance without loss, and check the result.

    Args:
        derived: An instance in Explicit VR Little Endian, as made by `derive`; changed in place.
        transfer_syntax: Transfer Syntax UID from `target_syntax`. Pixel cells with unused bits
            below the stored value are left uncompressed, since codecs cannot describe them.

    Raises:
        CorruptImageError: The pixels cannot be encoded, or decode to other values.
    """
    encode = _ENCODERS.get(transfer_syntax)
    if encode is None:
        return
    with parsing(derived, "cannot be compressed"):
        _compress(derived, transfer_syntax, encode)


def _compress(derived: Dataset, transfer_syntax: str, encode: Callable[..., bytes]) -> None:
    image_pixel = read_image_pixel(derived)
    if image_pixel.shift:
        return
    # Whole cells, sign-extended into the unused bits: some readers use decoded cells unchanged.
    cells = np.frombuffer(
        derived.PixelData, image_pixel.dtype.newbyteorder("<"), math.prod(image_pixel.shape)
    ).reshape(image_pixel.shape)
    encoded = encapsulate([encode(frame, image_pixel.bits_stored) for frame in cells])
    back = decode_frames(transfer_syntax, encoded, image_pixel)
    if not np.array_equal(back.view(image_pixel.dtype), cells):
        raise CorruptImageError("the compressed pixels decode to other values")
    derived.add_new("PixelData", "OB", encoded)
    derived["PixelData"].is_undefined_length = True
    derived.file_meta.TransferSyntaxUID = uid.UID(transfer_syntax)


def _unsigned(frame: _Cells) -> _Cells:
    """Return the cells as unsigned integers, for codecs without a sign."""
    return frame.view(f"u{frame.itemsize}")


def _encode_jpegls(frame: _Cells, bits: int) -> bytes:
    return bytes(imagecodecs.jpegls_encode(_unsigned(frame)))


def _encode_jpeg_lossless(frame: _Cells, bits: int) -> bytes:
    is_signed = frame.dtype.kind == "i"
    precision = 8 * frame.itemsize if is_signed else bits
    return bytes(imagecodecs.ljpeg_encode(_unsigned(frame), bitspersample=precision))


def _encode_jpeg2000(frame: _Cells, bits: int) -> bytes:
    return bytes(
        imagecodecs.jpeg2k_encode(
            frame, level=0, reversible=True, codecformat="j2k", bitspersample=bits
        )
    )


def _encode_htj2k(frame: _Cells, bits: int) -> bytes:
    return bytes(imagecodecs.htj2k_encode(frame, reversible=True))


def _encode_rle(frame: _Cells, bits: int) -> bytes:
    rows, columns = frame.shape
    encoded: bytes = RLELosslessEncoder.encode(
        frame.tobytes(),
        rows=rows,
        columns=columns,
        samples_per_pixel=1,
        number_of_frames=1,
        bits_allocated=8 * frame.itemsize,
        bits_stored=8 * frame.itemsize,
        pixel_representation=0,
        photometric_interpretation="MONOCHROME2",
    )
    return encoded


_ENCODERS: dict[str, Callable[[_Cells, int], bytes]] = {
    str(uid.JPEGLSLossless): _encode_jpegls,
    str(uid.JPEGLosslessSV1): _encode_jpeg_lossless,
    str(uid.JPEG2000Lossless): _encode_jpeg2000,
    str(uid.HTJ2KLossless): _encode_htj2k,
    str(uid.RLELossless): _encode_rle,
}
