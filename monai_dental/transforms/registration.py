"""Check whether the two images of a pair are aligned."""

from __future__ import annotations

import math
import warnings
from collections.abc import Hashable, Mapping
from typing import Any

import cv2
import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from numpy.typing import NDArray
from torch import Tensor

from monai_dental.transforms.intensity import name_of

Data = Mapping[Hashable, Any]

SMALLEST_SIDE = 32
"""Smallest side, in pixels, for which a shift is measured."""

_FINE, _COARSE = 1.5, 6.0  # pixels; sigmas of the Gaussians that bound the compared band
_BORDER = 20  # the border left out is the shorter side divided by this
_STEPS = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 100, 1e-5)


def shift_between(image: Tensor, reference: Tensor) -> tuple[float, float] | None:
    """Return the shift of an image against another one, regardless of their greys and noise.

    Whole pixels are found by phase correlation, the fraction by the enhanced correlation
    coefficient. Both use a band of frequencies that contains anatomy.

    Args:
        image: (H, W).
        reference: (H, W).

    Returns:
        Shift in rows and columns, in pixels, or None if the images are too small or too different.

    References:
        Evangelidis and Psarakis, IEEE Trans. Pattern Anal. Mach. Intell. 30(10), 2008.
    """
    height, width = image.shape
    if min(height, width) < SMALLEST_SIDE:
        return None
    first, second = (_band(each) for each in (reference, image))
    window = cv2.createHanningWindow((first.shape[1], first.shape[0]), cv2.CV_32F)
    (column, row), _ = cv2.phaseCorrelate(first, second, window)
    start = np.array([[1, 0, round(column)], [0, 1, round(row)]], np.float32)
    try:
        _, found = cv2.findTransformECC(
            first, second, start, cv2.MOTION_TRANSLATION, _STEPS, np.ones(first.shape, np.uint8), 1
        )
    except cv2.error:  # nothing in common
        return None
    return float(found[1, 2]), float(found[0, 2])


def _band(image: Tensor) -> NDArray[np.float32]:
    plane = image.as_subclass(Tensor).cpu().float().numpy()
    band = cv2.GaussianBlur(plane, (0, 0), _FINE) - cv2.GaussianBlur(plane, (0, 0), _COARSE)
    border = min(plane.shape) // _BORDER
    return np.ascontiguousarray(band[border:-border, border:-border], np.float32)


class CheckRegistrationd(MapTransform):
    """Warn of pairs of images that are not aligned, from which a network would learn to blur.

    Args:
        keys: Key of one image, (1, H, W).
        label_key: Key of the other image, of the same size.
        most: Largest shift in pixels without a warning.
    """

    def __init__(self, keys: KeysCollection, label_key: str = "label", most: float = 0.5) -> None:
        super().__init__(keys)
        self.label_key = label_key
        self.most = most

    def __call__(self, data: Data) -> dict[Hashable, Any]:
        """Return `data` unchanged."""
        for key in self.key_iterator(dict(data)):
            image, label = (torch.as_tensor(data[each])[0] for each in (key, self.label_key))
            shift = shift_between(image, label)
            pair = f"{name_of(data[key])} and {name_of(data[self.label_key])}"
            if shift is None:
                if min(image.shape) >= SMALLEST_SIDE:
                    warnings.warn(
                        f"{pair}: nothing in common found; check that they are a pair", stacklevel=2
                    )
            elif math.hypot(*shift) > self.most:
                warnings.warn(
                    f"{pair}: shifted by {shift[0]:.1f} rows and {shift[1]:.1f} columns; register "
                    "them, or the network learns to blur",
                    stacklevel=2,
                )
        return dict(data)
