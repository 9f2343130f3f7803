"""Ignite handlers that MONAI lacks."""

from __future__ import annotations

import csv
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events

HISTORY_FIELDS = ("epoch", "loss", "val_loss", "val_psnr", "seconds")


def negative_metric(name: str) -> Callable[[Engine], float]:
    """Return a score for early stopping that grows as a metric, such as a loss, falls.

    Args:
        name: A metric of the engine that the handler is attached to.
    """

    def score(engine: Engine) -> float:
        return -float(engine.state.metrics[name])

    return score


def outputs_of(engine: Engine) -> list[dict[str, Any]]:
    """Return the decollated outputs of an engine's iteration, one dictionary for each image."""
    output: Any = engine.state.output
    return list(output)


class History:
    """Write one line of CSV, and log one, for each epoch: mean loss, validation loss and PSNR.

    The fields of an epoch without validation stay empty.

    Attach it to the trainer after its `ValidationHandler`, whose results it reads.

    Args:
        path: The CSV file; an older one is replaced when the training starts.
        evaluator: The engine whose metrics `val_loss` and `val_psnr` are written.
        name: Name of the logger.
    """

    def __init__(self, path: str, evaluator: Engine, name: str | None = None) -> None:
        self.path = Path(path)
        self.evaluator = evaluator
        self.logger = logging.getLogger(name or __name__)
        self._losses: list[float] = []
        self._started = 0.0

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer."""
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.add_loss)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.write_epoch)

    def start(self, engine: Engine) -> None:
        """Begin a new file."""
        self._started = time.monotonic()
        self._losses = []
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._append(HISTORY_FIELDS, mode="w")

    def add_loss(self, engine: Engine) -> None:
        """Take the loss of one iteration."""
        self._losses.append(float(outputs_of(engine)[0]["loss"]))

    def write_epoch(self, engine: Engine) -> None:
        """Write and log the line of one epoch."""
        epoch, epochs = engine.state.epoch, engine.state.max_epochs or 0
        loss = sum(self._losses) / len(self._losses)
        self._losses = []
        seconds = time.monotonic() - self._started
        message = f"epoch {epoch}/{epochs}: loss {loss:.5f}"
        val_loss: float | str = ""
        val_psnr: float | str = ""
        if self.evaluator.state.epoch == epoch:  # else this epoch was not validated
            metrics = self.evaluator.state.metrics
            val_loss, val_psnr = float(metrics["val_loss"]), float(metrics["val_psnr"])
            message += f", validation loss {val_loss:.5f}, PSNR {val_psnr:.2f} dB (data range 1)"
        self._append((epoch, loss, val_loss, val_psnr, round(seconds, 2)), mode="a")
        self.logger.info(f"{message}; {seconds * (epochs / epoch - 1):.0f} s left")

    def _append(self, row: tuple[object, ...], mode: str) -> None:
        with self.path.open(mode, newline="", encoding="utf-8") as file:
            csv.writer(file).writerow(row)
