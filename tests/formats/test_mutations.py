"""Damaged files of each format: read, or refused with one of our errors; never anything else."""

from __future__ import annotations

import gzip
import warnings

import numpy as np
import pytest
from pydicom import uid

from monai_dental.errors import CorruptImageError, UnsupportedImageError
from monai_dental.formats import read_radiograph

SYNTAXES = [
    uid.ImplicitVRLittleEndian,
    uid.DeflatedExplicitVRLittleEndian,
    uid.RLELossless,
    uid.JPEGBaseline8Bit,
    uid.JPEGLosslessSV1,
    uid.JPEGLSLossless,
    uid.JPEG2000Lossless,
    uid.HTJ2KLossless,
]


def mutate(content: bytes, rng: np.random.Generator) -> bytes:
    """Change, delete or insert a few bytes."""
    mutated = bytearray(content)
    for _ in range(rng.integers(1, 8)):
        at = int(rng.integers(0, len(mutated)))
        match rng.integers(0, 3):
            case 0:
                mutated[at] = int(rng.integers(0, 256))
            case 1:
                del mutated[at : at + int(rng.integers(1, 20))]
            case _:
                mutated[at:at] = rng.bytes(int(rng.integers(1, 8)))
    return bytes(mutated)


def read_mutations(path, count: int = 60) -> None:
    content = path.read_bytes()
    rng = np.random.default_rng(len(content))
    refused: list[str] = []
    for _ in range(count):
        path.write_bytes(mutate(content, rng))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a colour warning, if damage makes colour
                radiograph = read_radiograph(path)
        except (CorruptImageError, UnsupportedImageError) as error:
            refused.append(str(error))
        else:
            assert np.isfinite(radiograph.pixels).all()
    assert refused
    assert all("source" in message or "instance" in message for message in refused)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp", ".nii", ".nii.gz", ".dcm"])
def test_mutated_file_raises_nothing_but_our_errors(picture, radiograph_file, suffix) -> None:
    read_mutations(radiograph_file(picture(8), suffix))


@pytest.mark.parametrize("transfer_syntax", SYNTAXES)
def test_mutated_codestream_raises_nothing_but_our_errors(
    dicom_file, picture, transfer_syntax
) -> None:
    read_mutations(dicom_file(stored=picture(8), transfer_syntax=transfer_syntax))


def test_damaged_gzip_is_found(picture, radiograph_file) -> None:
    path = radiograph_file(picture(8), ".nii.gz")
    content = bytearray(gzip.compress(gzip.decompress(path.read_bytes())))
    content[-6] ^= 1  # the checksum
    path.write_bytes(content)
    with pytest.raises(CorruptImageError, match=r"source\.nii\.gz: cannot be decoded"):
        read_radiograph(path)
