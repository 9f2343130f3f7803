"""Ignite handlers that MONAI lacks."""

from __future__ import annotations

import csv
import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.engines import IterationEvents, Trainer
from torch import Tensor
from torch.optim.lr_scheduler import OneCycleLR
from torch.optim.swa_utils import AveragedModel

from monai_dental.training.distributed import is_main_process, outputs_of

_MEMORY = 10  # a mean over n steps reaches back over the last n / 10
_NORMS = 10_000  # number of gradients to remember


def negative_metric(name: str) -> Callable[[Engine], float]:
    """Return a score for early stopping that rises as a metric, such as a loss, falls.

    Args:
        name: A metric of the engine that the handler is attached to.
    """

    def score(engine: Engine) -> float:
        return -float(engine.state.metrics[name])

    return score


class AutoClip:
    """Clip each gradient to a percentile of the norms of the last 10,000 gradients.

    Networks without normalization layers occasionally get a gradient many times larger than all
    before and do not recover. What counts as large depends on the loss and the noise, so no fixed
    limit fits.

    Attach it to the trainer. With MONAI's `amp`, gradients are unscaled first. Non-finite gradients
    are left to the trainer's scaler, which skips the step and reduces its scale.

    Args:
        network: The network that is trained.
        percentile: Percentile of the norms so far, in percent.

    References:
        Seetharaman et al., AutoClip: Adaptive gradient clipping for source separation networks,
        MLSP 2020.
    """

    def __init__(self, network: torch.nn.Module, percentile: float = 10.0) -> None:
        self.network = network
        self.percentile = percentile
        self.norms: list[float] = []

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer."""
        engine.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Clip the gradient of this iteration; without `amp`, zero a non-finite one."""
        trainer: Any = engine
        scaler = getattr(trainer, "scaler", None)
        is_scaled = scaler is not None and scaler.is_enabled()
        if is_scaled:
            trainer.scaler.unscale_(trainer.optimizer)
        parameters = list(self.network.parameters())
        gradients = [p.grad for p in parameters if p.grad is not None]
        norm = float(torch.nn.utils.get_total_norm(gradients))
        if math.isfinite(norm):
            self.norms.append(norm)
            del self.norms[:-_NORMS]
            limit = float(np.percentile(self.norms, self.percentile))
            torch.nn.utils.clip_grads_with_norm_(parameters, limit, torch.tensor(norm))
        elif not is_scaled:
            for gradient in gradients:
                gradient.zero_()

    def state_dict(self) -> dict[str, Any]:
        """Return the norms so far."""
        return {"norms": self.norms}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the norms of an earlier run."""
        self.norms = list(state["norms"])


class RestartSchedule:
    """Restart a learning rate schedule if the run that starts would exceed it.

    In federated learning, each round runs the trainer again for a round's epochs, and the schedule
    has steps for one round. Without a restart, the second round would run past its end.

    Attach it to the trainer.

    Args:
        lr_scheduler: A schedule that steps once per iteration and has not started yet.
    """

    def __init__(self, lr_scheduler: OneCycleLR) -> None:
        self.lr_scheduler = lr_scheduler
        self._first = deepcopy(lr_scheduler.state_dict())
        self._rates = [group["lr"] for group in lr_scheduler.optimizer.param_groups]

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer."""
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Restart the schedule if it has too few steps left for this run."""
        state = engine.state
        steps = ((state.max_epochs or 0) - state.epoch) * (state.epoch_length or 0)
        if self.lr_scheduler.last_epoch + steps <= self.lr_scheduler.total_steps:
            return
        self.lr_scheduler.load_state_dict(deepcopy(self._first))
        for group, rate in zip(self.lr_scheduler.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate


class History:
    """Write and log one line of CSV per epoch: the mean loss and the validation metrics.

    For an epoch without validation, the metric fields stay empty. A resumed training continues the
    file of the earlier run. Only the process of rank 0 writes.

    Attach it to the trainer after its `ValidationHandler`, whose results it reads.

    Args:
        path: The CSV file; an existing one is replaced when the first epoch starts.
        evaluator: The engine whose metrics to write.
        metrics: Names of these metrics.
        name: Name of the logger.
    """

    def __init__(
        self,
        path: str,
        evaluator: Engine,
        metrics: Sequence[str] = ("val_loss", "val_psnr"),
        *,
        name: str | None = None,
    ) -> None:
        self.path = Path(path)
        self.evaluator = evaluator
        self.metrics = tuple(metrics)
        self.logger = logging.getLogger(name or __name__)
        self._losses: list[float] = []
        self._started = 0.0
        self._done: int | None = None  # epochs of earlier runs; None until the first epoch starts

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer."""
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.EPOCH_STARTED, self.start_epoch)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.add_loss)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.write_epoch)

    def start(self, engine: Engine) -> None:
        """Start the clock."""
        self._started = time.monotonic()
        self._done = None

    def start_epoch(self, engine: Engine) -> None:
        """Before the first epoch, start a new file with the lines of the epochs already done."""
        self._losses = []
        if self._done is not None or not is_main_process():
            return
        self._done = engine.state.epoch - 1
        rows = self._read_rows(up_to=self._done) if self._done else []
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._write([("epoch", "loss", *self.metrics, "seconds"), *rows], mode="w")

    def add_loss(self, engine: Engine) -> None:
        """Record the loss of one iteration."""
        self._losses.append(float(outputs_of(engine)[0]["loss"]))

    def write_epoch(self, engine: Engine) -> None:
        """Write and log the line of one epoch."""
        if not is_main_process():
            return
        epoch, epochs = engine.state.epoch, engine.state.max_epochs or 0
        loss = sum(self._losses) / len(self._losses)
        seconds = time.monotonic() - self._started
        message = f"epoch {epoch}/{epochs}: loss {loss:.5f}"
        values: list[float | str] = [""] * len(self.metrics)
        if self.evaluator.state.epoch == epoch:  # else there was no validation in this epoch
            values = [float(self.evaluator.state.metrics[name]) for name in self.metrics]
            described = zip(self.metrics, values, strict=True)
            message += "".join(f", {_describe(name, value)}" for name, value in described)
        self._write([(epoch, loss, *values, round(seconds, 2))], mode="a")
        left = seconds * (epochs - epoch) / (epoch - (self._done or 0))
        self.logger.info(f"{message}; {left:.0f} s left")

    def _read_rows(self, up_to: int) -> list[tuple[str, ...]]:
        if not self.path.is_file():
            return []
        with self.path.open(newline="", encoding="utf-8") as file:
            rows = [tuple(row) for row in csv.reader(file)][1:]
        whole = [
            row for row in rows if len(row) == len(self.metrics) + 3
        ]  # a kill may truncate the last line
        return [row for row in whole if int(row[0]) <= up_to]

    def _write(self, rows: Iterable[tuple[object, ...]], mode: str) -> None:
        with self.path.open(mode, newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)


def _describe(name: str, value: float | str) -> str:
    if name == "val_psnr":
        return f"PSNR {value:.2f} dB (data range 1)"
    return f"{'validation loss' if name == 'val_loss' else name} {value:.5f}"


class WeightAverage:
    """Keep a running mean of a network's weights, by which to judge a training.

    The mean covers about the last tenth of the steps so far, up to `1 / momentum` steps. It
    restarts if a run finds that the network's weights were replaced since the last step, as in each
    round of federated learning.

    Attach it to the trainer, and to the evaluator, which must use `network`, the mean.

    Args:
        network: The network that is trained.
        momentum: Minimum weight of the newest weights in the mean.

    Raises:
        ValueError: The momentum is not greater than 0 and at most 1.

    References:
        Polyak and Juditsky, SIAM J. Control Optim. 30(4), 1992.
    """

    def __init__(self, network: torch.nn.Module, momentum: float) -> None:
        if not 0 < momentum <= 1:
            raise ValueError(f"momentum is {momentum:g}; need more than 0 and at most 1")
        self._momentum = momentum
        self._trained = getattr(network, "module", network)  # inside DistributedDataParallel
        self._mean = AveragedModel(self._trained, multi_avg_fn=self._update)
        self._seen: list[int] | None = None

    @property
    def network(self) -> torch.nn.Module:
        """The network with the mean of the weights."""
        return self._mean.module

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer or an evaluator."""
        engine.add_event_handler(Events.STARTED, self._begin)
        if isinstance(engine, Trainer):
            engine.add_event_handler(Events.ITERATION_COMPLETED, self._step)

    def state_dict(self) -> dict[str, Any]:
        """Return the mean and its number of steps."""
        return self._mean.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the mean of an earlier run."""
        self._mean.load_state_dict(state)
        self._seen = None  # the network's weights are restored too

    def _begin(self) -> None:
        is_new = not self._mean.n_averaged or (self._seen or self._versions()) != self._versions()
        if is_new:
            self._mean.n_averaged.zero_()
            self._mean.module.load_state_dict(self._trained.state_dict())

    def _step(self) -> None:
        self._mean.update_parameters(self._trained)
        self._seen = self._versions()

    def _versions(self) -> list[int]:
        """Return how often each of the network's parameters was written."""
        return [weight._version for weight in self._trained.parameters()]

    @torch.no_grad()
    def _update(self, means: Any, weights: Any, count: Tensor | int) -> None:
        share = max(self._momentum, _MEMORY / (int(count) + _MEMORY))
        torch._foreach_lerp_(means, weights, share)
