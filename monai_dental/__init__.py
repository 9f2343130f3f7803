"""Denoising of dental radiographs as a MONAI plugin."""

__version__ = "0.1.0"
