"""Model observers: how well a known lesion is detected in an ensemble of images.

A channelized Hotelling observer sees an image through a few channels and weights their outputs to
separate lesions best from noise and anatomy. It is a linear observer without internal noise: an
upper bound for human readers and a fair way to compare processings, but not a reader study.

References:
    Myers & Barrett, J. Opt. Soc. Am. A 4(12), 1987 (channels). Barrett et al., Proc. SPIE 3340,
    1998 (estimation from samples). Abbey & Barrett, J. Opt. Soc. Am. A 18(3), 2001 (dense
    difference-of-Gaussian channels). Hanley & McNeil, Radiology 143(1), 1982 (Mann-Whitney area).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.floating[Any]]
Groups = NDArray[np.integer[Any]]

_WIDTH = 1.67  # of a channel's passband, from Abbey & Barrett
_FOLDS = 4
_RATE = 0.1  # of false positives in the reference, which sets the threshold
_SINGULAR = 1e-10  # eigenvalues below this fraction of the largest count as 0


@dataclass(frozen=True, eq=False)
class Trials:
    """Channel outputs of an ensemble, in the same order for all compared processings.

    Attributes:
        absent: Outputs for images without a lesion, (trials, channels).
        present: Outputs for images with a lesion, (trials, channels).
        groups: Background of each row of both, (trials,). Rows of a group are not independent and
            are never split between training and test.
    """

    absent: Values
    present: Values
    groups: Groups

    def __post_init__(self) -> None:
        if self.absent.ndim != 2 or self.absent.shape != self.present.shape:
            raise ValueError(
                f"absent {self.absent.shape} and present {self.present.shape} must both be "
                "(trials, channels)"
            )
        if self.groups.shape != self.absent.shape[:1]:
            raise ValueError(f"groups {self.groups.shape} must be ({len(self.absent)},)")

    def only(self, rows: NDArray[np.bool_]) -> Trials:
        """Return the trials of the given rows."""
        return Trials(self.absent[rows], self.present[rows], self.groups[rows])


@dataclass(frozen=True)
class Performance:
    """Performance of an observer on trials that it was not trained on; see `cross_validate`."""

    detectability: float
    auc: float
    false_positive_rate: float


def difference_of_gaussians(
    size: int, *, count: int = 10, lowest: float = 0.005, ratio: float = 1.4
) -> Values:
    """Return the dense difference-of-Gaussian channels of Abbey & Barrett (2001).

    Channel j passes exp(-(f / 1.67 s)² / 2) - exp(-(f / s)² / 2) of the frequency f, with s =
    lowest · ratio^j; it blocks the mean.

    Args:
        size: Height and width of the images in pixels.
        count: Number of channels.
        lowest: s of the first channel in cycles per pixel.
        ratio: Factor of s from one channel to the next.

    Returns:
        Channels, (count, size, size), each centred on pixel `size // 2` with a sum of squares of 1.

    Raises:
        ValueError: A number is out of its range.
    """
    if size < 2 or count < 1 or not lowest > 0 or not ratio > 1:
        raise ValueError(
            "need size >= 2, count >= 1, lowest > 0 and ratio > 1, got "
            f"{size}, {count}, {lowest}, {ratio}"
        )
    squared = np.square(np.fft.fftfreq(size))[:, None] + np.square(np.fft.rfftfreq(size))
    scales = np.square(lowest * ratio ** np.arange(count))[:, None, None]
    passed = np.exp(-squared / (2 * _WIDTH**2 * scales)) - np.exp(-squared / (2 * scales))
    channels = np.fft.fftshift(np.fft.irfft2(passed, s=(size, size)), axes=(1, 2))
    return np.asarray(channels / np.sqrt(np.square(channels).sum(axis=(1, 2), keepdims=True)))


def channelize(images: Values, channels: Values) -> Values:
    """Return the outputs of channels for images: their inner products.

    Args:
        images: (..., H, W).
        channels: (channels, H, W).

    Returns:
        Channel outputs, (..., channels), float64.

    Raises:
        ValueError: The images are not as high and wide as the channels.
    """
    if channels.ndim != 3 or images.ndim < 2 or images.shape[-2:] != channels.shape[1:]:
        raise ValueError(f"images {images.shape} do not fit channels {channels.shape}")
    outputs = np.tensordot(images, channels.astype(np.float64), axes=((-2, -1), (1, 2)))
    return np.asarray(outputs, dtype=np.float64)


def train_observer(trials: Trials) -> Values:
    """Return the Hotelling template: the inverse mean covariance times the mean difference.

    Returns:
        Weights of the channels, (channels,); `outputs @ template` is the decision variable.

    Raises:
        ValueError: There are no more trials than channels.

    References:
        Barrett et al., Proc. SPIE 3340, 1998.
    """
    count, channels = trials.absent.shape
    if count <= channels:
        raise ValueError(f"{count} trials cannot train {channels} channels; need more")
    covariance = np.cov(trials.absent.T) + np.cov(trials.present.T)
    inverse = np.linalg.pinv(np.atleast_2d(covariance) / 2, rcond=_SINGULAR, hermitian=True)
    return np.asarray(inverse @ (trials.present.mean(axis=0) - trials.absent.mean(axis=0)))


def detectability(absent: Values, present: Values) -> float:
    """Return d': the difference of the mean scores divided by the root of their mean variance.

    Raises:
        ValueError: A set has fewer than two scores, or neither varies.
    """
    if min(absent.size, present.size) < 2:
        raise ValueError(f"{absent.size} and {present.size} scores; need at least 2 of each")
    variance = (float(np.var(absent, ddof=1)) + float(np.var(present, ddof=1))) / 2
    if variance == 0:
        raise ValueError("the scores do not vary; need noise in the images")
    return float(present.mean() - absent.mean()) / math.sqrt(variance)


def area_under_curve(absent: Values, present: Values) -> float:
    """Return the area under the ROC curve: the fraction of pairs in the right order, ties as half.

    Raises:
        ValueError: A set is empty.
    """
    if not absent.size or not present.size:
        raise ValueError(f"{absent.size} and {present.size} scores; need some of each")
    ordered = np.sort(absent, axis=None)
    below = np.searchsorted(ordered, present.ravel(), side="left")
    not_above = np.searchsorted(ordered, present.ravel(), side="right")
    return float((below + not_above).mean() / 2 / absent.size)


def threshold_at(absent: Values, rate: float) -> float:
    """Return the threshold that a fraction `rate` (0 to 1) of the scores without a lesion exceeds.

    Raises:
        ValueError: The rate is not between 0 and 1, or there are no scores.
    """
    if not 0 < rate < 1 or not absent.size:
        raise ValueError(f"need a rate between 0 and 1 and scores, got {rate}, {absent.size}")
    return float(np.quantile(absent, 1 - rate))


def cross_validate(trials: Trials, reference: Trials) -> Performance:
    """Return the observer's performance on groups that it was not trained on, mean of 4 folds.

    Group g is tested in fold g % 4 and used for training in the others. Detectability and area are
    those of an observer trained on the same processing. The false-positive rate is that of an
    observer trained on the reference (the noisy images), whose threshold passes 10 % of the
    reference's own training images without a lesion. It shows whether a processing invents
    structures that this observer takes for a lesion.

    Args:
        trials: Trials of the processing to judge.
        reference: Trials of the images before it, with the same groups.

    Raises:
        ValueError: The groups differ, or a fold has too few trials to train or test on.
    """
    if not np.array_equal(trials.groups, reference.groups):
        raise ValueError("trials and reference have different groups; need the same backgrounds")
    results = []
    for fold in range(_FOLDS):
        test = trials.groups % _FOLDS == fold
        template, held_out = train_observer(trials.only(~test)), trials.only(test)
        absent, present = held_out.absent @ template, held_out.present @ template
        before = reference.only(~test)
        known = train_observer(before)
        threshold = threshold_at(before.absent @ known, _RATE)
        false = float(np.mean(held_out.absent @ known > threshold))
        results.append((detectability(absent, present), area_under_curve(absent, present), false))
    return Performance(*(float(value) for value in np.mean(results, axis=0)))


def jackknife(
    figures: Callable[[NDArray[np.bool_]], Values], groups: Groups
) -> tuple[Values, Values]:
    """Return statistics and their standard errors, leaving out one group at a time.

    The error thus includes the correlation within groups, and that of training if `figures` trains.

    Args:
        figures: Function from a mask of the rows to use, (rows,), to statistics, (K,).
        groups: Group of each row, (rows,).

    Returns:
        The statistics of all rows, (K,), and their standard errors, (K,).

    Raises:
        ValueError: There are fewer than two groups.
    """
    names = np.unique(groups)
    if len(names) < 2:
        raise ValueError(f"{len(names)} group; need at least 2 for a standard error")
    left_out = np.array([figures(groups != name) for name in names])
    errors = np.sqrt((len(names) - 1) * left_out.var(axis=0))
    return np.asarray(figures(np.ones(len(groups), dtype=np.bool_))), np.asarray(errors)


def compare(
    trials: Mapping[str, Trials], reference: str
) -> dict[str, dict[str, tuple[float, float]]]:
    """Return the observer's performance for each processing, with standard errors.

    Args:
        trials: Trials of each processing, with the same groups.
        reference: Key of the images before processing; see `cross_validate`.

    Returns:
        For each processing: d', its difference from the reference's, AUC and FPR, each with its
            jackknife error. The difference is paired, so its error is smaller than for two
            independent ensembles.
    """

    def figures(rows: NDArray[np.bool_]) -> Values:
        before = trials[reference].only(rows)
        results = [cross_validate(one.only(rows), before) for one in trials.values()]
        own = results[list(trials).index(reference)].detectability
        table = [
            (one.detectability, one.detectability - own, one.auc, one.false_positive_rate)
            for one in results
        ]
        return np.array(table).ravel()

    values, errors = jackknife(figures, trials[reference].groups)
    pairs = iter(zip(values.tolist(), errors.tolist(), strict=True))
    names = ("d'", f"d' - {reference}", "AUC", "FPR")
    return {method: {name: next(pairs) for name in names} for method in trials}


def contrast_to_noise(
    images: Values, lesion_mask: NDArray[np.bool_], surround_mask: NDArray[np.bool_]
) -> Values:
    """Return the mean of the lesion minus that of its surround, over the surround's deviation.

    For images with anatomy, pass the difference from the lesion-free, noise-free image; otherwise
    anatomy counts as contrast and as noise. This ratio ignores the noise's correlation and so
    favours blurring; detectability does not.

    Args:
        images: (..., H, W).
        lesion_mask: Pixels of the lesion, (H, W).
        surround_mask: Pixels to compare it with, (H, W).

    Returns:
        Ratios, (...), positive if the lesion is brighter than its surround.

    Raises:
        ValueError: The sizes differ, the masks overlap, or one has too few pixels.
    """
    if not images.shape[-2:] == lesion_mask.shape == surround_mask.shape:
        raise ValueError(
            f"images {images.shape}, lesion {lesion_mask.shape} and surround "
            f"{surround_mask.shape} differ in size"
        )
    if (lesion_mask & surround_mask).any():
        raise ValueError("lesion and surround overlap")
    if not lesion_mask.any() or surround_mask.sum() < 2:
        raise ValueError("need a pixel of lesion and two of surround")
    lesion = images[..., lesion_mask].mean(axis=-1, dtype=np.float64)
    surround = images[..., surround_mask].astype(np.float64)
    return np.asarray((lesion - surround.mean(axis=-1)) / surround.std(axis=-1, ddof=1))
