"""Headers: datasets without Pixel Data, from which derived instances are made."""

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
from monai_dental.dicom.meta import MendedFileMeta
from monai_dental.dicom.pixels import transfer_syntax_uid

_PIXEL_DATA = BaseTag(0x7FE00010)
_WORD_BYTES = {"OW": 2, "OL": 4, "OF": 4, "OD": 8, "OV": 8}


def to_header(
    dataset: Dataset, image_pixel: ImagePixel, transfer_syntax: str, *, uncompressed_size: int
) -> Dataset:
    """Copy a dataset without its Pixel Data, so that it describes the decoded pixels.

    The copy is Explicit VR Little Endian with its text kept as bytes, records lossy compression if
    the transfer syntax is lossy, and takes its Image Pixel Module from `image_pixel`.

    Args:
        dataset: The instance; not changed; within `quiet_pydicom`.
        image_pixel: Image Pixel Module of the decoded pixels.
        transfer_syntax: Transfer Syntax UID of its pixels.
        uncompressed_size: Bytes of the decoded pixels.

    Returns:
        The copy, with the file meta information if there was any.
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
    """Take missing UIDs from the file meta information, and drop a Modality LUT without a table.

    Args:
        header: As returned by `to_header`; changed in place; within `quiet_pydicom`.

    Returns:
        A note on each correction.
    """
    notes = []
    file_meta = getattr(header, "file_meta", None)
    for keyword in ("SOPClassUID", "SOPInstanceUID"):
        found = texts(file_meta, f"MediaStorage{keyword}") if file_meta is not None else []
        if not texts(header, keyword) and found and is_uid(found[0]):
            put(header, keyword, found[0])
            notes.append(f"{element(keyword)} is missing, taken from the file meta information")
    if isinstance(file_meta, MendedFileMeta):
        notes.append(
            "the file meta information has value representations that are none of DICOM's, taken "
            "as those of its elements"
        )
    tables = items(header, "ModalityLUTSequence")
    if tables and is_empty_table(tables[0]):
        del header["ModalityLUTSequence"]
        notes.append(f"{element('ModalityLUTSequence')} has no table, taken as absent")
    return tuple(notes)


def _swap_words(dataset: Dataset) -> None:
    """Swap the bytes of big-endian binary values, which pydicom returns as they are in the file."""
    for tag in list(dataset.keys()):
        data_element = dataset.get_item(tag)
        if data_element.VR == "SQ":
            for item in data_element.value:
                _swap_words(item)
        size = _WORD_BYTES.get(data_element.VR)
        if size and isinstance(data_element.value, bytes) and len(data_element.value) % size == 0:
            data_element.value = np.frombuffer(data_element.value, f">u{size}").byteswap().tobytes()
