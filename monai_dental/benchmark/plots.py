"""Figures of a training and of an evaluation."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from monai_dental.metrics import psnr
from monai_dental.training.distributed import outputs_of

COLUMNS = 5
_ROWS = {"label": "original", "image": "noisy", "pred": "denoised", "median": "median 5 × 5"}


class ComparisonFigure:
    """Draw the first images of an evaluation: original, noisy, denoised, median-filtered.

    Each image is labelled with its PSNR against the original, at data range 1.

    Args:
        path: The PNG file to write.
        title: What the denoised images are called.
    """

    def __init__(self, path: str, title: str = "denoised") -> None:
        self.path = Path(path)
        self.title = title
        self._samples: list[Mapping[str, NDArray[Any]]] = []

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator whose outputs have `label`, `image`, `pred` and `median`."""
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.add_images)
        engine.add_event_handler(Events.COMPLETED, self.write)

    def start(self, engine: Engine) -> None:
        """Forget the images of an earlier evaluation."""
        self._samples = []

    def add_images(self, engine: Engine) -> None:
        """Keep the images of this iteration while columns are free."""
        for item in outputs_of(engine)[: COLUMNS - len(self._samples)]:
            self._samples.append(
                {key: torch.as_tensor(item[key])[0].float().cpu().numpy() for key in _ROWS}
            )

    def write(self, engine: Engine) -> None:
        """Write the figure."""
        _save(draw_comparison(self._samples, self.title), self.path)


def draw_comparison(
    samples: Sequence[Mapping[str, NDArray[Any]]], title: str = "denoised"
) -> Figure:
    """Draw samples in columns; the rows are original, noisy, denoised and median.

    Args:
        samples: For each column, images (H, W) in [0, 1] under `label`, `image`, `pred`, `median`.
        title: What the denoised images are called.
    """
    figure = Figure(figsize=(2.1 * len(samples) + 0.4, 2.35 * len(_ROWS)), layout="constrained")
    axes = figure.subplots(len(_ROWS), len(samples), squeeze=False)
    for row, (key, name) in zip(axes, {**_ROWS, "pred": title}.items(), strict=True):
        row[0].set_ylabel(name, fontsize=11)
        for axis, sample in zip(row, samples, strict=True):
            axis.imshow(sample[key], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            axis.set(xticks=[], yticks=[])
            if key == "label":
                axis.set_xlabel("reference", fontsize=9)
            else:
                decibels = psnr(np.asarray(sample[key]), np.asarray(sample["label"]), 1.0)
                axis.set_xlabel(f"{decibels:.2f} dB", fontsize=9)
    figure.suptitle("PSNR against the original, data range 1", fontsize=11)
    return figure


class DenoisedFigures:
    """Draw the first images of an inference: noisy, denoised, what was removed, and a detail.

    Args:
        output_dir: Folder for the figures: one PNG per image, `1.png`, `2.png` and so on.
        count: Number of images to draw.
    """

    def __init__(self, output_dir: str, count: int = 4) -> None:
        self.output_dir = Path(output_dir)
        self.count = count
        self._drawn = 0

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator whose outputs have `image` and `pred`."""
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def start(self, engine: Engine) -> None:
        """Count from the first image again."""
        self._drawn = 0

    def __call__(self, engine: Engine) -> None:
        """Draw the images of this iteration until `count` are drawn."""
        for item in outputs_of(engine)[: self.count - self._drawn]:
            self._drawn += 1
            noisy, denoised = (
                torch.as_tensor(item[key])[0].float().cpu().numpy() for key in ("image", "pred")
            )
            _save(draw_denoised(noisy, denoised), self.output_dir / f"{self._drawn}.png")


def draw_denoised(noisy: NDArray[Any], denoised: NDArray[Any]) -> Figure:
    """Draw an image before and after, the residual, and a detail of all three.

    The residual is scaled to four of its standard deviations on either side of grey: if it looks
    like noise, noise was removed; if it shows teeth, anatomy was. The detail, of at most 128 × 128
    pixels, lies where the denoised image varies most.

    Args:
        noisy: (H, W), in [0, 1].
        denoised: The same image denoised, (H, W).
    """
    residual = noisy - denoised
    reach = max(4 * float(residual.std()), 1e-6)
    detail = _busiest(denoised, 128)
    height, width = noisy.shape
    figure = Figure(figsize=(13, 4.4 * (min(height / width, 2) + 1)), layout="constrained")
    ratios = [min(height / width, 2), 1]
    axes = figure.subplots(2, 3, squeeze=False, gridspec_kw={"height_ratios": ratios})
    titles = ("noisy", "denoised", f"noisy - denoised, grey ± {reach:.4f} of the range")
    low, high = float(denoised.min()), float(denoised.max())
    for column, (title, image) in enumerate(zip(titles, (noisy, denoised, residual), strict=True)):
        limits = (-reach, reach) if column == 2 else (low, high)
        for row, shown in enumerate((image, image[detail])):
            axis = axes[row][column]
            axis.imshow(shown, cmap="gray", vmin=limits[0], vmax=limits[1], interpolation="nearest")
            axis.set(xticks=[], yticks=[])
        axes[0][column].set_title(title, fontsize=11)
    rows, columns = detail
    axes[1][0].set_ylabel(
        f"rows {rows.start} to {rows.stop}, columns {columns.start} to {columns.stop}"
    )
    return figure


def _busiest(image: NDArray[Any], side: int) -> tuple[slice, slice]:
    """Return the square of at most `side` pixels in which an image varies most."""
    height, width = image.shape
    side = min(side, height, width)
    tops, lefts = (range(0, length - side + 1, max(side // 2, 1)) for length in image.shape)
    top, left = max(
        ((top, left) for top in tops for left in lefts),
        key=lambda corner: float(
            image[corner[0] : corner[0] + side, corner[1] : corner[1] + side].std()
        ),
    )
    return slice(top, top + side), slice(left, left + side)


def plot_training(output_dir: str) -> None:
    """Draw loss and PSNR per epoch from a folder's `history.csv` to its `figures/training.png`."""
    with (Path(output_dir) / "history.csv").open(newline="", encoding="utf-8") as file:
        figure = draw_training(list(csv.DictReader(file)))
    _save(figure, Path(output_dir) / "figures" / "training.png")


def draw_training(rows: Sequence[Mapping[str, str]]) -> Figure:
    """Draw loss and PSNR per epoch.

    Args:
        rows: Lines of a history: `epoch`, `loss`, `val_loss`, and `val_psnr` if present.
    """
    has_psnr = bool(rows) and "val_psnr" in rows[0]  # absent if there are no clean images
    figure = Figure(figsize=(9 if has_psnr else 5, 3.6), layout="constrained")
    losses, *others = figure.subplots(1, 2 if has_psnr else 1, squeeze=False)[0]
    losses.plot(*_curve(rows, "loss"), label="training")
    losses.plot(*_curve(rows, "val_loss"), label="validation")
    losses.set(xlabel="epoch", ylabel="loss")
    losses.legend()
    for decibels in others:
        decibels.plot(*_curve(rows, "val_psnr"), color="C1")
        decibels.set(xlabel="epoch", ylabel="validation PSNR in dB (data range 1)")
    for axis in (losses, *others):
        axis.grid(alpha=0.3)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def _curve(rows: Sequence[Mapping[str, str]], field: str) -> tuple[list[int], list[float]]:
    filled = [row for row in rows if row[field]]
    return [int(row["epoch"]) for row in filled], [float(row[field]) for row in filled]


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=130)
