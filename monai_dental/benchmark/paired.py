"""Paired comparisons of methods that were scored on the same images."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from monai_dental.benchmark.scores import METHOD_TITLES, Score, aligned, write_scores
from monai_dental.errors import DatasetError, OutputError
from monai_dental.files.atomic import write_atomically
from monai_dental.files.outputs import prepare_output_folder

_DRAWS = 10_000  # of the bootstrap, and of signs if there are too many to try all
_CONFIDENCE = 0.95
_METRICS: Mapping[str, Callable[[Score], float]] = {
    "psnr": lambda score: score.psnr - 20 * math.log10(score.psnr_data_range),
    "ssim": lambda score: score.ssim,
}
_UNITS = {"psnr": ("PSNR, dB (data range 1)", 2), "ssim": ("SSIM (data range 1)", 4)}


@dataclass(frozen=True)
class Difference:
    """Difference between a method's scores and a reference's on the same images.

    Attributes:
        protocol: "honest" or "published".
        metric: "psnr", in dB with a data range of 1, or "ssim".
        method: The method.
        reference: The method that it is compared with.
        images: Number of images.
        patients: Number of patients.
        mean: Mean over the images of the method's score minus the reference's.
        low: Lower end of the 95% confidence interval of the mean.
        high: Upper end.
        p: p-value of the paired test.
        p_holm: p-value corrected for the number of methods.
    """

    protocol: str
    metric: str
    method: str
    reference: str
    images: int
    patients: int
    mean: float
    low: float
    high: float
    p: float
    p_holm: float


def compare_methods(
    scores: Sequence[Score], reference: str, patients: Mapping[str, str] | None = None
) -> list[Difference]:
    """Compare each method with a reference if both were scored on exactly the same images.

    The confidence interval comes from percentiles of 10,000 bootstrap draws over patients, as a
    patient's images are not independent. The test flips the signs of the patients' mean
    differences: in all possible ways if they are few, else in 10,000 random ways. Both have a fixed
    seed.

    Args:
        scores: As `read_scores` returns them.
        reference: The method that the others are compared with.
        patients: The patient of each image, by its name in the scores; None to use the scores' own
            patients.

    Raises:
        DatasetError: The reference was not scored, or no other method was scored on its images.

    References:
        Efron and Tibshirani, An Introduction to the Bootstrap, 1993. Good, Permutation, Parametric
        and Bootstrap Tests of Hypotheses, 2005. Holm, Scand. J. Stat. 6(2), 1979.
    """
    tables: dict[tuple[str, str], dict[tuple[str, str], Score]] = {}
    for score in scores:
        by_image = tables.setdefault((score.protocol, score.method), {})
        by_image[score.image, score.digest] = score
    if not any(method == reference for _, method in tables):
        known = ", ".join(sorted({method for _, method in tables}))
        raise DatasetError(f"{reference}: no scores of this method; there are {known}")
    found = []
    for metric, value in _METRICS.items():
        for protocol in dict.fromkeys(protocol for protocol, _ in tables):
            base = tables.get((protocol, reference), {})
            others = {
                method: own
                for (of, method), own in tables.items()
                if of == protocol and method != reference and own.keys() == base.keys()
            }
            groups = _groups(list(base.values()), patients)
            measured = [
                np.array([value(own[image]) - value(base[image]) for image in base])
                for own in others.values()
            ]
            p_values = [_sign_test(_means(each, groups)) for each in measured]
            found += [
                Difference(
                    protocol, metric, method, reference, len(base), int(groups.max()) + 1,
                    float(each.mean()), *_interval(each, groups), p, p_holm,
                )
                for method, each, p, p_holm in zip(
                    others, measured, p_values, holm(p_values), strict=True
                )
            ]  # fmt: skip
    if not found:
        raise DatasetError(f"{reference}: no other method was scored on exactly its images")
    return found


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number by Holm's step-down procedure."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = highest
    return corrected


def _groups(scores: Sequence[Score], patients: Mapping[str, str] | None) -> NDArray[np.intp]:
    """Return the number of each score's patient; an image without one counts as its own patient."""
    names = [
        patients[score.image] if patients is not None else score.patient or f"image {score.image}"
        for score in scores
    ]
    order = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([order[name] for name in names], np.intp)


def _means(differences: NDArray[np.float64], groups: NDArray[np.intp]) -> NDArray[np.float64]:
    means: NDArray[np.float64] = np.bincount(groups, differences) / np.bincount(groups)
    return means


def _interval(differences: NDArray[np.float64], groups: NDArray[np.intp]) -> tuple[float, float]:
    sums, counts = np.bincount(groups, differences), np.bincount(groups)
    drawn = np.random.default_rng(0).integers(len(sums), size=(_DRAWS, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    tail = 50 * (1 - _CONFIDENCE)
    low, high = np.percentile(means, [tail, 100 - tail])
    return float(low), float(high)


def _sign_test(means: NDArray[np.float64]) -> float:
    """Return the fraction of sign flips with a mean at least as far from 0 as the observed one."""
    is_few = 2 ** len(means) <= _DRAWS
    if is_few:
        signs = np.array(list(itertools.product((1, -1), repeat=len(means))))
    else:
        signs = np.random.default_rng(0).choice((1, -1), size=(_DRAWS, len(means)))
    extreme = np.abs(signs @ means) >= abs(means.sum()) * (1 - 1e-12)
    return float(extreme.mean() if is_few else (1 + extreme.sum()) / (1 + _DRAWS))


def format_differences(differences: Sequence[Difference]) -> str:
    """Return tables for a terminal, one for each protocol and metric."""
    return "\n\n".join(
        "\n".join(aligned(rows)) + f"\n{caption}" for caption, rows in _tables(differences)
    )


def format_latex(differences: Sequence[Difference]) -> str:
    """Return the same tables for LaTeX, with the package booktabs."""
    return "\n".join(
        "\n".join([
            r"\begin{table}", r"\centering", rf"\caption{{{_escaped(caption)}}}",
            r"\begin{tabular}{lrrrr}", r"\toprule", _latex_row(rows[0]), r"\midrule",
            *map(_latex_row, rows[1:]), r"\bottomrule", r"\end{tabular}", r"\end{table}", "",
        ])
        for caption, rows in _tables(differences)
    )  # fmt: skip


def write_differences(differences: Sequence[Difference], path: Path) -> None:
    """Write the differences to a file: CSV, or LaTeX if its name ends in `.tex`.

    Raises:
        OutputError: The file cannot be written, or its name has another ending.
    """
    if path.suffix == ".csv":
        write_scores(differences, path, Difference)
    elif path.suffix == ".tex":
        prepare_output_folder(path.parent, overwrite=True)
        write_atomically(path, format_latex(differences).encode())
    else:
        raise OutputError(
            f"{path}: cannot be written in that format; need a name that ends in .csv or .tex"
        )


def _tables(differences: Sequence[Difference]) -> list[tuple[str, list[list[str]]]]:
    tables = []
    for key in dict.fromkeys((each.protocol, each.metric) for each in differences):
        own = [each for each in differences if (each.protocol, each.metric) == key]
        title, digits = _UNITS[key[1]]
        one = own[0]
        rows = [["method", "difference", "95% CI", "p", "p (Holm)"]]
        rows += [
            [
                METHOD_TITLES.get(each.method, each.method), f"{each.mean:+.{digits}f}",
                f"[{each.low:+.{digits}f}, {each.high:+.{digits}f}]", _p(each.p), _p(each.p_holm),
            ]
            for each in own
        ]  # fmt: skip
        reference = METHOD_TITLES.get(one.reference, one.reference)
        caption = (
            f"{title}, {key[0]} protocol: minus that of {reference}; {one.images} images of "
            f"{one.patients} patients. Bootstrap over patients, paired sign-flip test."
        )
        tables.append((caption, rows))
    return tables


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(map(_escaped, cells)) + r" \\"


def _escaped(text: str) -> str:
    for character in "&%$#_{}":
        text = text.replace(character, f"\\{character}")
    return text.replace("->", r"$\to$").replace("<", "$<$")
