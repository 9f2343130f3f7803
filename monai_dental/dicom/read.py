"""Reading of DICOM files as datasets, and conversion of datasets to radiographs."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pydicom
from pydicom import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import DeflatedExplicitVRLittleEndian

from monai_dental.dicom.elements import (
    ImagePixel,
    as_grey,
    element,
    read_image_pixel,
    read_spacing,
    rescale_slopes,
)
from monai_dental.dicom.header import mend_header, to_header
from monai_dental.dicom.inflate import HEAD_BYTES, inflate, may_be_deflated
from monai_dental.dicom.lookup import read_modality_table
from monai_dental.dicom.meta import mend_meta
from monai_dental.dicom.overlays import lift_overlays
from monai_dental.dicom.pixels import read_cells, to_values
from monai_dental.dicom.quiet import PYDICOM_ERRORS, parsing, quiet_pydicom
from monai_dental.errors import CorruptImageError, UnsupportedImageError
from monai_dental.radiograph import Encoding, Radiograph, check_size

_OTHER_PIXELS = ("FloatPixelData", "DoubleFloatPixelData")


def read_dataset(path: Path, content: bytes | None = None) -> Dataset:
    """Read a DICOM file, even one without a preamble if it clearly holds an image.

    Args:
        path: The file.
        content: Its bytes, if they have been read already.

    Returns:
        The dataset, with its Pixel Data not decoded.

    Raises:
        UnsupportedImageError: The file is not DICOM, or deflated and too large.
        CorruptImageError: The file cannot be read or parsed.
    """
    with quiet_pydicom():
        try:
            return _read(path, content)
        except InvalidDicomError:
            dataset = _read_without_preamble(path if content is None else io.BytesIO(content))
        except (UnsupportedImageError, CorruptImageError) as error:
            raise type(error)(f"{path}: {error}") from None
        except OSError as error:
            reason = "broken DICOM: it ends before a sequence or its pixels are complete"
            if error.strerror:
                reason = f"cannot be read: {error.strerror}"
            raise CorruptImageError(f"{path}: {reason}") from None
        except PYDICOM_ERRORS as error:
            raise CorruptImageError(f"{path}: broken DICOM: {type(error).__name__}") from None
    if dataset is None:
        raise UnsupportedImageError(f"{path}: not a DICOM file")
    return dataset


def to_radiograph(dataset: Dataset, source: Path | None = None) -> Radiograph:
    """Turn a dataset into a radiograph.

    The Modality LUT Sequence (or without one the sign of the rescale slope) and the photometric
    interpretation determine which values are bright. No window (VOI LUT) is applied. Padding pixels
    are decoded like all others; `derive` puts them back.

    Args:
        dataset: A greyscale instance; not changed.
        source: Its file.

    Returns:
        The radiograph; its header is the dataset without Pixel Data, little endian.

    Raises:
        UnsupportedImageError: The instance holds no image, or one that is not supported.
        CorruptImageError: The instance is truncated or inconsistent, or cannot be decoded.
    """
    with parsing(dataset, "broken DICOM", source):
        return _to_radiograph(dataset, source)


def _read(path: Path, content: bytes | None) -> Dataset:
    head = content
    if head is None:
        with path.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
    if may_be_deflated(head[:HEAD_BYTES]):
        inflated = inflate(path.read_bytes() if content is None else content)
        if inflated is not None:
            dataset = pydicom.dcmread(io.BytesIO(inflated))
            dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
            return dataset
    try:
        dataset = pydicom.dcmread(path if content is None else io.BytesIO(content))
    except InvalidDicomError:
        raise
    except PYDICOM_ERRORS:
        mended = _read_mended(path, content)
        if mended is None:
            raise
        return mended
    if dataset:
        return dataset
    return _read_mended(path, content) or dataset  # the file meta information may have swallowed it


def _read_mended(path: Path, content: bytes | None) -> Dataset | None:
    mended = mend_meta(path.read_bytes() if content is None else content)
    if mended is None:
        return None
    content, file_meta = mended
    dataset = _read(path, content)
    dataset.file_meta = file_meta
    return dataset


def _read_without_preamble(file: Path | io.BytesIO) -> Dataset | None:
    try:
        dataset = pydicom.dcmread(file, force=True)
        is_image = all(keyword in dataset for keyword in ("PixelData", "Rows", "BitsAllocated"))
    except PYDICOM_ERRORS:
        return None
    return dataset if is_image else None


def _to_radiograph(dataset: Dataset, source: Path | None) -> Radiograph:
    _check_has_pixels(dataset)
    image_pixel = read_image_pixel(dataset)
    shape = image_pixel.shape if image_pixel.frames != 1 else image_pixel.shape[1:]
    check_size("Pixel Data", shape)
    cells = read_cells(dataset, image_pixel)
    image_pixel = as_grey(image_pixel)
    stored = to_values(cells.values, image_pixel).reshape(shape)
    header = to_header(dataset, image_pixel, cells.transfer_syntax, uncompressed_size=stored.nbytes)
    mended = mend_header(header)
    lift_overlays(header, image_pixel, cells.values)
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
        notes=(*image_pixel.notes, *cells.notes, *mended),
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
    if not any(tag.group == 0x0008 for tag in dataset.keys()):  # noqa: SIM118 - decodes nothing
        # pydicom tells of no end that comes too early within what has no length, compressed pixels.
        raise CorruptImageError("broken DICOM: it breaks off in its data set, or has none")
    raise UnsupportedImageError("(7FE0,0010) Pixel Data is missing: not an image")


def _encoding(header: Dataset, image_pixel: ImagePixel) -> Encoding:
    is_inverted = image_pixel.photometric_interpretation == "MONOCHROME1"
    encoding = Encoding.full_range(image_pixel.dtype, image_pixel.bits_stored, is_inverted)
    # The sequence takes precedence over a rescale: PS3.3 allows only one of them, and writers that
    # give both set the rescale to the identity.
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
