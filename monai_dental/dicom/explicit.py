"""Conversion of datasets to Explicit or Implicit VR Little Endian, with text kept as bytes.

pydicom would decode text to write it in another transfer syntax, and replace what it cannot decode
with U+FFFD: two Patient IDs can become equal.
"""

from __future__ import annotations

import copy
from collections.abc import Container
from typing import Any

from pydicom import DataElement, Dataset, Sequence
from pydicom.charset import default_encoding
from pydicom.dataelem import RawDataElement
from pydicom.hooks import raw_element_vr
from pydicom.tag import BaseTag
from pydicom.valuerep import STR_VR, VR

from monai_dental.dicom.quiet import PYDICOM_ERRORS

_PIXEL_DATA = BaseTag(0x7FE00010)
_NO_DATA = (0x0000, 0x0002, 0xFFFE)
_UNDEFINED = 0xFFFFFFFF
_WORDS_OR_ELSE = (VR.OB_OW, VR.US_OW, VR.US_SS_OW)


def to_explicit(dataset: Dataset, left_out: Container[BaseTag] = ()) -> Dataset:
    """Copy a dataset and its items, ready to be written in Explicit VR Little Endian.

    Elements that cannot be decoded become UN (unknown): the error appears when such an element is
    used. Words of a big-endian dataset (OW and the like) are not swapped; see `to_header`. Elements
    that are not allowed in a dataset are left out: delimiters (PS3.5 7.5), command elements, file
    meta information, values of undefined length that are not sequences, and items with encapsulated
    pixels, such as icons (PS3.5 A.4).

    Args:
        dataset: The dataset, its text not decoded yet; not changed; within `quiet_pydicom`.
        left_out: Tags to leave out of the copy.

    Returns:
        The copy, without file meta information.
    """
    # In file order: a private creator must be copied before its elements make pydicom decode it.
    # Not by assignment, which decodes private elements.
    tags = [tag for tag in list(dataset.keys()) if tag not in left_out and _is_data(dataset, tag)]
    encoding = dataset.original_character_set or default_encoding
    found = ((tag, _to_explicit(dataset, tag)) for tag in tags)
    copied = Dataset(
        {tag: each for tag, each in found if each is not None}, parent_encoding=encoding
    )
    copied.is_undefined_length_sequence_item = dataset.is_undefined_length_sequence_item
    if None not in dataset.original_encoding:
        copied.set_original_encoding(False, True, encoding)
    return copied


def to_implicit(dataset: Dataset) -> Dataset:
    """Copy a dataset as `to_explicit` does, ready to be written in Implicit VR Little Endian."""
    copied = to_explicit(dataset)
    _mark_implicit(copied)
    return copied


def _mark_implicit(dataset: Dataset) -> None:
    """Let pydicom write values unchanged: both encodings share them, except for items."""
    dataset.set_original_encoding(True, True)
    for element in dataset.values():
        if isinstance(element, DataElement) and element.VR == VR.SQ:
            for item in element.value:
                _mark_implicit(item)


def _is_data(dataset: Dataset, tag: BaseTag) -> bool:
    return tag.group not in _NO_DATA and not _is_fragmented(dataset.get_item(tag))


def _is_fragmented(element: DataElement | RawDataElement) -> bool:
    """Return whether a value is in fragments like encapsulated Pixel Data, and not a sequence."""
    if isinstance(element, RawDataElement):
        return element.length == _UNDEFINED and element.VR != VR.SQ
    return bool(element.is_undefined_length) and element.VR != VR.SQ


def _has_fragmented_pixels(item: Dataset) -> bool:
    return _PIXEL_DATA in item and _is_fragmented(item.get_item(_PIXEL_DATA))


def _to_explicit(dataset: Dataset, tag: BaseTag) -> DataElement | RawDataElement | None:
    """Return a copy of an element, or None for a sequence with no items left."""
    element: DataElement | RawDataElement = dataset.get_item(tag)
    if not isinstance(element, RawDataElement):
        return _copy(element)
    try:
        found: dict[str, Any] = {}
        raw_element_vr(element, found, ds=dataset)
        vr = found["VR"]
        if vr in STR_VR:
            return _as_bytes(element, vr)
        is_explicit = not element.is_implicit_VR and element.is_little_endian
        if is_explicit and vr == element.VR and vr != VR.SQ:
            return element
        return _copy(dataset[tag])
    except PYDICOM_ERRORS:
        if not tag.is_private:
            dataset[tag] = element  # undo what pydicom has half converted
        return _as_bytes(element, VR.UN)


def _copy(element: DataElement) -> DataElement | None:
    if element.VR != VR.SQ:
        copied = copy.deepcopy(element)
        if copied.VR in _WORDS_OR_ELSE:  # pydicom cannot resolve all of these, nor write them
            copied.VR = VR.OW if isinstance(copied.value, bytes) else VR.US
        return copied
    items = Sequence(
        to_explicit(item) for item in element.value if not _has_fragmented_pixels(item)
    )
    if element.value and not items:
        return None
    return DataElement(element.tag, VR.SQ, items, is_undefined_length=element.is_undefined_length)


def _as_bytes(element: RawDataElement, vr: str) -> RawDataElement:
    value = element.value or b""
    if len(value) % 2:
        value += b"\0" if vr in (VR.UI, VR.UN) else b" "
    return element._replace(
        VR=vr, length=len(value), value=value, is_implicit_VR=False, is_little_endian=True
    )
