"""Denoised radiographs as files for clients."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK

from monai_dental.dicom.derive import Derivation
from monai_dental.errors import CorruptImageError
from monai_dental.formats import write_radiograph
from monai_dental.formats.registry import FORMAT_SUFFIXES
from monai_dental.radiograph import Radiograph, shown_values

NRRD = ".nrrd"


def write_result(
    radiographs: Sequence[Radiograph], derivation: Derivation, suffix: str | None = None
) -> Path:
    """Write a result for a client to a new temporary file.

    Args:
        radiographs: The denoised images, read from files: one, or those of a series.
        derivation: How they were made, for DICOM.
        suffix: File extension: ".nrrd", or one of the source's format; None for the source's own.

    Returns:
        The file; for several images, a ZIP of their files.

    Raises:
        ValueError: The source's format does not have such an extension.
        CorruptImageError: ITK, which provides the geometry of an NRRD, cannot read the source.
    """
    suffixes = [checked_suffix(radiograph, suffix) for radiograph in radiographs]
    if len(radiographs) == 1:
        path = _new_file(suffixes[0])
        _write(radiographs[0], path, derivation)
        return path
    path = _new_file(".zip")
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(path, "w") as archive:
        for number, radiograph in enumerate(radiographs, start=1):
            member = Path(folder) / f"{number}{suffixes[number - 1]}"
            _write(radiograph, member, derivation)
            archive.write(member, member.name)
    return path


def checked_suffix(radiograph: Radiograph, suffix: str | None) -> str:
    """Return the extension of a result's file; `suffix` is that of `write_result`.

    Raises:
        ValueError: The source's format does not have such an extension.
    """
    known = FORMAT_SUFFIXES[radiograph.image_format]
    if suffix is None:
        name = "" if radiograph.source is None else radiograph.source.name.lower()
        return next((ending for ending in known if name.endswith(ending)), known[0])
    if suffix not in (NRRD, *known):
        raise ValueError(f"result_extension is {suffix!r}; need one of {', '.join((NRRD, *known))}")
    return suffix


def _new_file(suffix: str) -> Path:
    with tempfile.NamedTemporaryFile(suffix=suffix, delete=False) as file:
        return Path(file.name)


def _write(radiograph: Radiograph, path: Path, derivation: Derivation) -> None:
    if path.suffix == NRRD:
        _write_nrrd(radiograph, path)
    else:
        write_radiograph(radiograph, path, derivation=derivation)


def _write_nrrd(radiograph: Radiograph, path: Path) -> None:
    """Write the stored values, small = black, with the geometry of the source as ITK reads it."""
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(radiograph.source))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise CorruptImageError(f"{radiograph.source}: ITK cannot read its geometry") from error
    image = SimpleITK.GetImageFromArray(
        np.reshape(shown_values(radiograph), reader.GetSize()[::-1])
    )
    image.SetSpacing(reader.GetSpacing())
    image.SetOrigin(reader.GetOrigin())
    image.SetDirection(reader.GetDirection())
    SimpleITK.WriteImage(image, str(path))
