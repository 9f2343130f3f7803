"""The Modality LUT Sequence as a table over all stored values (PS3.3 C.11.1)."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from monai_dental.dicom.elements import ImagePixel, element, items, texts
from monai_dental.dicom.quiet import VALUE_ERRORS
from monai_dental.errors import CorruptImageError, UnsupportedImageError
from monai_dental.radiograph import integer_range

_INTEGER = re.compile(r"-?\d+\Z")


def read_modality_table(dataset: Dataset, image_pixel: ImagePixel) -> NDArray[np.int64] | None:
    """Return the output of the Modality LUT for every stored value.

    Args:
        dataset: The instance, little endian; within `quiet_pydicom`.
        image_pixel: Its Image Pixel Module.

    Returns:
        Outputs from the smallest stored value to the largest, (2**bits_stored,), monotone; None if
        the instance has no Modality LUT Sequence, or one without a table.

    Raises:
        CorruptImageError: The table is shorter than its descriptor says.
        UnsupportedImageError: The table is constant, or rises and falls, and cannot be inverted.
    """
    tables = items(dataset, "ModalityLUTSequence")
    if not tables or is_empty_table(tables[0]):
        return None
    descriptor = [
        int(value) for value in texts(tables[0], "LUTDescriptor") if _INTEGER.match(value)
    ]
    if len(descriptor) != 3:
        raise CorruptImageError(f"{element('LUTDescriptor')} has {len(descriptor)} values; need 3")
    entries = descriptor[0] & 0xFFFF or 1 << 16
    first = descriptor[1] & 0xFFFF
    if image_pixel.is_signed and first >= 1 << 15:
        first -= 1 << 16
    outputs = _outputs(tables[0].LUTData, entries)
    if len(outputs) < entries:
        raise CorruptImageError(f"{element('LUTData')} has {len(outputs)} entries; need {entries}")
    low, high = integer_range(image_pixel.dtype, image_pixel.bits_stored)
    table = outputs[np.clip(np.arange(low, high + 1) - first, 0, entries - 1)]
    steps = np.diff(table)
    if not steps.any() or ((steps > 0).any() and (steps < 0).any()):
        raise UnsupportedImageError(
            f"{element('ModalityLUTSequence')} is not monotone; "
            "need one that rises or falls throughout"
        )
    return table


def is_empty_table(item: Dataset) -> bool:
    """Return whether an item of a LUT Sequence has no table, and so counts as absent."""
    return not texts(item, "LUTData") or not texts(item, "LUTDescriptor")


def _outputs(data: Any, entries: int) -> NDArray[np.int64]:
    if not isinstance(data, bytes):
        try:
            return np.atleast_1d(np.asarray(data, np.int64))
        except VALUE_ERRORS:
            raise CorruptImageError(f"{element('LUTData')} does not hold integers") from None
    # Entries of 8 bits may be packed two to a word.
    is_packed = len(data) < 2 * entries
    return np.frombuffer(data, np.uint8 if is_packed else "<u2").astype(np.int64)[:entries]
