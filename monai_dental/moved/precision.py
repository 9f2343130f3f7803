"""Moved to `monai_dental.inference.precision`."""

from monai_dental.moved import lead

lead(__name__, "monai_dental.inference.precision")
