"""A dataset without its pixels: what a derived image is made from."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.tag import BaseTag
from pydicom.uid import ExplicitVRBigEndian

from monai_dental.dicom.elements import ImagePixel, write_image_pixel
from monai_dental.dicom.explicit import to_explicit
from monai_dental.dicom.lossy import record_lossy

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
        transfer_syntax: Its Transfer Syntax UID.
        uncompressed_size: Bytes of the decoded pixels.

    Returns:
        The copy, with the file meta information where there was one.
    """
    pixel_data = dataset.PixelData
    header = to_explicit(dataset, left_out=(_PIXEL_DATA,))
    file_meta = getattr(dataset, "file_meta", None)
    if file_meta is not None:
        header.file_meta = copy.deepcopy(file_meta)
    if transfer_syntax == ExplicitVRBigEndian:
        _swap_words(header)
    write_image_pixel(header, image_pixel)
    record_lossy(header, transfer_syntax, pixel_data, uncompressed_size)
    return header


def lift_overlays(header: Dataset, cells: NDArray[np.unsignedinteger[Any]]) -> None:
    """Move overlays out of the unused bits of pixel cells into Overlay Data.

    The retired way to store them (PS3.5 8.1.2) would lose them, since only stored values are
    written.

    Args:
        header: The dataset without Pixel Data; changed; within `quiet_pydicom`.
        cells: The source's pixel cells, unused bits and all, (frames, rows, columns).
    """
    for group in range(0x6000, 0x6020, 2):
        position = header.get(BaseTag(group << 16 | 0x0102))
        if position is None or not position.value or BaseTag(group << 16 | 0x3000) in header:
            continue
        bits = (cells >> int(position.value)) & 1
        data = np.packbits(bits.astype(np.uint8), bitorder="little").tobytes()
        header.add_new(BaseTag(group << 16 | 0x0100), "US", 1)
        header.add_new(BaseTag(group << 16 | 0x0102), "US", 0)
        header.add_new(BaseTag(group << 16 | 0x3000), "OW", data + b"\0" * (len(data) % 2))
        if len(cells) > 1:  # PS3.3 C.9.3: frame by frame, from the first on
            header.add_new(BaseTag(group << 16 | 0x0015), "IS", len(cells))
            header.add_new(BaseTag(group << 16 | 0x0051), "US", 1)


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
