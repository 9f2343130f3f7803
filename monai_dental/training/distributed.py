"""Training in several processes, started by `torchrun`.

The number of processes changes nothing but rounding: all together they take the images, crops and
noise that one would take, batch by batch.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from torch import distributed
from torch.utils.data import Dataset, DistributedSampler

from monai_dental.errors import BundleError
from monai_dental.process.pool import end_with_parent


def local_device() -> torch.device:
    """Return the device of this process: its own GPU where there are GPUs, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    return torch.device("cpu")


def start() -> None:
    """Join the processes that `torchrun` started: by NCCL on GPUs, by gloo on CPUs.

    This process ends with `torchrun`, be that by SIGKILL: else it would train on, and write beside
    a training that is started again. (On Linux.)
    """
    end_with_parent()
    device = local_device()
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")


def is_main_process() -> bool:
    """Return whether this process writes the files: the one of rank 0, or the only one."""
    return not distributed.is_initialized() or distributed.get_rank() == 0


def on_main_process(function: Callable[..., Any], *arguments: Any) -> None:
    """Call a function in the process of rank 0 alone."""
    if is_main_process():
        function(*arguments)


def local_batch_size(batch_size: int) -> int:
    """Return how many images of a batch are this process's.

    Args:
        batch_size: Number of images of which all processes together take a step.

    Raises:
        BundleError: It cannot be divided among the processes.
    """
    count = distributed.get_world_size()
    if batch_size % count:
        raise BundleError(f"batch_size {batch_size}: need a multiple of the {count} processes")
    return batch_size // count


def outputs_of(engine: Engine) -> list[dict[str, Any]]:
    """Return the decollated outputs of an engine's iteration, one dictionary for each image."""
    output: Any = engine.state.output
    return list(output)


class SeededSampler(DistributedSampler[Any]):
    """Draw this process's share of an epoch: of each batch some images, each with a seed.

    What all processes draw together depends on seed and epoch alone, not on their number. Where an
    epoch cannot be divided among them, its first images are taken again.

    Args:
        dataset: The images.
        seed: Seed of all epochs.
        num_samples: Number of images of an epoch, drawn with replacement; None for each image
            once, in random order.
    """

    def __init__(self, dataset: Dataset[Any], seed: int, num_samples: int | None = None) -> None:
        super().__init__(dataset, seed=seed)
        self._draws = num_samples
        self._total = num_samples or len(dataset)  # type: ignore[arg-type]

    def __len__(self) -> int:
        """Return the number of images of this process."""
        return -(-self._total // self.num_replicas)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Return pairs of an image's index and a seed, for `SeededImages`."""
        random = np.random.default_rng([self.seed, self.epoch])
        count = len(self.dataset)  # type: ignore[arg-type]
        if self._draws is None:
            indices = random.permutation(count)
        else:
            indices = random.integers(count, size=self._draws)
        seeds = random.integers(2**32, size=self._total)
        for position in range(self.rank, len(self) * self.num_replicas, self.num_replicas):
            drawn = position % self._total
            yield int(indices[drawn]), int(seeds[drawn])


class SeededImages(Dataset[Any]):
    """The images of a MONAI dataset, whose random transforms take the seeds of `SeededSampler`.

    Args:
        dataset: A dataset whose `transform` is a `monai.transforms.Compose`.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.dataset)

    def __getitem__(self, drawn: tuple[int, int]) -> Any:
        """Return an image, transformed."""
        index, seed = drawn
        self.dataset.transform.set_random_state(seed=seed)
        return self.dataset[index]


class AverageLoss:
    """Make the loss of each iteration the mean over all processes.

    Attach it to the trainer before whatever reads the loss.
    """

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Replace the loss in the outputs of this iteration."""
        outputs = outputs_of(engine)
        loss = torch.as_tensor(outputs[0]["loss"]).detach().clone()
        distributed.all_reduce(loss)
        for output in outputs:
            output["loss"] = loss / distributed.get_world_size()
