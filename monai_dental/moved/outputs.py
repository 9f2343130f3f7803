"""Moved to `monai_dental.files.outputs`."""

from monai_dental.moved import lead

lead(__name__, "monai_dental.files.outputs")
