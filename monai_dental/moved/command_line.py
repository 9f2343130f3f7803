"""Moved to `monai_dental.cli.monai_bundle`."""

from monai_dental.moved import lead

lead(__name__, "monai_dental.cli.monai_bundle")
