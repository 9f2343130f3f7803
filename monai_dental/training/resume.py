"""Trainings that go on after a kill as if nothing had been."""

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
_SHIPPED = "model.pt"  # what bundles call the weights that they come with


class BestWeights:
    """Write a network's weights whenever a metric of the validation is lower than ever before.

    As MONAI's `CheckpointSaver` with `save_key_metric`, but what is the best is kept over a resumed
    training, and a kill leaves no half-written file. Values that are not finite are passed over.

    Weights that are there before are kept: those that a bundle came with as `model.shipped.pt`, for
    good, those of an earlier training as `model.previous.pt`.

    Attach it to the evaluator.

    Args:
        path: The file to write, a plain state dictionary.
        network: The network.
        metric: Name of a metric, the lower the better.
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
        """Set weights aside that were there before this training."""
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
        _LOGGER.info(f"the weights that were there are kept as {kept}")

    def require(self) -> None:
        """Check, after a training, that there was anything to write.

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
        """Take up the best value of an earlier run."""
        self.best = state["best"] if self.path.is_file() else None


class ResumableEarlyStop(EarlyStopHandler):
    """MONAI's `EarlyStopHandler` with a state that a resumed training can take up.

    Attach it to the trainer, which it ends; what it heeds is `evaluator`. Without that, as MONAI's,
    it is attached to the evaluator and told the trainer by `set_trainer`.

    Args:
        patience: How many validations without a better score end the training.
        score_function: What a validation scores, the higher the better; default: the lower
            `val_loss`, the better.
        trainer: The trainer, if it is not attached to that.
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
        """Return for how long the score has not risen, and the best score."""
        early_stopping: Any = self._handler
        return {"counter": early_stopping.counter, "best_score": early_stopping.best_score}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up the count of an earlier run."""
        early_stopping: Any = self._handler
        early_stopping.counter, early_stopping.best_score = state["counter"], state["best_score"]


class ResumableTraining:
    """Keep a checkpoint of a training; when it is started again, go on from there.

    After each epoch the state of all parts goes into the checkpoint, in one step. A training that
    finds one goes on after that epoch; one that ends removes it. Since every epoch has random
    numbers of its own, which `seed` and its number determine, a training that was killed and
    resumed ends with the same weights as one that was not.

    Attach it to the trainer after its `ValidationHandler` and what writes a history: a kill
    between the two then repeats an epoch, whose line is replaced, and none is missing. Of several
    processes that of rank 0 writes, and all read.

    Instead of numbers of their own, the epochs can share one stream of random numbers, whose state
    the checkpoint then has: torch's and NumPy's, as long as no other process draws from them, and
    those of `transform`.

    Args:
        path: The checkpoint.
        parts: What to keep, by name: anything with `state_dict` and `load_state_dict`.
        settings: What makes this training the one that it is, JSON-able: a checkpoint with other
            settings is refused.
        seed: Seed of all epochs; None for one stream of random numbers.
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
        self._random: Mapping[str, Any] | None = None  # where a resumed stream goes on

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer."""
        engine.add_event_handler(Events.STARTED, self.resume)
        engine.add_event_handler(Events.EPOCH_STARTED, self.seed_epoch)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.save)
        engine.add_event_handler(Events.COMPLETED, self.remove)

    def resume(self, engine: Engine) -> None:
        """Take up an earlier run's state, if there is any.

        Raises:
            BundleError: The checkpoint cannot be read, or belongs to another training.
        """
        if not self.path.is_file():
            return
        advice = "remove it to start anew, or set another ckpt_dir"
        try:
            checkpoint = torch.load(self.path, map_location="cpu", weights_only=True)
            settings = checkpoint["settings"]
        except Exception as error:  # noqa: BLE001 - whatever a damaged pickle or archive raises
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
        except Exception as error:  # noqa: BLE001 - each part has errors of its own
            raise BundleError(f"{self.path}: it does not fit this network; {advice}") from error
        self._random = checkpoint.get("random")
        engine.state.epoch = checkpoint["epoch"]
        engine.state.iteration = checkpoint["iteration"]
        _LOGGER.info(f"going on after epoch {engine.state.epoch}, from {self.path}")

    def seed_epoch(self, engine: Engine) -> None:
        """Give the epoch its own random numbers, or a resumed stream its state."""
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
    """Yield the random numbers of a transform and of those that it is made of."""
    if isinstance(transform, Randomizable):
        yield transform.R
    for part in vars(transform).values():
        for each in part if isinstance(part, list | tuple) else (part,):
            if isinstance(each, Transform):
                yield from _generators(each)


def _plain(state: Any) -> list[Any]:
    """Return the state of NumPy's random numbers as what `torch.load` takes for weights alone."""
    name, keys, *others = state
    return [name, keys.tolist(), *others]


def _save(content: Mapping[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_atomically(path, buffer.getvalue())
