"""Moved to `monai_dental.bundle.overrides`."""

from monai_dental.moved import lead

lead(__name__, "monai_dental.bundle.overrides")
