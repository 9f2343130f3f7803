"""Moved to `monai_dental.inference.denoiser`."""

from monai_dental.moved import lead

lead(__name__, "monai_dental.inference.denoiser")
