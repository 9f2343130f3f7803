"""From a DICOM file to a dataset, and from a dataset to a radiograph."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from monai_dental.dicom.codecs import decode_frames
from monai_dental.dicom.elements import (
    ImagePixel,
    element,
    read_image_pixel,
    read_spacing,
    rescale_slopes,
)
from monai_dental.dicom.header import lift_overlays, to_header
from monai_dental.dicom.lookup import read_modality_table
from monai_dental.dicom.quiet import PYDICOM_ERRORS, parsing, quiet_pydicom
from monai_dental.errors import CorruptImageError, UnsupportedImageError
from monai_dental.radiograph import Encoding, Radiograph, StoredArray, check_size

_OTHER_PIXELS = ("FloatPixelData", "DoubleFloatPixelData")


def read_dataset(path: Path, content: bytes | None = None) -> Dataset:
    """Read a DICOM file; one without preamble too, where it plainly holds an image.

    Args:
        path: The file.
        content: Its bytes, where they are read already.

    Returns:
        The dataset, with its Pixel Data not decoded.

    Raises:
        UnsupportedImageError: The file is not DICOM.
        CorruptImageError: The file cannot be read or parsed.
    """
    with quiet_pydicom():
        try:
            return pydicom.dcmread(path if content is None else io.BytesIO(content))
        except InvalidDicomError:
            dataset = _read_without_preamble(path if content is None else io.BytesIO(content))
        except OSError as error:
            reason = error.strerror or "broken DICOM: OSError"
            raise CorruptImageError(f"{path}: cannot be read: {reason}") from None
        except PYDICOM_ERRORS as error:
            raise CorruptImageError(f"{path}: broken DICOM: {type(error).__name__}") from None
    if dataset is None:
        raise UnsupportedImageError(f"{path}: not a DICOM file")
    return dataset


def to_radiograph(dataset: Dataset, source: Path | None = None) -> Radiograph:
    """Turn a dataset into a radiograph.

    The Modality LUT Sequence, or the sign of the rescale slope where there is none, and the
    photometric interpretation tell which values are bright. No window (VOI LUT) is applied. Padding
    pixels are decoded like all others; `derive` puts them back.

    Args:
        dataset: A grayscale instance; not changed.
        source: Its file.

    Returns:
        The radiograph; its header is the dataset without Pixel Data, little endian.

    Raises:
        UnsupportedImageError: The instance holds no image, or not one that is read.
        CorruptImageError: The instance is truncated or inconsistent, or cannot be decoded.
    """
    with parsing(dataset, "broken DICOM", source):
        return _to_radiograph(dataset, source)


def _read_without_preamble(file: Path | io.BytesIO) -> Dataset | None:
    try:
        dataset = pydicom.dcmread(file, force=True)
        is_image = "SOPClassUID" in dataset and "PixelData" in dataset and "Rows" in dataset
    except PYDICOM_ERRORS:
        return None
    return dataset if is_image else None


def _to_radiograph(dataset: Dataset, source: Path | None) -> Radiograph:
    _check_has_pixels(dataset)
    image_pixel = read_image_pixel(dataset)
    shape = image_pixel.shape if image_pixel.frames != 1 else image_pixel.shape[1:]
    check_size("Pixel Data", shape)
    transfer_syntax = _transfer_syntax(dataset)
    cells = _cells(dataset, image_pixel, transfer_syntax)
    stored = _to_values(cells, image_pixel).reshape(shape)
    header = to_header(dataset, image_pixel, transfer_syntax, uncompressed_size=stored.nbytes)
    lift_overlays(header, cells)
    encoding = _encoding(header, image_pixel)
    spacing, keyword = read_spacing(header)
    uid = str(header.get("SOPInstanceUID", "")) or None
    return Radiograph(
        pixels=encoding.decode(stored),
        encoding=encoding,
        image_format="dicom",
        source=source,
        photometric_interpretation=image_pixel.photometric_interpretation,
        pixel_spacing=spacing,
        spacing_keyword=keyword,
        sop_instance_uid=uid,
        stored=stored,
        header=header,
    )


def _check_has_pixels(dataset: Dataset) -> None:
    if "PixelData" in dataset:
        return
    for keyword in _OTHER_PIXELS:
        if keyword in dataset:
            raise UnsupportedImageError(
                f"{element(keyword)} holds floats; need (7FE0,0010) Pixel Data"
            )
    if "Rows" in dataset and "BitsAllocated" in dataset:
        raise CorruptImageError("(7FE0,0010) Pixel Data is missing, though the image is described")
    raise UnsupportedImageError("(7FE0,0010) Pixel Data is missing: not an image")


def _transfer_syntax(dataset: Dataset) -> str:
    file_meta = getattr(dataset, "file_meta", None)
    transfer_syntax = file_meta.get("TransferSyntaxUID") if file_meta is not None else None
    if transfer_syntax:
        return str(transfer_syntax)
    # Files without a meta header: pydicom found out the byte order from the first elements.
    is_implicit, is_little_endian = dataset.original_encoding
    if is_little_endian is False:
        return str(ExplicitVRBigEndian)
    return str(ImplicitVRLittleEndian if is_implicit else pydicom.uid.ExplicitVRLittleEndian)


def _cells(
    dataset: Dataset, image_pixel: ImagePixel, transfer_syntax: str
) -> NDArray[np.unsignedinteger[Any]]:
    """The pixel cells as unsigned integers, (frames, rows, columns)."""
    data = dataset.PixelData
    if not isinstance(data, bytes):
        raise CorruptImageError("(7FE0,0010) Pixel Data is not a byte string")
    uid = pydicom.uid.UID(transfer_syntax)
    is_native = uid.is_transfer_syntax and not uid.is_encapsulated
    if not is_native:
        return decode_frames(transfer_syntax, data, image_pixel.shape, image_pixel.bits_allocated)
    expected = math.prod(image_pixel.shape) * image_pixel.bits_allocated // 8
    if len(data) < expected:
        raise CorruptImageError(f"(7FE0,0010) Pixel Data has {len(data)} bytes; need {expected}")
    is_big_endian = transfer_syntax == ExplicitVRBigEndian
    if image_pixel.bits_allocated == 8 and is_big_endian and dataset["PixelData"].VR == "OW":
        # Two pixels to a word, and the words are swapped.
        data = np.frombuffer(data[: len(data) // 2 * 2], ">u2").astype("<u2").tobytes()
    order = ">" if is_big_endian else "<"
    cells = np.frombuffer(
        data, f"{order}u{image_pixel.bits_allocated // 8}", math.prod(image_pixel.shape)
    )
    return cells.reshape(image_pixel.shape).astype(cells.dtype.newbyteorder("="), copy=False)


def _to_values(cells: NDArray[np.unsignedinteger[Any]], image_pixel: ImagePixel) -> StoredArray:
    """Stored values from pixel cells: unused bits removed, the sign extended (PS3.5 8.1.1)."""
    left = image_pixel.bits_allocated - 1 - image_pixel.high_bit
    right = image_pixel.bits_allocated - image_pixel.bits_stored
    values: StoredArray = cells.view(image_pixel.dtype)
    return (values << left) >> right if right else values


def _encoding(header: Dataset, image_pixel: ImagePixel) -> Encoding:
    is_inverted = image_pixel.photometric_interpretation == "MONOCHROME1"
    encoding = Encoding.full_range(image_pixel.dtype, image_pixel.bits_stored, is_inverted)
    # The sequence wins where a rescale stands beside it: PS3.3 allows one of them only, and writers
    # that give both fill the rescale with the identity.
    table = read_modality_table(header, image_pixel)
    if table is not None:
        low, high = int(table.min()), int(table.max())
        zero, one = (high, low) if is_inverted else (low, high)
        return replace(encoding, zero=zero, one=one, table=tuple(table.tolist()))
    slopes = rescale_slopes(header)
    if len({slope > 0 for slope in slopes}) > 1:
        raise UnsupportedImageError(f"{element('RescaleSlope')} changes its sign between frames")
    if slopes and slopes[0] < 0:
        return replace(encoding, zero=encoding.one, one=encoding.zero)
    return encoding
