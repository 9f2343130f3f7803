"""A received instance that is forwarded to a PACS with its dataset unchanged, byte for byte."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from pydicom.uid import DeflatedExplicitVRLittleEndian

from monai_dental.dicom.head import read_head, read_syntax
from monai_dental.dicom.lossy import is_lossy_syntax
from monai_dental.dicom.read import read_dataset, to_radiograph
from monai_dental.errors import CorruptImageError, MonaiDentalError, PacsError
from monai_dental.pacs.parcel import (
    COPY,
    LISTED,
    NAMES,
    NATIVE,
    Parcel,
    check_copy,
    key_of,
    read_chunks,
    read_elements_before_pixels,
    sha256,
)

_GROWTH, _MARGIN = 64, 1 << 20  # lossy compression is stronger than that of derived instances
_ORIGINAL = Path("original")  # read_dataset wants a name for its messages, which are not shown


class Original(Parcel):
    """A parcel of any SOP class that is sent only in its own transfer syntax."""

    @property
    def syntaxes(self) -> tuple[str, ...]:
        """The transfer syntaxes that it may be sent in: only its own."""
        return (self.transfer_syntax_uid,)

    @property
    def longest_copy(self) -> int:
        """Maximum size in bytes of a copy from a PACS, which may have decompressed it."""
        return _GROWTH * self.size + _MARGIN

    def prove(self, copy: BinaryIO) -> str:
        """Return what a copy that a PACS returned proves.

        If the PACS has re-encoded the pixels, they are compared only if the instance is a
        radiograph in a lossless transfer syntax. Otherwise the copy proves no more than `LISTED`.

        Args:
            copy: The file that the PACS returned, on the disk.

        Raises:
            PacsError: It is another instance, is broken, or has other pixels.
        """
        copy.flush()
        try:
            names = read_head(copy.fileno(), "SOPClassUID", "SOPInstanceUID")
            syntax, dataset_begin = read_syntax(copy.fileno())
            pixels_begin = _pixels_begin(copy, syntax, dataset_begin)
        except CorruptImageError:
            raise PacsError(f"{self.name}: the PACS returns a broken copy") from None
        if tuple(names.values()) != (self.sop_class_uid, self.key.sop_instance_uid):
            raise PacsError(f"{self.name}: the PACS returns another instance")
        if syntax == self.transfer_syntax_uid:
            with self.open() as sent:
                own, its = _digest(sent, self.pixels_begin), _digest(copy, pixels_begin)
            if own == its:
                return COPY if self.pixels_begin < self.size else LISTED
        is_native = syntax in NATIVE and self.transfer_syntax_uid in NATIVE
        if not is_native and not self._is_comparable():
            return LISTED
        check_copy(self, copy)
        return COPY

    def _is_comparable(self) -> bool:
        syntax = self.transfer_syntax_uid
        if syntax == DeflatedExplicitVRLittleEndian or is_lossy_syntax(syntax):
            return False
        try:
            with self.open() as stream:
                to_radiograph(read_dataset(_ORIGINAL, stream.read()))
        except MonaiDentalError:
            return False
        return True


def pack_original(path: Path) -> Original:
    """Prepare an instance to be sent unchanged; only its UIDs are read.

    Raises:
        CorruptImageError: It is broken, or no PACS could store it.
        OSError: It cannot be read.
    """
    with path.open("rb") as stream:
        syntax, dataset_begin = read_syntax(path)
        names = read_head(path, *NAMES)
        return Original(
            key_of(names),
            names["SOPClassUID"],
            syntax,
            path,
            path.stat().st_size,
            dataset_begin,
            _pixels_begin(stream, syntax, dataset_begin),
        )


def _pixels_begin(stream: BinaryIO, syntax: str, dataset_begin: int) -> int:
    """Return where the pixel data begins, or the dataset if that is deflated as a whole."""
    if syntax == DeflatedExplicitVRLittleEndian:
        return dataset_begin
    stream.seek(0)
    read_elements_before_pixels(stream)
    return stream.tell()


def _digest(stream: BinaryIO, begin: int) -> str:
    """Return the SHA-256 of a file from `begin` on."""
    stream.seek(begin)
    return sha256(read_chunks(stream))
