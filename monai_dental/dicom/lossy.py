"""The record of lossy compression in a header: once lossy, always lossy (PS3.3 C.7.6.1.1.5)."""

from __future__ import annotations

import re

from pydicom import Dataset, uid
from pydicom.encaps import generate_frames

from monai_dental.dicom.codestream import is_irreversible
from monai_dental.dicom.elements import put, texts

_METHODS = {
    str(uid.JPEGBaseline8Bit): "ISO_10918_1",
    str(uid.JPEGExtended12Bit): "ISO_10918_1",
    "1.2.840.10008.1.2.4.53": "ISO_10918_1",
    "1.2.840.10008.1.2.4.55": "ISO_10918_1",
    str(uid.JPEGLSNearLossless): "ISO_14495_1",
    str(uid.JPEG2000): "ISO_15444_1",
    str(uid.HTJ2K): "ISO_15444_15",
    # May be lossless too; what is known to be lossless has a transfer syntax of its own.
    "1.2.840.10008.1.2.4.112": "ISO_18181_1",
}
_WAVELETS = (str(uid.JPEG2000), str(uid.HTJ2K))
_NUMBER = re.compile(r"\d+(\.\d*)?")


def is_lossy_syntax(transfer_syntax: str) -> bool:
    """Return whether a transfer syntax may hold lossy compressed pixels."""
    return transfer_syntax in _METHODS


def record_lossy(
    header: Dataset, transfer_syntax: str, pixel_data: bytes, uncompressed_size: int
) -> None:
    """Add a lossy transfer syntax to the history of lossy compression, if it is not recorded yet.

    Args:
        header: A copy of the instance's dataset; changed in place; within `quiet_pydicom`.
        transfer_syntax: The instance's Transfer Syntax UID.
        pixel_data: Its Pixel Data.
        uncompressed_size: Bytes of the decoded pixels.
    """
    method = _METHODS.get(transfer_syntax)
    if method is None:
        return
    if transfer_syntax in _WAVELETS and not is_irreversible(
        next(generate_frames(pixel_data, number_of_frames=1))
    ):
        return
    methods: list[str] = []
    ratios: list[str] = []
    if header.get("LossyImageCompression") == "01":
        methods = texts(header, "LossyImageCompressionMethod")
        ratios = texts(header, "LossyImageCompressionRatio")
        # Already recorded by the encoder; a ratio without a method may be the encoder's too.
        if methods[-1:] == [method] or (ratios and not methods):
            return
    ratio = str(round(uncompressed_size / max(1, len(pixel_data)), 2))
    put(header, "LossyImageCompression", "01")
    put(header, "LossyImageCompressionMethod", [*methods, method])
    # One ratio for each method, in the same order; one that is not a number cannot be written.
    known = [each if _NUMBER.fullmatch(each) else "" for each in ratios]
    unknown = [""] * (len(methods) - len(ratios))
    put(header, "LossyImageCompressionRatio", [*unknown, *known, ratio])
