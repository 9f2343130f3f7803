"""Moved to `monai_dental.inference.inferers`."""

from monai_dental.moved import lead

lead(__name__, "monai_dental.inference.inferers")
