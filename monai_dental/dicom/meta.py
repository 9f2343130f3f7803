"""Read file meta information that pydicom cannot, by the definitions of PS3.10 7.1."""

from __future__ import annotations

import struct

from pydicom import Dataset
from pydicom.datadict import dictionary_VR
from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32, VR

from monai_dental.dicom.identity import is_uid
from monai_dental.errors import CorruptImageError

_PREAMBLE = 132
_KNOWN = {each.value.encode() for each in VR if len(each.value) == 2}
_LONG = {each.value.encode() for each in EXPLICIT_VR_LENGTH_32}


class MendedFileMeta(FileMetaDataset):
    """File meta information that had to be corrected."""


def mend_meta(content: bytes) -> tuple[bytes, MendedFileMeta] | None:
    """Correct the file meta information of a file.

    An element with an unknown value representation gets that of its tag. Elements that are not in
    group 2 of the dictionary, and repeated ones, are dropped.

    Args:
        content: The file, with a preamble; within `quiet_pydicom`.

    Returns:
        The file with corrected file meta information, and that information; None if nothing has to
        be corrected.

    Raises:
        CorruptImageError: No data set follows the file meta information.
    """
    found, at, is_broken = MendedFileMeta(), _PREAMBLE, False
    while content[at : at + 2] == b"\2\0":
        element, is_known, start, end = _span(content, at)
        is_broken |= not is_known
        if end > len(content):
            raise CorruptImageError("broken DICOM: it ends within its file meta information")
        _put(found, element, content[start:end])
        at = end
    if not is_broken:
        return None
    group = int.from_bytes(content[at : at + 2], "little")
    if group <= 2 or not is_uid(str(found.get("TransferSyntaxUID", ""))):
        raise CorruptImageError("broken DICOM: its file meta information leads to no data set")
    stream = DicomBytesIO()
    write_file_meta_info(stream, found, enforce_standard=False)
    return content[:_PREAMBLE] + stream.getvalue() + content[at:], found


def _span(content: bytes, at: int) -> tuple[int, bool, int, int]:
    """Return element number, whether the VR is known, and start and end of the value."""
    head = content[at : at + 12].ljust(12, b"\0")
    element, vr, short, long = struct.unpack("<2xH2sHI", head)
    is_known = vr in _KNOWN
    is_long = vr in _LONG if is_known else _vr_of(element) in ("OB", "UN") and short == 0
    start = at + (12 if is_long else 8)
    return element, is_known, start, start + (long if is_long else short)


def _vr_of(element: int) -> str | None:
    try:
        return dictionary_VR(0x00020000 | element)
    except KeyError:
        return None


def _put(meta: Dataset, element: int, value: bytes) -> None:
    tag, vr = 0x00020000 | element, _vr_of(element)
    if element == 0 or tag in meta or vr is None:
        return
    text = value.rstrip(b"\0 ").decode("ascii", "replace")
    meta.add_new(tag, vr, value if vr == "OB" else text)
