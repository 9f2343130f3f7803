"""Images that show nobody, to learn denoising from."""

from monai_dental.synthetic.export import write_images
from monai_dental.synthetic.images import draw_image

__all__ = ["draw_image", "write_images"]
