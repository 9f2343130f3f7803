"""A dataset without its pixels: what a derived image is made from."""

from __future__ import annotations

import copy

import numpy as np
from pydicom import Dataset
from pydicom.tag import BaseTag
from pydicom.uid import ExplicitVRBigEndian

from monai_dental.dicom.elements import (
    ImagePixel,
    element,
    items,
    put,
    texts,
    write_image_pixel,
)
from monai_dental.dicom.explicit import to_explicit
from monai_dental.dicom.identity import is_uid
from monai_dental.dicom.lookup import is_empty_table
from monai_dental.dicom.lossy import record_lossy
from monai_dental.dicom.pixels import transfer_syntax_uid

_PIXEL_DATA = BaseTag(0x7FE00010)
_WORD_BYTES = {"OW": 2, "OL": 4, "OF": 4, "OD": 8, "OV": 8}


def to_header(
    dataset: Dataset, image_pixel: ImagePixel, transfer_syntax: str, *, uncompressed_size: int
) -> Dataset:
    """Copy a dataset without its Pixel Data, as it is to be told of the decoded pixels.

    It becomes explicit and little endian, its text as the bytes that it has, and tells of lossy
    compression where the transfer syntax does. Image Pixel is what `image_pixel` says.

    Args:
        dataset: The instance; not changed; within `quiet_pydicom`.
        image_pixel: What holds of its stored values.
        transfer_syntax: That of its pixels.
        uncompressed_size: Bytes of the decoded pixels.

    Returns:
        The copy, with the file meta information where there was one.
    """
    pixel_data = dataset.PixelData
    header = to_explicit(dataset, left_out=(_PIXEL_DATA,))
    file_meta = getattr(dataset, "file_meta", None)
    if file_meta is not None:
        header.file_meta = copy.deepcopy(file_meta)
    if transfer_syntax_uid(dataset) == ExplicitVRBigEndian:
        _swap_words(header)
    write_image_pixel(header, image_pixel)
    record_lossy(header, transfer_syntax, pixel_data, uncompressed_size)
    return header


def mend_header(header: Dataset) -> tuple[str, ...]:
    """Take what is missing of a header from its file meta information, and out what says nothing.

    Args:
        header: As `to_header` made it; changed; within `quiet_pydicom`.

    Returns:
        What was mended.
    """
    notes = []
    file_meta = getattr(header, "file_meta", None)
    for keyword in ("SOPClassUID", "SOPInstanceUID"):
        found = texts(file_meta, f"MediaStorage{keyword}") if file_meta is not None else []
        if not texts(header, keyword) and found and is_uid(found[0]):
            put(header, keyword, found[0])
            notes.append(f"{element(keyword)} is missing, taken from the file meta information")
    tables = items(header, "ModalityLUTSequence")
    if tables and is_empty_table(tables[0]):
        del header["ModalityLUTSequence"]
        notes.append(f"{element('ModalityLUTSequence')} has no table, taken as absent")
    return tuple(notes)


def _swap_words(dataset: Dataset) -> None:
    """Turn big-endian binary values around; pydicom hands them on as they stand in the file."""
    for tag in list(dataset.keys()):
        data_element = dataset.get_item(tag)
        if data_element.VR == "SQ":
            for item in data_element.value:
                _swap_words(item)
        size = _WORD_BYTES.get(data_element.VR)
        if size and isinstance(data_element.value, bytes) and len(data_element.value) % size == 0:
            data_element.value = np.frombuffer(data_element.value, f">u{size}").byteswap().tobytes()
