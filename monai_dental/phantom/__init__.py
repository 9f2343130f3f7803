"""Simulated dental radiographs with a known truth."""

from monai_dental.phantom.export import write_phantoms
from monai_dental.phantom.markings import Markings, draw_markings, mark
from monai_dental.phantom.simulate import Exposure, simulate_exposure
from monai_dental.phantom.streams import PHANTOM_VERSION

__all__ = [
    "PHANTOM_VERSION",
    "Exposure",
    "Markings",
    "draw_markings",
    "mark",
    "simulate_exposure",
    "write_phantoms",
]
