"""Measures without a clean image: whiteness of the residual, and noise left.

Neither shows that an image is good: a method that returns its input has no residual, and one that
blurs leaves no noise. Of two methods on the same images, they show which one removed more than
noise.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monai_dental.benchmark.scores import aligned
from monai_dental.errors import DatasetError
from monai_dental.formats import read_radiograph
from monai_dental.training.datalists import read_pairs

Image = NDArray[np.floating[Any]]

_LAGS = 8  # pixels
_TILE = 16  # pixels
_FLAT_SHARE = 0.1
_GREY = (0.02, 0.98)  # of the range from darkest to brightest; outside, noise is clipped

NOTE = """\
No figure here shows that anatomy is kept: noise left is 1 if nothing was done, and 0 if everything
was blurred. If only noise was removed, residual correlation is that of the noise itself: near 0 for
white noise, more for coarse noise. Compare methods on the same images."""


def residual_correlation(noisy: Image, denoised: Image) -> float:
    """Return how far the residual is from white noise: the RMS of its autocorrelation.

    The RMS covers all shifts of up to 8 pixels in both directions except 0. It is about 1 / sqrt(N)
    for white noise in N pixels, and higher for coarse noise; anatomy in the residual increases
    both.

    Args:
        noisy: Image before, (H, W).
        denoised: Image after, of the same shape.

    Returns:
        0 to 1; NaN if nothing was removed or the image is smaller than 32 pixels.

    Raises:
        ValueError: The shapes are not the same (H, W).

    References:
        Almeida and Figueiredo, IEEE Trans. Image Process. 22(7), 2013 (residual whiteness).
    """
    _check(noisy, denoised)
    residual = np.subtract(noisy, denoised, dtype=np.float64)
    if min(residual.shape) < 4 * _LAGS or not residual.any():
        return math.nan
    residual -= residual.mean()
    residual /= residual.std()
    rows, columns = residual.shape
    # Pad with zeros, so that shifts do not wrap.
    spectrum = np.fft.rfft2(residual, (rows + _LAGS, columns + _LAGS))
    products = np.fft.irfft2(np.square(np.abs(spectrum)), (rows + _LAGS, columns + _LAGS))
    shifts = np.arange(-_LAGS, _LAGS + 1)
    counts = np.outer(rows - np.abs(shifts), columns - np.abs(shifts))
    correlation = products[np.ix_(shifts, shifts)] / counts
    correlation[_LAGS, _LAGS] = 0
    return float(np.sqrt(np.square(correlation).sum() / (correlation.size - 1)))


def noise_left_blind(noisy: Image, denoised: Image) -> float:
    """Return the fraction of the noise, by standard deviation, left in the flattest squares.

    The flattest squares are the tenth of the squares of 16 × 16 pixels, between black and white,
    whose quadrants differ least in the noisy image; they are thus the same for every method. A
    surface of degree 2 is subtracted from each, and the result is the ratio of the median
    deviations.

    Args:
        noisy: Image before, (H, W).
        denoised: Image after, of the same shape.

    Returns:
        1 if nothing was done, 0 if no noise is left; NaN if there are no such squares or they have
        no noise.

    Raises:
        ValueError: The shapes are not the same (H, W).
    """
    _check(noisy, denoised)
    before, after = (_tiles(image) for image in (noisy, denoised))
    if not len(before):
        return math.nan
    low, span = float(np.min(noisy)), float(np.ptp(noisy))
    means = before.mean(axis=(1, 2))
    is_grey = (means > low + _GREY[0] * span) & (means < low + _GREY[1] * span)
    half = _TILE // 2
    quadrants = before.reshape(-1, 2, half, 2, half).mean(axis=(2, 4)).reshape(-1, 4)
    change = np.ptp(quadrants, axis=1)
    if not is_grey.any():
        return math.nan
    is_flat = is_grey & (change <= np.quantile(change[is_grey], _FLAT_SHARE))
    left = [float(np.median(_deviations(tiles[is_flat]))) for tiles in (before, after)]
    return left[1] / left[0] if left[0] > 0 else math.nan


def _tiles(image: Image) -> NDArray[np.float64]:
    """Return the squares of 16 × 16 pixels side by side, (squares, 16, 16)."""
    rows, columns = (length // _TILE for length in image.shape)
    part = np.asarray(image[: rows * _TILE, : columns * _TILE], np.float64)
    tiles = part.reshape(rows, _TILE, columns, _TILE).swapaxes(1, 2)
    return np.asarray(tiles.reshape(-1, _TILE, _TILE))


def _deviations(tiles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the standard deviation of each square minus its surface of degree 2."""
    axis = np.linspace(-1, 1, _TILE)
    y, x = (plane.ravel() for plane in np.meshgrid(axis, axis, indexing="ij"))
    basis = np.linalg.qr(np.stack([np.ones_like(x), x, y, x * y, x * x, y * y], axis=1))[0]
    flat = tiles.reshape(len(tiles), -1)
    rest = flat - flat @ basis @ basis.T
    return np.asarray(np.sqrt(np.square(rest).sum(axis=1) / (rest.shape[1] - basis.shape[1])))


def _check(noisy: Image, denoised: Image) -> None:
    if noisy.shape != denoised.shape or noisy.ndim != 2:
        raise ValueError(f"images of {noisy.shape} and {denoised.shape}; need one (H, W)")


@dataclass(frozen=True)
class BlindScore:
    """Scores of one result without a clean image.

    Attributes:
        folder: Folder of the results.
        image: Path of the original, relative to the folder of the originals.
        noise_left: See `noise_left_blind`.
        residual_correlation: See `residual_correlation`.
    """

    folder: str
    image: str
    noise_left: float
    residual_correlation: float


def score_without_reference(originals: Path, folders: Iterable[Path]) -> list[BlindScore]:
    """Score folders of results against their originals, paired by file name without extension.

    Raises:
        DatasetError: A folder is missing or empty, an original has no result, or the two differ in
            shape or have several frames.
        MonaiDentalError: An image cannot be read.
    """
    scores = []
    for folder in folders:
        for pair in read_pairs(str(originals), str(folder)):
            paths = Path(pair["image"]), Path(pair["label"])
            noisy, denoised = (read_radiograph(path).pixels for path in paths)
            try:
                measured = noise_left_blind(noisy, denoised), residual_correlation(noisy, denoised)
            except ValueError as error:
                raise DatasetError(f"{paths[1]}: {error} as the original has it") from error
            name = paths[0].relative_to(originals).as_posix()
            scores.append(BlindScore(str(folder), name, *measured))
    return scores


def format_blind(scores: Sequence[BlindScore]) -> str:
    """Return a table of the mean ± standard deviation over the images of each folder."""
    rows = [["folder", "images", "noise left", "residual correlation"]]
    for folder in dict.fromkeys(score.folder for score in scores):
        own = [score for score in scores if score.folder == folder]
        rows.append([
            folder, str(len(own)), _mean_sd([score.noise_left for score in own]),
            _mean_sd([score.residual_correlation for score in own]),
        ])  # fmt: skip
    return "\n".join([*aligned(rows), NOTE])


def _mean_sd(values: Sequence[float]) -> str:
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return "–"
    deviation = statistics.stdev(finite) if len(finite) > 1 else 0.0
    return f"{statistics.fmean(finite):.3f} ± {deviation:.3f}"
