"""PNG, JPEG, TIFF and BMP with OpenCV.

Pixels keep their depth: 8 or 16 bits, 32-bit floats in TIFF. Images are read as a viewer shows
them: an EXIF or TIFF orientation is applied, and files are written upright without one. Resolutions
are not used as pixel spacings, since most files have their program's default of 72 or 96 dpi.
"""

from __future__ import annotations

import contextlib
import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from monai_dental.errors import CorruptImageError, UnsupportedImageError
from monai_dental.files.atomic import write_atomically
from monai_dental.formats.headers import bmp_size, jpeg_size, png_size, tiff_size
from monai_dental.radiograph import Encoding, Radiograph, check_size

_FLAGS = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR
_TIFF_LZW = 5

_WRITTEN: dict[str, tuple[str, list[int]]] = {
    "png": (".png", []),
    "jpeg": (".jpg", [cv2.IMWRITE_JPEG_QUALITY, 100]),
    "tiff": (".tiff", [cv2.IMWRITE_TIFF_COMPRESSION, _TIFF_LZW]),
    "bmp": (".bmp", []),
}
"""Suffix for the encoder and its parameters, by format."""


def read_image(path: Path, image_format: str) -> Radiograph:
    """Read a PNG, JPEG, TIFF or BMP file.

    Colour is converted to grey, with a warning unless the channels are equal; transparency is
    ignored, with a warning.

    Args:
        path: The file.
        image_format: Format of its content: "png", "jpeg", "tiff" or "bmp".

    Returns:
        The radiograph, (rows, columns), without a pixel spacing.

    Raises:
        CorruptImageError: The file is truncated or cannot be decoded.
        UnsupportedImageError: The image is too large, or has several pages or an unsupported type.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CorruptImageError(f"{path}: cannot be read: {error.strerror or error}") from error
    is_inverted = False
    try:
        if image_format == "tiff":
            size, is_inverted = tiff_size(content)
        else:
            size = {"png": png_size, "jpeg": jpeg_size, "bmp": bmp_size}[image_format](content)
    except (CorruptImageError, UnsupportedImageError) as error:
        raise type(error)(f"{path}: {error}") from error
    check_size(str(path), size)
    stored = _fold_to_grey(_decode(content, path), path)
    if _has_alpha(content, image_format):
        warnings.warn(f"{path}: transparency is ignored", stacklevel=2)
    if is_inverted:
        stored = ~stored
    if stored.dtype.kind == "f":
        if not np.isfinite(stored).all():
            raise CorruptImageError(f"{path}: pixels hold NaN or infinity; need finite values")
        encoding = Encoding.own_range(stored)
    else:
        encoding = Encoding.full_range(stored.dtype, 8 * stored.dtype.itemsize)
    return Radiograph(
        pixels=encoding.decode(stored),
        encoding=encoding,
        image_format=image_format,
        source=path,
        stored=stored,
    )


def encode_image(radiograph: Radiograph) -> bytes:
    """Encode a PNG, JPEG, TIFF or BMP file.

    Args:
        radiograph: One frame, with an encoding that the format can hold.

    Returns:
        The bytes of the file, grey, at the encoding's depth. For an unchanged JPEG, these are the
        bytes of the source file, since encoding it again would round.

    Raises:
        ValueError: The format cannot hold the encoding or several frames.
    """
    suffix, parameters = _WRITTEN[radiograph.image_format]
    dtype = radiograph.encoding.dtype
    allowed = {"png": ("|u1", "=u2"), "tiff": ("|u1", "=u2", "=f4")}.get(
        radiograph.image_format, ("|u1",)
    )
    if radiograph.pixels.ndim != 2 or dtype not in [np.dtype(each) for each in allowed]:
        raise ValueError(
            f"{radiograph.image_format} cannot hold {dtype} of shape {radiograph.pixels.shape}"
        )
    stored = radiograph.to_stored()
    if radiograph.image_format == "jpeg" and radiograph.source and radiograph.stored is not None:
        with contextlib.suppress(OSError):
            if np.array_equal(stored, radiograph.stored):
                return radiograph.source.read_bytes()
    _, encoded = cv2.imencode(suffix, stored, parameters)
    return encoded.tobytes()


def write_png(path: Path, image: NDArray[np.float32]) -> None:
    """Write an image in [0, 1], clipped, as a grey PNG of 16 bits.

    Raises:
        OutputError: The file cannot be written.
    """
    stored = np.rint(image.clip(0, 1) * np.float32(65535)).astype(np.uint16)
    write_atomically(path, cv2.imencode(".png", stored)[1].tobytes())


def _decode(content: bytes, path: Path) -> NDArray[Any]:
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), _FLAGS)
    except cv2.error as error:
        raise CorruptImageError(f"{path}: cannot be decoded") from error
    if image is None or not image.size:
        raise CorruptImageError(f"{path}: cannot be decoded")
    if image.dtype not in (np.uint8, np.uint16, np.float32):
        raise UnsupportedImageError(f"{path}: {image.dtype} pixels; need 8 or 16 bits or float32")
    return image


def _fold_to_grey(image: NDArray[Any], path: Path) -> NDArray[Any]:
    if image.ndim == 2:
        return image
    blue, green, red = (image[..., channel] for channel in range(3))
    if np.array_equal(blue, green) and np.array_equal(green, red):
        return np.ascontiguousarray(green)
    warnings.warn(f"{path}: colour is converted to grey", stacklevel=3)
    return cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)


def _has_alpha(content: bytes, image_format: str) -> bool:
    """Return whether a pixel is transparent; OpenCV has an alpha channel only for PNG and BMP."""
    if image_format != "png" or (content[25] not in (4, 6) and b"tRNS" not in content[:4096]):
        return False
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None or image.ndim != 3 or image.shape[2] != 4:
        return False
    opaque = 255 if image.dtype == np.uint8 else 65535
    return not np.all(image[..., 3] == opaque)
