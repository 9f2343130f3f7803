"""Moved to `monai_dental.formats.reader`."""

from monai_dental.moved import lead

lead(__name__, "monai_dental.formats.reader")
