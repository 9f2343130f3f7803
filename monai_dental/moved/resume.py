"""Moved to `monai_dental.training.resume`."""

from monai_dental.moved import lead

lead(__name__, "monai_dental.training.resume")
