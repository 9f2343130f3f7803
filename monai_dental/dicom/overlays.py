"""Overlays in unused bits of pixel cells, a retired way to store them (PS3.5 8.1.2)."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.tag import BaseTag

from monai_dental.dicom.elements import ImagePixel
from monai_dental.dicom.quiet import PYDICOM_ERRORS

_GROUPS = range(0x6000, 0x6020, 2)
_ROWS, _COLUMNS, _FRAMES, _FRAME_ORIGIN = 0x0010, 0x0011, 0x0015, 0x0051
_BITS_ALLOCATED, _BIT_POSITION, _DATA = 0x0100, 0x0102, 0x3000


def lift_overlays(
    header: Dataset, image_pixel: ImagePixel, cells: NDArray[np.unsignedinteger[Any]]
) -> None:
    """Move overlays out of the unused bits of pixel cells into Overlay Data.

    They would be lost otherwise, since only stored values are written. An overlay group has such a
    plane if it has no Overlay Data, its Overlay Bit Position lies outside the stored bits, and
    Overlay Bits Allocated refers to the pixel cell (PS3.3 C.9.2).

    Args:
        header: The dataset without Pixel Data; changed in place; within `quiet_pydicom`.
        image_pixel: Image Pixel Module of the cells.
        cells: The source's pixel cells, including unused bits, (frames, rows, columns).
    """
    for group in _GROUPS:
        position = _bit_position(header, group, image_pixel)
        if position is None:
            continue
        bits = (cells >> position) & 1
        data = np.packbits(bits.astype(np.uint8), bitorder="little").tobytes()
        _put(header, group, _ROWS, "US", image_pixel.rows)
        _put(header, group, _COLUMNS, "US", image_pixel.columns)
        _put(header, group, _BITS_ALLOCATED, "US", 1)
        _put(header, group, _BIT_POSITION, "US", 0)
        _put(header, group, _DATA, "OW", data + b"\0" * (len(data) % 2))
        if len(cells) > 1:  # PS3.3 C.9.3: one overlay frame for each frame from the first
            _put(header, group, _FRAMES, "IS", len(cells))
            _put(header, group, _FRAME_ORIGIN, "US", 1)


def _bit_position(header: Dataset, group: int, image_pixel: ImagePixel) -> int | None:
    """Return the bit of the cells that holds a group's plane, or None if there is none."""
    if BaseTag(group << 16 | _DATA) in header:
        return None
    position = _integer(header, group, _BIT_POSITION)
    allocated = _integer(header, group, _BITS_ALLOCATED)
    if position is None or not 0 <= position < image_pixel.bits_allocated:
        return None
    # One bit allocated at position 0 describes Overlay Data, which is missing here.
    is_in_cells = allocated in (None, image_pixel.bits_allocated) or position > 0
    is_stored = image_pixel.shift <= position <= image_pixel.high_bit
    return position if is_in_cells and not is_stored else None


def _integer(header: Dataset, group: int, number: int) -> int | None:
    with contextlib.suppress(*PYDICOM_ERRORS):
        found = header.get(BaseTag(group << 16 | number))
        value = None if found is None else found.value
        return value if isinstance(value, int) else None
    return None


def _put(header: Dataset, group: int, number: int, vr: str, value: int | bytes) -> None:
    header.add_new(BaseTag(group << 16 | number), vr, value)
