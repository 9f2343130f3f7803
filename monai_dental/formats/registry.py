"""Detection of the format of a file, and its reader and writer.

The content determines the format, not the name: hospital exports name DICOM files by UID or without
a suffix, and a JPEG called `.png` is still a JPEG. The name only counts if the content is unclear.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from monai_dental.errors import CorruptImageError, OutputError, UnsupportedImageError
from monai_dental.files.atomic import write_atomically
from monai_dental.radiograph import Radiograph

if TYPE_CHECKING:
    from monai_dental.dicom.derive import Derivation

FORMAT_SUFFIXES: dict[str, tuple[str, ...]] = {
    "png": (".png",),
    "jpeg": (".jpg", ".jpeg"),
    "tiff": (".tif", ".tiff"),
    "bmp": (".bmp",),
    "nifti": (".nii", ".nii.gz"),
    "dicom": (".dcm", ".dicom", ".dic", ".ima"),
}
"""File name suffixes of each format, lower case. DICOM files may also have none."""

SUFFIXES: tuple[str, ...] = tuple(suffix for group in FORMAT_SUFFIXES.values() for suffix in group)
"""All supported file name suffixes, lower case, with the dot."""

_HEAD_BYTES = 352
_UNNAMED = re.compile(r"[^.]*(\.\d+)*")


def is_supported_name(path: Path) -> bool:
    """Return whether `read_radiograph` may support a file by its name; the file is not opened.

    Returns:
        True for a known suffix in any case, and for a name without one or like a UID
        (`1.2.840.10008.5`), as is common for DICOM files; never for a hidden file or a DICOMDIR.
    """
    name = path.name.lower()
    if name.startswith(".") or name == "dicomdir":
        return False
    return name.endswith(SUFFIXES) or _UNNAMED.fullmatch(name) is not None


def suffix_of(name: str) -> str:
    """Return the longest of `SUFFIXES` that a file's name ends in, as written; "" for none."""
    known = [suffix for suffix in SUFFIXES if name.lower().endswith(suffix)]
    return name[len(name) - max(map(len, known), default=0) :]


def read_radiograph(path: Path) -> Radiograph:
    """Read a radiograph from a file of any supported format.

    Args:
        path: A JPEG, PNG, TIFF, BMP, NIfTI or DICOM file.

    Returns:
        The radiograph: (rows, columns), or (frames, rows, columns) if the file holds several
        frames.

    Raises:
        UnsupportedImageError: The file is not an image, or is not supported (such as colour DICOM).
        CorruptImageError: The file is broken, or cannot be read at all.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD_BYTES)
    except OSError as error:
        raise CorruptImageError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not head:
        raise CorruptImageError(f"{path}: the file is empty")
    image_format = _format_of(head, path)
    # Imported here, so that reading PNG files needs neither pydicom nor nibabel.
    if image_format == "dicom":
        from monai_dental.dicom.read import read_dataset, to_radiograph

        return to_radiograph(read_dataset(path), path)
    if image_format == "nifti":
        from monai_dental.formats.nifti import read_nifti

        return read_nifti(path)
    from monai_dental.formats.opencv import read_image

    return read_image(path, image_format)


def write_radiograph(
    radiograph: Radiograph, path: Path, *, derivation: Derivation | None = None
) -> None:
    """Write a radiograph in the format and with the bit depth of its source.

    The file is written completely or not at all. It replaces one of the same name, but never the
    source. JPEG is written at quality 100, which still rounds; if no pixel has changed, the source
    file is copied. All other formats are lossless.

    Args:
        radiograph: The radiograph; its `image_format` selects the format.
        path: The file to write, in an existing folder.
        derivation: How the pixels were made; required for DICOM, ignored for other formats.

    Raises:
        OutputError: The file cannot be written, or is the source itself.
        ValueError: A DICOM file has no derivation, the name is of another format, or the shape of
            the pixels is not the source's.
    """
    _check_name(radiograph, path)
    _check_not_source(radiograph, path)
    if radiograph.image_format == "dicom":
        from monai_dental.dicom.derive import derive, encode_dataset

        if derivation is None:
            raise ValueError("a DICOM file needs a derivation, which says how it was made")
        content = encode_dataset(derive(radiograph, derivation))
    elif radiograph.image_format == "nifti":
        from monai_dental.formats.nifti import encode_nifti

        content = encode_nifti(radiograph, is_compressed=path.name.lower().endswith(".gz"))
    else:
        from monai_dental.formats.opencv import encode_image

        content = encode_image(radiograph)
    write_atomically(path, content)


def _format_of(head: bytes, path: Path) -> str:
    if head[128:132] == b"DICM":
        return "dicom"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head[:4] in (b"II*\0", b"MM\0*"):
        return "tiff"
    is_nifti = head[344:348] == b"n+1\0" or head[4:8] == b"n+2\0"
    if is_nifti or (head.startswith(b"\x1f\x8b") and path.name.lower().endswith(".nii.gz")):
        return "nifti"
    named = _format_named(path)
    if head.startswith(b"BM") and named == "bmp":
        return "bmp"
    if named == "dicom" or (named is None and is_supported_name(path)):
        return "dicom"
    if named is None:
        raise UnsupportedImageError(f"{path}: not an image; need one of {', '.join(SUFFIXES)}")
    raise UnsupportedImageError(f"{path}: not a {named.upper()} file, although its name says so")


def _format_named(path: Path) -> str | None:
    name = path.name.lower()
    return next((kind for kind, endings in FORMAT_SUFFIXES.items() if name.endswith(endings)), None)


def _check_name(radiograph: Radiograph, path: Path) -> None:
    if radiograph.image_format not in FORMAT_SUFFIXES:
        raise ValueError(f"image format '{radiograph.image_format}' is not known")
    named = _format_named(path)
    kept = radiograph.source is not None and path.suffix == radiograph.source.suffix
    if named not in (None, radiograph.image_format) and not kept:
        raise ValueError(
            f"{path}: the name says {named}, but the image is {radiograph.image_format}"
        )


def _check_not_source(radiograph: Radiograph, path: Path) -> None:
    try:
        is_source = radiograph.source is not None and path.samefile(radiograph.source)
    except OSError:
        return  # one of the two does not exist
    if is_source:
        raise OutputError(f"{path}: is the source itself; need another name or folder")
