"""The images from which the estimator of noise learns."""

from __future__ import annotations

import cv2
import numpy as np
import pytest


@pytest.mark.parametrize(("sigma", "is_clean"), [(0.0, True), (0.0005, True), (0.004, False)])
def test_photographs_with_noise_of_their_own_are_left_out(load_script, tmp_path, sigma, is_clean):
    """Their noise would count as anatomy, and weak noise of radiographs with it."""
    random = np.random.default_rng(0)
    shape = cv2.GaussianBlur(random.uniform(-40, 40, (400, 600)), (0, 0), 25).cumsum(axis=1) / 60
    noisy = 0.5 + shape / np.ptp(shape) * 0.8 + random.normal(0, sigma, shape.shape)
    path = tmp_path / "photograph.png"
    cv2.imwrite(str(path), np.rint(noisy.clip(0, 1) * 65535).astype(np.uint16))

    assert load_script("train_estimator").is_clean(path) == is_clean
