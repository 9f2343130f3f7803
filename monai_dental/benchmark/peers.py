"""Classical denoising filters to compare with, and the search for their best parameter.

Images are nominally in [0, 1], but noise is not clipped: no filter here clips or wraps values
outside that range. A filter's parameter is tuned on training images only; see `tune`.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from monai_dental.benchmark.bm3d import bm3d_white
from monai_dental.errors import MissingPackageError, TuningError, extra_needed
from monai_dental.metrics import psnr

Image = NDArray[np.float32]

WIDENINGS = 5
"""Number of values that `tune` adds to a grid at most before it gives up."""

REFINEMENTS = 4
"""Number of values that `tune` tries between those of the grid."""

_CLOSE = math.log(1.01)


@dataclass(frozen=True)
class Peer:
    """A denoising filter with one parameter.

    Attributes:
        name: Name of the method in the scores.
        function: The filter, called with (image, parameter); `denoise` checks both first.
        parameter: What the parameter is, and its unit.
        grid: Ascending geometric sequence of parameters to try first. A single value is fixed and
            never tuned.
    """

    name: str
    function: Callable[[Image, float], NDArray[Any]]
    parameter: str
    grid: tuple[float, ...]

    def denoise(self, image: Image, parameter: float) -> Image:
        """Filter an image.

        Args:
            image: Float32 image (H, W), nominally in [0, 1]; other values are kept as they are.
            parameter: Positive; see the attribute `parameter`.

        Returns:
            The filtered image, float32 of the same shape; not clipped to [0, 1].

        Raises:
            ValueError: The image is not float32 (H, W), or the parameter is not valid for the
                filter.
            MissingPackageError: The filter's package is not installed.
        """
        if image.ndim != 2 or image.dtype != np.float32:
            raise ValueError(
                f"{self.name}: image is {image.dtype} of shape {image.shape}; need float32 (H, W)"
            )
        if not (parameter > 0 and math.isfinite(parameter)):
            raise ValueError(f"{self.name}: {self.parameter} must be positive, got {parameter}")
        return np.ascontiguousarray(self.function(image, parameter), np.float32)


def mean_psnr(
    peer: Peer,
    parameter: float,
    noisy: Sequence[Image],
    *,
    clean: Sequence[Image],
) -> float:
    """Return the mean PSNR (data range 1) of a filter over the images, in dB.

    Args:
        peer: The filter.
        parameter: Its parameter.
        noisy: The images to filter, float32 (H, W).
        clean: What they should be, in the same order.

    Raises:
        ValueError: There are no images, or not as many noisy ones as clean ones.
        MissingPackageError: The filter's package is not installed.
    """
    if len(noisy) != len(clean) or not noisy:
        raise ValueError(f"got {len(noisy)} noisy and {len(clean)} clean images; need pairs")
    return statistics.fmean(
        psnr(peer.denoise(image, parameter), reference, 1.0)
        for image, reference in zip(noisy, clean, strict=True)
    )


def tune(peer: Peer, noisy: Sequence[Image], clean: Sequence[Image]) -> float:
    """Return the parameter with the best mean PSNR over training images.

    First the whole grid is tried. While the best value is at an end, or no better than an end, the
    grid is extended there, by `WIDENINGS` values at most. The optimum then lies between the two
    neighbours of the best value. It is refined by `REFINEMENTS` values in all, alternating between
    two choices: the vertex of a parabola through the mean PSNR of the three over the logarithm of
    the parameter; and the geometric mean of the best value and its farther neighbour, as the curves
    of some filters are not parabolas. If the curve is flat, the PSNR is closer to the optimum than
    the parameter. The filter is run on every image for every value tried: BM3D, 7 to 12 times.

    Args:
        peer: The filter.
        noisy: Training images to filter, float32 (H, W); never those of the comparison itself.
        clean: What they should be, in the same order.

    Returns:
        The best value tried. Unless the parameter is fixed, it is never the smallest or largest
        value tried.

    Raises:
        ValueError: There are no pairs of images, or a noisy image equals its clean one.
        TuningError: The best value is still at an end of the widened grid.
        MissingPackageError: The filter's package is not installed.
    """

    def score(parameter: float) -> float:
        value = mean_psnr(peer, parameter, noisy, clean=clean)
        if not math.isfinite(value):
            raise ValueError(
                f"{peer.name}: mean PSNR at {parameter:g} is {value}; "
                "need finite images, with noise in each noisy one"
            )
        return value

    if len(peer.grid) == 1:
        return peer.grid[0]
    scores = {parameter: score(parameter) for parameter in peer.grid}
    ratio = peer.grid[1] / peer.grid[0]
    while (beyond := _beyond_end(scores, ratio)) is not None:
        if len(scores) == len(peer.grid) + WIDENINGS:
            raise TuningError(
                f"{peer.name}: {peer.parameter}: the best of {min(scores):g} to {max(scores):g} "
                "lies at an end; need training images that the filter makes better"
            )
        scores[beyond] = score(beyond)
    for number in range(REFINEMENTS):
        between = _vertex(scores)
        if number % 2 or any(abs(math.log(between / tried)) < _CLOSE for tried in scores):
            low, best, high = _best_and_neighbours(scores)
            between = math.sqrt(best * (low if best / low > high / best else high))
        scores[between] = score(between)
    return max(scores, key=scores.__getitem__)


def tuned(
    peer: Peer, noisy: Sequence[Image], clean: Sequence[Image]
) -> tuple[Callable[[Image], Image], str]:
    """Return a filter with its best parameter, and that parameter as text.

    Where the filter is best at its weakest, as it may be with weak noise, the images are returned
    as they are, and the text is "none".

    Args:
        peer: See `tune`.
        noisy: See `tune`.
        clean: See `tune`.

    Raises:
        ValueError: See `tune`.
        TuningError: The best value is still the largest of the widened grid.
        MissingPackageError: The filter's package is not installed.
    """
    try:
        parameter = tune(peer, noisy, clean)
    except TuningError:
        pairs = zip(noisy, clean, strict=True)
        before = statistics.fmean(psnr(image, reference, 1.0) for image, reference in pairs)
        if mean_psnr(peer, peer.grid[0], noisy, clean=clean) > before:
            raise
        return np.asarray, "none"
    return partial(peer.denoise, parameter=parameter), f"{parameter:.4g}"


def _beyond_end(scores: dict[float, float], ratio: float) -> float | None:
    """Return the parameter beyond an end of the grid if the best score is there, or None."""
    low, high, best = min(scores), max(scores), max(scores.values())
    if scores[low] == best:
        return low / ratio
    return high * ratio if scores[high] == best else None


def _best_and_neighbours(scores: dict[float, float]) -> tuple[float, float, float]:
    tried = sorted(scores)
    index = tried.index(max(tried, key=scores.__getitem__))
    return tried[index - 1], tried[index], tried[index + 1]


def _vertex(scores: dict[float, float]) -> float:
    """Return where the parabola over log(parameter), through the best and its neighbours, peaks."""
    low, best, high = _best_and_neighbours(scores)
    left, right = math.log(low / best), math.log(high / best)
    fall_left, fall_right = scores[best] - scores[low], scores[best] - scores[high]
    peak = (right**2 * fall_left - left**2 * fall_right) / (right * fall_left - left * fall_right)
    return best * math.exp(peak / 2)


def _median(image: Image, parameter: float) -> NDArray[Any]:
    if parameter not in (3, 5):
        raise ValueError(f"median: kernel size must be 3 or 5 for float images, got {parameter}")
    return cv2.medianBlur(image, int(parameter))


def _gaussian(image: Image, parameter: float) -> NDArray[Any]:
    return cv2.GaussianBlur(image, (0, 0), parameter, borderType=cv2.BORDER_REPLICATE)


def _non_local_means(image: Image, parameter: float) -> NDArray[Any]:
    filtered: NDArray[Any] = _restoration("non_local_means").denoise_nl_means(
        image, patch_size=5, patch_distance=6, h=parameter, fast_mode=True
    )
    return filtered


def _total_variation(image: Image, parameter: float) -> NDArray[Any]:
    # Its tolerance stops it before it converges. This filters better: by 0.6 dB on panoramics with
    # white noise, and equally well with correlated noise.
    filtered: NDArray[Any] = _restoration("total_variation").denoise_tv_chambolle(
        image, weight=parameter
    )
    return filtered


def _bilateral(image: Image, parameter: float) -> NDArray[Any]:
    # The width grows with the noise: for white noise of 0.02 to 0.1 on panoramics, this is within
    # 0.1 dB of the best result of a search over both widths.
    width = 1.2 * (parameter / 0.12) ** 0.4
    return cv2.bilateralFilter(image, -1, parameter, width, borderType=cv2.BORDER_REPLICATE)


def _wavelet(image: Image, parameter: float) -> NDArray[Any]:
    try:
        filtered: NDArray[Any] = _restoration("wavelet").denoise_wavelet(
            image, sigma=parameter, method="BayesShrink", wavelet="sym8", wavelet_levels=4
        )
    except ImportError as error:  # scikit-image raises this if PyWavelets is missing
        raise MissingPackageError(_missing("wavelet", "PyWavelets")) from error
    return filtered


def require_packages(peers: Iterable[Peer]) -> None:
    """Run each filter on a small image, to detect missing packages before hours of work.

    Raises:
        MissingPackageError: A package that a filter needs is not installed.
    """
    image = np.random.default_rng(0).random((256, 256), dtype=np.float32)
    for peer in peers:
        peer.denoise(image, peer.grid[0])


def _restoration(peer: str) -> Any:
    try:
        from skimage import restoration
    except ImportError as error:
        raise MissingPackageError(_missing(peer, "scikit-image")) from error
    return restoration


def _missing(peer: str, package: str) -> str:
    return f"{peer} needs the package {package}: {extra_needed('benchmark')}"


PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        Peer("median", _median, "kernel size in pixels", (5.0,)),
        Peer("gaussian", _gaussian, "sigma in pixels", (0.4, 0.8, 1.6, 3.2)),
        Peer(
            "non_local_means",
            _non_local_means,
            "cut-off h of patch distances, in units of the [0, 1] image",
            (0.02, 0.04, 0.08, 0.16),
        ),
        Peer(
            "total_variation",
            _total_variation,
            "weight of the total variation, in units of the [0, 1] image",
            (0.0125, 0.025, 0.05, 0.1, 0.2, 0.4),
        ),
        Peer(
            "bilateral",
            _bilateral,
            "sigma of the intensities, in units of the [0, 1] image; the width follows from it",
            (0.06, 0.12, 0.24, 0.48),
        ),
        Peer(
            "wavelet",
            _wavelet,
            "sigma of the white noise to remove, in units of the [0, 1] image",
            (0.03, 0.06, 0.12, 0.24),
        ),
        Peer(
            "bm3d",
            bm3d_white,
            "sigma of the white noise to remove, in units of the [0, 1] image",
            (0.03, 0.06, 0.12, 0.24),
        ),
    )
}
"""The filters by name. The median's kernel size is that of the published comparison.

References:
    median, gaussian: OpenCV, `medianBlur` and `GaussianBlur`; both repeat the edge pixel.
    non_local_means: Buades et al., CVPR 2005; scikit-image, patches of 5 pixels up to 6 away.
    total_variation: Chambolle, J. Math. Imaging Vis. 20, 2004; scikit-image.
    bilateral: Tomasi and Manduchi, ICCV 1998; OpenCV.
    wavelet: Chang et al., IEEE Trans. Image Process. 9(9), 2000 (BayesShrink); scikit-image.
    bm3d: Dabov et al., IEEE Trans. Image Process. 16(8), 2007; the authors' package.

BM3D's licence is for non-commercial use. Here it treats correlated noise as white too, with the
best sigma; `monai_dental.benchmark.bm3d` has a variant that is given the spectrum.
"""
