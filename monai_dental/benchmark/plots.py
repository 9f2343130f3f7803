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
from numpy.typing import NDArray

from monai_dental.handlers import outputs_of
from monai_dental.metrics import psnr

COLUMNS = 5
_ROWS = {"label": "original", "image": "noisy", "pred": "DAE", "median": "median 5 × 5"}


class ComparisonFigure:
    """Draw the first images of an evaluation: original, noisy, denoised, median-filtered.

    Under each stands its PSNR against the original, at data range 1.

    Args:
        path: The PNG file to write.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)
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
        """Keep the images of this iteration, as long as columns are left."""
        for item in outputs_of(engine)[: COLUMNS - len(self._samples)]:
            self._samples.append(
                {key: torch.as_tensor(item[key])[0].float().cpu().numpy() for key in _ROWS}
            )

    def write(self, engine: Engine) -> None:
        """Write the figure."""
        _save(draw_comparison(self._samples), self.path)


def draw_comparison(samples: Sequence[Mapping[str, NDArray[Any]]]) -> Figure:
    """Draw images in rows original, noisy, DAE, median; one column for each sample.

    Args:
        samples: For each column, images (H, W) in [0, 1] under `label`, `image`, `pred`, `median`.

    Returns:
        The figure.
    """
    figure = Figure(figsize=(2.1 * len(samples) + 0.4, 2.35 * len(_ROWS)), layout="constrained")
    axes = figure.subplots(len(_ROWS), len(samples), squeeze=False)
    for row, (key, title) in zip(axes, _ROWS.items(), strict=True):
        row[0].set_ylabel(title, fontsize=11)
        for axis, sample in zip(row, samples, strict=True):
            axis.imshow(sample[key], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            axis.set_xticks([])
            axis.set_yticks([])
            if key == "label":
                axis.set_xlabel("reference", fontsize=9)
            else:
                decibels = psnr(np.asarray(sample[key]), np.asarray(sample["label"]), 1.0)
                axis.set_xlabel(f"{decibels:.2f} dB", fontsize=9)
    figure.suptitle("PSNR against the original, data range 1", fontsize=11)
    return figure


def plot_training(output_dir: str) -> None:
    """Draw loss and PSNR per epoch: `history.csv` of a folder to `figures/training.png` in it.

    Args:
        output_dir: Output folder of a training.
    """
    with (Path(output_dir) / "history.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    losses, decibels = figure.subplots(1, 2)
    losses.plot(*_curve(rows, "loss"), label="training")
    losses.plot(*_curve(rows, "val_loss"), label="validation")
    losses.set(xlabel="epoch", ylabel="loss (binary cross-entropy)")
    losses.legend()
    decibels.plot(*_curve(rows, "val_psnr"), color="C1")
    decibels.set(xlabel="epoch", ylabel="validation PSNR in dB (data range 1)")
    for axis in (losses, decibels):
        axis.grid(alpha=0.3)
    _save(figure, Path(output_dir) / "figures" / "training.png")


def _curve(rows: Sequence[Mapping[str, str]], field: str) -> tuple[list[int], list[float]]:
    filled = [row for row in rows if row[field]]
    return [int(row["epoch"]) for row in filled], [float(row[field]) for row in filled]


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=130)
