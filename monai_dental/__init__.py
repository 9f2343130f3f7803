"""Denoising of dental radiographs as a MONAI plugin.

The public names are `Denoiser`, `Radiograph`, `RadiographReader`, `find_bundle`, `read_radiograph`
and `write_radiograph`. Each one is imported on first use.
"""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from monai_dental.bundle.find import find_bundle
    from monai_dental.formats.reader import RadiographReader
    from monai_dental.formats.registry import read_radiograph, write_radiograph
    from monai_dental.inference.denoiser import Denoiser
    from monai_dental.radiograph import Radiograph

__version__ = "0.2.0"

_PUBLIC = {
    "Denoiser": "inference.denoiser",
    "Radiograph": "radiograph",
    "RadiographReader": "formats.reader",
    "find_bundle": "bundle.find",
    "read_radiograph": "formats.registry",
    "write_radiograph": "formats.registry",
}

__all__ = [
    "Denoiser",
    "Radiograph",
    "RadiographReader",
    "find_bundle",
    "read_radiograph",
    "write_radiograph",
]

__path__.append(str(Path(__file__).parent / "moved"))  # for names in bundles of version 0.1


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)
