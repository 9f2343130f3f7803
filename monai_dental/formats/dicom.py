"""DICOM as one of the image formats; the implementation is in `monai_dental.dicom`."""

from __future__ import annotations

from pathlib import Path

from monai_dental.dicom.derive import Derivation, derive, encode_dataset
from monai_dental.dicom.read import read_dataset, to_radiograph
from monai_dental.radiograph import Radiograph


def read_dicom(path: Path) -> Radiograph:
    """Read a greyscale DICOM instance, from a file with or without preamble.

    Returns:
        The radiograph; its header is the dataset without Pixel Data.

    Raises:
        UnsupportedImageError: The file is not DICOM, or holds no greyscale image.
        CorruptImageError: The file is truncated or inconsistent, or its pixels cannot be decoded.
    """
    return to_radiograph(read_dataset(path), path)


def encode_dicom(radiograph: Radiograph, derivation: Derivation) -> bytes:
    """Encode the derived DICOM file.

    Args:
        radiograph: The processed radiograph, with the header and stored values of its source.
        derivation: How the pixels were made.

    Returns:
        The bytes of a DICOM file in Explicit VR Little Endian.

    Raises:
        CorruptImageError: The source's dataset cannot be written.
        UnsupportedImageError: The source has no SOP Instance UID to refer to.
    """
    return encode_dataset(derive(radiograph, derivation))
