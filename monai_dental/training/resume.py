"""Trainings that resume after a kill with the same result as without it."""

from __future__ import annotations

import io
import json
import logging
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.handlers import EarlyStopHandler
from monai.transforms import Compose, Randomizable, Transform

from monai_dental.errors import BundleError
from monai_dental.files.atomic import write_atomically
from monai_dental.training.distributed import is_main_process, on_main_process
from monai_dental.training.handlers import negative_metric

_LOGGER = logging.getLogger(__name__)
_SHIPPED = "model.pt"  # file name of the weights shipped with a bundle


class BestWeights:
    """Write a network's weights whenever a validation metric reaches a new minimum.

    This is like MONAI's `CheckpointSaver` with `save_key_metric`, but it keeps the best value when
    a training is resumed, and a kill leaves no partial file. Non-finite values are ignored.

    Existing weights are kept: those shipped with a bundle permanently as `model.shipped.pt`, those
    of an earlier training as `model.previous.pt`.

    Attach it to the evaluator.

    Args:
        path: The file to write, a plain state dictionary.
        network: The network.
        metric: Name of the metric; lower is better.
    """

    def __init__(self, path: str, network: torch.nn.Module, metric: str = "val_loss") -> None:
        self.path = Path(path)
        self.network = network
        self.metric = metric
        self.best: float | None = None

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator."""
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Write the weights if they are the best so far."""
        value = float(engine.state.metrics[self.metric])
        if not math.isfinite(value):
            return
        if self.best is None:
            on_main_process(self._keep_earlier)
        if self.best is None or value < self.best:
            self.best = value
            on_main_process(_save, self.network.state_dict(), self.path)

    def _keep_earlier(self) -> None:
        """Rename weights that existed before this training."""
        if not self.path.is_file():
            return
        shipped, previous = (
            self.path.with_name(f"{self.path.stem}.{kind}{self.path.suffix}")
            for kind in ("shipped", "previous")
        )
        metadata = self.path.absolute().parents[1] / "configs" / "metadata.json"
        is_shipped = self.path.name == _SHIPPED and metadata.is_file() and not shipped.exists()
        kept = shipped if is_shipped else previous
        self.path.replace(kept)
        _LOGGER.info(f"the existing weights are kept as {kept}")

    def require(self) -> None:
        """Check after a training that weights were written.

        Raises:
            BundleError: The metric was never a finite number, or nothing was validated.
        """
        if self.best is None:
            raise BundleError(
                f"{self.path}: no weights written, since no epoch had a finite {self.metric}; need "
                "a lower learning_rate, or a val_interval within max_epochs"
            )

    def state_dict(self) -> dict[str, Any]:
        """Return the best value so far."""
        return {"best": self.best}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the best value of an earlier run."""
        self.best = state["best"] if self.path.is_file() else None


class ResumableEarlyStop(EarlyStopHandler):
    """MONAI's `EarlyStopHandler` with a state that a resumed training can restore.

    Attach it to the trainer that it stops; it monitors `evaluator`. Without `evaluator`, use it
    like MONAI's: attach it to the evaluator and set the trainer by `set_trainer`.

    Args:
        patience: Number of validations without a better score after which the training stops.
        score_function: Function that returns the score of a validation; higher is better. The
            default is the negative `val_loss`.
        trainer: The trainer, if this handler is not attached to it.
        evaluator: The engine of the validation.
    """

    def __init__(
        self,
        patience: int,
        score_function: Callable[[Engine], float] | None = None,
        trainer: Engine | None = None,
        *,
        evaluator: Engine | None = None,
    ) -> None:
        super().__init__(patience, score_function or negative_metric("val_loss"), trainer)
        self.evaluator = evaluator

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer, or without `evaluator` to an evaluator."""
        if self.evaluator is not None:
            self.set_trainer(engine)
        super().attach(self.evaluator or engine)

    def state_dict(self) -> dict[str, Any]:
        """Return the number of validations without improvement, and the best score."""
        early_stopping: Any = self._handler
        return {"counter": early_stopping.counter, "best_score": early_stopping.best_score}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the count of an earlier run."""
        early_stopping: Any = self._handler
        early_stopping.counter, early_stopping.best_score = state["counter"], state["best_score"]


class ResumableTraining:
    """Keep a checkpoint of a training, and resume from it when started again.

    After each epoch, the state of all parts is written atomically to the checkpoint. A training
    that finds one resumes after that epoch; a training that ends removes it. The random numbers of
    each epoch depend only on `seed` and the epoch's number, so a training that was killed and
    resumed ends with the same weights as an uninterrupted one.

    Attach it to the trainer after its `ValidationHandler` and any handler that writes a history. A
    kill between the two then repeats an epoch and replaces its line, instead of losing a line. Only
    the process of rank 0 writes; all read.

    Alternatively, the epochs can share one stream of random numbers, whose state is stored in the
    checkpoint: that of torch and NumPy, provided that no other process draws from them, and that of
    `transform`.

    Args:
        path: The checkpoint.
        parts: Objects to store, by name; each has `state_dict` and `load_state_dict`.
        settings: JSON-serializable settings that identify this training; a checkpoint with
            different settings is refused.
        seed: Seed for all epochs; None for one stream of random numbers.
        transform: The random transforms of the training images.
    """

    def __init__(
        self,
        path: str,
        parts: Mapping[str, Any],
        settings: Mapping[str, Any],
        *,
        seed: int | None,
        transform: Compose,
    ) -> None:
        self.path = Path(path)
        self.parts = dict(parts)
        self.settings: dict[str, Any] = json.loads(json.dumps(settings))
        self.seed = seed
        self.transform = transform
        self._random: Mapping[str, Any] | None = None  # state at which to resume the stream

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer."""
        engine.add_event_handler(Events.STARTED, self.resume)
        engine.add_event_handler(Events.EPOCH_STARTED, self.seed_epoch)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.save)
        engine.add_event_handler(Events.COMPLETED, self.remove)

    def resume(self, engine: Engine) -> None:
        """Restore the state of an earlier run, if there is one.

        Raises:
            BundleError: The checkpoint cannot be read, or belongs to another training.
        """
        if not self.path.is_file():
            return
        advice = "remove it to start again, or set another ckpt_dir"
        try:
            checkpoint = torch.load(self.path, map_location="cpu", weights_only=True)
            settings = checkpoint["settings"]
        except Exception as error:  # noqa: BLE001 - a damaged file may raise anything
            raise BundleError(f"{self.path}: not a checkpoint of a training; {advice}") from error
        names = sorted({*settings, *self.settings})
        others = [name for name in names if settings.get(name) != self.settings.get(name)]
        if others:
            raise BundleError(
                f"{self.path}: checkpoint of a training with other {', '.join(others)}; {advice}"
            )
        try:
            for name, part in self.parts.items():
                part.load_state_dict(checkpoint["parts"][name])
        except Exception as error:  # noqa: BLE001 - each part may raise its own errors
            raise BundleError(f"{self.path}: it does not fit this network; {advice}") from error
        self._random = checkpoint.get("random")
        engine.state.epoch = checkpoint["epoch"]
        engine.state.iteration = checkpoint["iteration"]
        _LOGGER.info(f"continuing after epoch {engine.state.epoch}, from {self.path}")

    def seed_epoch(self, engine: Engine) -> None:
        """Seed the epoch's random numbers, or restore a resumed stream's state."""
        if self.seed is None:
            if self._random is not None:
                self._set_random_state(self._random)
                self._random = None
            return
        seed = int(np.random.SeedSequence([self.seed, engine.state.epoch]).generate_state(1)[0])
        torch.manual_seed(seed)
        np.random.seed(seed)
        self.transform.set_random_state(seed=seed)

    def save(self, engine: Engine) -> None:
        """Write the checkpoint."""
        checkpoint = {
            "settings": self.settings,
            "epoch": engine.state.epoch,
            "iteration": engine.state.iteration,
            "parts": {name: part.state_dict() for name, part in self.parts.items()},
        }
        if self.seed is None:
            checkpoint["random"] = self._random_state()
        on_main_process(_save, checkpoint, self.path)

    def _random_state(self) -> dict[str, Any]:
        streams = [np.random.get_state(), *(r.get_state() for r in _generators(self.transform))]
        return {"torch": torch.get_rng_state(), "numpy": [_plain(state) for state in streams]}

    def _set_random_state(self, state: Mapping[str, Any]) -> None:
        torch.set_rng_state(state["torch"])
        general, *others = state["numpy"]
        np.random.set_state(tuple(general))
        for generator, kept in zip(_generators(self.transform), others, strict=True):
            generator.set_state(tuple(kept))

    def remove(self, engine: Engine) -> None:
        """Remove the checkpoint of a training that has ended."""
        if is_main_process():
            self.path.unlink(missing_ok=True)


def _generators(transform: object) -> Iterator[np.random.RandomState]:
    """Yield the random number generators of a transform and of its component transforms."""
    if isinstance(transform, Randomizable):
        yield transform.R
    for part in vars(transform).values():
        for each in part if isinstance(part, list | tuple) else (part,):
            if isinstance(each, Transform):
                yield from _generators(each)


def _plain(state: Any) -> list[Any]:
    """Return the state of NumPy's generator in a form that `torch.load` accepts as weights only."""
    name, keys, *others = state
    return [name, keys.tolist(), *others]


def _save(content: Mapping[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_atomically(path, buffer.getvalue())
