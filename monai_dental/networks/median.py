"""The median filter as a network without weights."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor, nn


class MedianFilter(nn.Module):
    """OpenCV's `medianBlur` as a network; the borders repeat the edge pixel.

    Args:
        kernel_size: 3 or 5, the sizes that OpenCV supports for float images.

    Raises:
        ValueError: `kernel_size` is neither 3 nor 5.
    """

    def __init__(self, kernel_size: int = 5) -> None:
        super().__init__()
        if kernel_size not in (3, 5):
            raise ValueError(f"kernel_size must be 3 or 5 for float images, got {kernel_size}")
        self.kernel_size = kernel_size

    def forward(self, image: Tensor) -> Tensor:
        """Filter each channel of each image.

        Args:
            image: Float images, (..., H, W), of any range.

        Returns:
            Filtered images of the same shape, dtype and device.
        """
        planes = image.detach().to("cpu", torch.float32).numpy().reshape(-1, *image.shape[-2:])
        filtered = np.stack([cv2.medianBlur(plane, self.kernel_size) for plane in planes])
        return torch.from_numpy(filtered).reshape(image.shape).to(image)
