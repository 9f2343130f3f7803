"""Decoding of Pixel Data to pixel cells and stored values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.encaps import generate_fragments
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from monai_dental.dicom.codecs import FAMILIES, check_decodable, decode_frames
from monai_dental.dicom.codestream import transfer_syntax_of
from monai_dental.dicom.elements import ImagePixel, element
from monai_dental.dicom.fit import to_grey
from monai_dental.errors import ColourImageError, CorruptImageError

Samples = NDArray[np.integer[Any]]

_ITEM = b"\xfe\xff\x00\xe0"
_DELIMITER = b"\xfe\xff\xdd\xe0\0\0\0\0"


@dataclass(frozen=True, eq=False)
class Cells:
    """The pixel cells of an instance.

    Attributes:
        values: Unsigned integers in native byte order, (frames, rows, columns); may be a read-only
            view of Pixel Data.
        transfer_syntax: Actual Transfer Syntax UID of the pixels, even if the file meta information
            names another.
        notes: Values that were interpreted differently from what the instance says.
    """

    values: NDArray[np.unsignedinteger[Any]]
    transfer_syntax: str
    notes: tuple[str, ...] = ()


def transfer_syntax_uid(dataset: Dataset) -> str:
    """Return the Transfer Syntax UID of a dataset, from its encoding if it has no meta information.

    Args:
        dataset: The instance; within `quiet_pydicom`.
    """
    file_meta = getattr(dataset, "file_meta", None)
    transfer_syntax = file_meta.get("TransferSyntaxUID") if file_meta is not None else None
    if transfer_syntax:
        return str(transfer_syntax)
    # Files without meta information: pydicom detected the byte order from the first elements.
    is_implicit, is_little_endian = dataset.original_encoding
    if is_little_endian is False:
        return str(ExplicitVRBigEndian)
    return str(ImplicitVRLittleEndian if is_implicit else ExplicitVRLittleEndian)


def read_cells(dataset: Dataset, image_pixel: ImagePixel) -> Cells:
    """Decode the Pixel Data of an instance.

    If the pixels are clearly in another transfer syntax than the dataset says, they are decoded
    with that one, and this is noted.

    Args:
        dataset: The instance; within `quiet_pydicom`.
        image_pixel: Its Image Pixel Module.

    Returns:
        The cells.

    Raises:
        UnsupportedImageError: There is no decoder for the transfer syntax, or the image has
            colours.
        CorruptImageError: Pixel Data is truncated, cannot be decoded, or contradicts the header.
    """
    data = dataset.PixelData
    if not isinstance(data, bytes):
        raise CorruptImageError(f"{element('PixelData')} is not a byte string")
    declared = transfer_syntax_uid(dataset)
    known = pydicom.uid.UID(declared)
    is_native = known.is_transfer_syntax and not known.is_encapsulated
    photometric = image_pixel.photometric_interpretation
    if is_native and photometric == "YBR_FULL_422":
        raise ColourImageError(
            f"{element('PhotometricInterpretation')} is '{photometric}'; need greyscale"
        )
    needed = _native_size(image_pixel)
    # Two native pixels can look like an item tag, but not all of them like a row of items.
    if data.startswith(_ITEM) and (
        not is_native or dataset["PixelData"].is_undefined_length or _is_all_items(data)
    ):
        return _in_fragments(data, image_pixel, declared, is_native=is_native)
    if is_native:
        return Cells(_native(dataset, data, image_pixel, declared), declared)
    if len(data) in (needed, needed + needed % 2):
        values = _native(dataset, data, image_pixel, str(ExplicitVRLittleEndian))
        note = f"{element('PixelData')} is not encapsulated, taken as native"
        return Cells(values, str(ExplicitVRLittleEndian), (note,))
    check_decodable(declared)
    raise CorruptImageError(
        f"{element('PixelData')} is not encapsulated, though the transfer syntax is, and has "
        f"{len(data)} bytes; need {needed}"
    )


def _is_all_items(data: bytes) -> bool:
    at = 0
    while data[at : at + 4] == _ITEM and at + 8 <= len(data):
        at += 8 + int.from_bytes(data[at + 4 : at + 8], "little")
    return at == len(data) or data[at:] == _DELIMITER


def _in_fragments(data: bytes, image_pixel: ImagePixel, declared: str, *, is_native: bool) -> Cells:
    if pydicom.uid.UID(declared).is_transfer_syntax and not is_native:
        check_decodable(declared)
    try:
        first = next(islice(generate_fragments(data), 1, 2), b"")  # after the offset table
    except (ValueError, LookupError, EOFError) as error:
        raise CorruptImageError(
            f"{element('PixelData')} has broken fragments: {type(error).__name__}"
        ) from None
    found = transfer_syntax_of(first)
    if found is None and is_native:
        return _native_in_fragments(data, image_pixel, declared)
    notes: tuple[str, ...] = ()
    if found is None or _family(found) == _family(declared):
        found = declared
        check_decodable(found)
    else:
        name = pydicom.uid.UID(found).name
        notes = (f"(0002,0010) Transfer Syntax UID is not that of the pixels, taken as {name}",)
    return Cells(decode_frames(found, data, image_pixel), found, notes)


def _native_in_fragments(data: bytes, image_pixel: ImagePixel, declared: str) -> Cells:
    """Read pixels that are not compressed but still in fragments."""
    try:
        joined = b"".join(islice(generate_fragments(data), 1, None))
    except (ValueError, LookupError, EOFError):
        joined = b""
    needed = _native_size(image_pixel)
    if declared == ExplicitVRBigEndian or len(joined) not in (needed, needed + needed % 2):
        raise CorruptImageError(
            f"{element('PixelData')} is in fragments of an unknown kind, though the transfer "
            "syntax is not compressed"
        )
    values = _from_bytes(joined, image_pixel, "<")
    note = f"{element('PixelData')} is in fragments, taken as native"
    return Cells(values, str(ExplicitVRLittleEndian), (note,))


def _family(transfer_syntax: str) -> tuple[str, ...]:
    return next((each for each in FAMILIES if transfer_syntax in each), (transfer_syntax,))


def _native_size(image_pixel: ImagePixel) -> int:
    return math.prod(image_pixel.shape) * image_pixel.samples * image_pixel.bits_allocated // 8


def _native(
    dataset: Dataset, data: bytes, image_pixel: ImagePixel, transfer_syntax: str
) -> NDArray[np.unsignedinteger[Any]]:
    needed = _native_size(image_pixel)
    if len(data) < needed:
        raise CorruptImageError(f"{element('PixelData')} has {len(data)} bytes; need {needed}")
    is_big_endian = transfer_syntax == ExplicitVRBigEndian
    if image_pixel.bits_allocated == 8 and is_big_endian and dataset["PixelData"].VR == "OW":
        # Two pixels per word, and the words are swapped.
        data = np.frombuffer(data[: len(data) // 2 * 2], ">u2").astype("<u2").tobytes()
    return _from_bytes(data, image_pixel, ">" if is_big_endian else "<")


def _from_bytes(
    data: bytes, image_pixel: ImagePixel, order: str
) -> NDArray[np.unsignedinteger[Any]]:
    frames, rows, columns = image_pixel.shape
    count = math.prod(image_pixel.shape) * image_pixel.samples
    cells = np.frombuffer(data, f"{order}u{image_pixel.bits_allocated // 8}", count)
    cells = cells.astype(cells.dtype.newbyteorder("="), copy=False)
    if image_pixel.samples == 1:
        return cells.reshape(image_pixel.shape)
    photometric = image_pixel.photometric_interpretation
    if image_pixel.is_planar:
        channels = np.moveaxis(cells.reshape(frames, image_pixel.samples, rows, columns), 1, -1)
    else:
        channels = cells.reshape(frames, rows, columns, image_pixel.samples)
    return np.stack([to_grey(frame, photometric, is_lossy=False) for frame in channels])


def to_values(cells: NDArray[np.unsignedinteger[Any]], image_pixel: ImagePixel) -> Samples:
    """Convert pixel cells to stored values: remove unused bits, extend the sign (PS3.5 8.1.1).

    Args:
        cells: Pixel cells, any shape; not changed.
        image_pixel: Their Image Pixel Module.

    Returns:
        Stored values of `image_pixel.dtype`, of the same shape.
    """
    left = image_pixel.bits_allocated - 1 - image_pixel.high_bit
    right = image_pixel.bits_allocated - image_pixel.bits_stored
    values: Samples = cells.view(image_pixel.dtype)
    if not right:
        return values
    values = values << left
    values >>= right
    return values
