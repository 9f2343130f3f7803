"""Reading of a few elements of a file, without the rest."""

from __future__ import annotations

import zlib
from io import FileIO
from pathlib import Path

from pydicom import Dataset
from pydicom.datadict import tag_for_keyword
from pydicom.filereader import read_partial
from pydicom.multival import MultiValue

from monai_dental.dicom.quiet import PYDICOM_ERRORS, quiet_pydicom
from monai_dental.errors import CorruptImageError

_HEAD_BYTES = 1 << 20
META = 132 + 12
"""Bytes before those that File Meta Information Group Length counts (PS3.10 7.1)."""


def read_head(file: Path | int, *keywords: str) -> dict[str, str]:
    """Read a few elements of a file; only the first MiB of a deflated one (PS3.5 A.5) is inflated.

    Args:
        file: The file, or a descriptor of it, which stays open.
        keywords: Keywords of elements before Pixel Data.

    Returns:
        The value of each element as text, multiple values separated by backslashes; "" for elements
        that are missing or beyond that MiB.

    Raises:
        CorruptImageError: The file cannot be read, or is not DICOM.
    """
    tags = [tag for each in keywords if (tag := tag_for_keyword(each)) is not None]
    try:
        with quiet_pydicom(), _Head(file, closefd=isinstance(file, Path)) as head:
            head.seek(0)
            dataset: Dataset = read_partial(
                head,
                stop_when=lambda tag, vr, length: int(tag) > max(tags),
                specific_tags=list(tags),
            )
            return {each: _text(dataset.get(each)) for each in keywords}
    except PYDICOM_ERRORS as error:
        raise CorruptImageError(f"broken DICOM: {type(error).__name__}") from None


def read_syntax(file: Path | int) -> tuple[str, int]:
    """Read how a file is encoded.

    Args:
        file: As in `read_head`.

    Returns:
        Its Transfer Syntax UID, and the offset of the dataset in bytes.

    Raises:
        CorruptImageError: The file cannot be read, or is not DICOM.
    """
    try:
        with quiet_pydicom(), _Head(file, closefd=isinstance(file, Path)) as head:
            head.seek(0)
            meta = read_partial(head, stop_when=lambda tag, vr, length: True).file_meta
            return str(meta.TransferSyntaxUID), META + int(meta.FileMetaInformationGroupLength)
    except PYDICOM_ERRORS as error:
        raise CorruptImageError(f"broken DICOM: {type(error).__name__}") from None


def _text(value: object) -> str:
    if isinstance(value, MultiValue):
        return "\\".join(map(str, value))
    return str(value or "")


class _Head(FileIO):
    """A file whose deflated part is limited to its head, even for a decompression bomb.

    pydicom reads to the end of the file only to inflate it.
    """

    def read(self, size: int | None = -1, /) -> bytes:
        """Read a number of bytes; without a number, return the deflated part cut short."""
        if size is not None and size >= 0:
            return super().read(size) or b""
        deflated = super().read(_HEAD_BYTES) or b""
        head = zlib.decompressobj(-zlib.MAX_WBITS).decompress(deflated, _HEAD_BYTES)
        short = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        return short.compress(head) + short.flush()
