"""Synthetic images without patient data, for training denoisers."""

from monai_dental.synthetic.export import write_images
from monai_dental.synthetic.images import SYNTHETIC_VERSION, draw_image

__all__ = ["SYNTHETIC_VERSION", "draw_image", "write_images"]
