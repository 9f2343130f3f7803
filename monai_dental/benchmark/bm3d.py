"""BM3D by its authors' package, for noise treated as white and for noise of known spectrum.

References:
    Dabov et al., IEEE Trans. Image Process. 16(8), 2007. Mäkinen, Azzari and Foi, IEEE Trans. Image
    Process. 29, 2020 (correlated noise).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_dental.benchmark.noises import Noise
from monai_dental.benchmark.stabilize import denoise_stabilized
from monai_dental.errors import MissingPackageError, extra_needed

Image = NDArray[np.float32]


def bm3d_white(image: Image, sigma: float) -> Image:
    """Return an image with white noise of a given standard deviation removed.

    Args:
        image: Noisy image, (H, W), nominally in [0, 1].
        sigma: Standard deviation of the noise.

    Raises:
        MissingPackageError: bm3d is not installed.
    """
    return _bm3d(image, sigma)


def bm3d_told(image: Image, noise: Noise) -> Image:
    """Return an image with noise of known spectrum and variance by intensity removed.

    If the variance depends on the intensity, it is stabilized first; the spectrum is then the one
    at the image's mean intensity.

    Args:
        image: Noisy image, (H, W), nominally in [0, 1].
        noise: Its noise.

    Raises:
        MissingPackageError: bm3d is not installed.
    """
    power = noise.spectrum(image.shape, float(image.mean()))

    def denoise(plane: Image, sigma: float) -> Image:
        if noise.is_white:
            return _bm3d(plane, sigma)
        return _bm3d(plane, sigma**2 * plane.size * power)

    return denoise_stabilized(denoise, image, noise)


def _bm3d(image: Image, sigma_psd: float | NDArray[np.float64]) -> Image:
    """Run BM3D with a standard deviation or the power of unscaled Fourier coefficients."""
    try:
        with _trapz():
            from bm3d import bm3d

            filtered: NDArray[Any] = bm3d(image, sigma_psd=sigma_psd)
    except ImportError as error:
        package = "bm3d (non-commercial use only)"
        raise MissingPackageError(
            f"bm3d needs the package {package}: {extra_needed('benchmark')}"
        ) from error
    return np.ascontiguousarray(filtered, np.float32)


@contextlib.contextmanager
def _trapz() -> Iterator[None]:
    """Temporarily restore `numpy.trapz`, the old name of `trapezoid`, which bm4d 4.2.5 calls."""
    namespace: Any = np
    if hasattr(namespace, "trapz"):
        yield
        return
    namespace.trapz = namespace.trapezoid
    try:
        yield
    finally:
        del namespace.trapz
