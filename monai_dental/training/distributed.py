"""Training in several processes, started by `torchrun`.

The number of processes affects only rounding: together they use the same images, crops and noise,
batch by batch, as a single process.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from torch import Tensor, distributed
from torch.distributed.nn.functional import all_reduce
from torch.utils.data import Dataset, DistributedSampler

from monai_dental.errors import BundleError
from monai_dental.process.pool import end_with_parent


def local_device() -> torch.device:
    """Return the device of this process: its own GPU if there are GPUs, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    return torch.device("cpu")


def start() -> None:
    """Join the processes that `torchrun` started, with NCCL on GPUs or gloo on CPUs.

    On Linux, this process ends with `torchrun`, even if that is killed by SIGKILL. Otherwise it
    would keep training and write to the same files as a restarted training.

    Raises:
        BundleError: `torchrun` has already ended; joining would wait half an hour for the others.
    """
    end_with_parent()
    _check_launcher()
    device = local_device()
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")


def _check_launcher() -> None:
    """Raise an error if `torchrun` has ended: it listens before it starts this process."""
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return
    place = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    try:
        socket.create_connection(place, timeout=60).close()
    except ConnectionRefusedError:
        raise BundleError("torchrun has ended; run the same command again") from None


def is_main_process() -> bool:
    """Return whether this process writes the files: it has rank 0, or is the only one."""
    return not distributed.is_initialized() or distributed.get_rank() == 0


def on_main_process(function: Callable[..., Any], *arguments: Any) -> None:
    """Call a function only in the process of rank 0."""
    if is_main_process():
        function(*arguments)


def local_batch_size(batch_size: int) -> int:
    """Return the number of images of a batch that this process handles.

    Args:
        batch_size: Number of images per training step, all processes together.

    Raises:
        BundleError: The batch cannot be divided evenly among the processes.
    """
    count = distributed.get_world_size()
    if batch_size % count:
        raise BundleError(f"batch_size {batch_size}: need a multiple of the {count} processes")
    return batch_size // count


def mean_of_processes(value: Tensor) -> Tensor:
    """Return the mean of a value over all training processes, with its gradient.

    All processes must call this equally often. Without gradients, as in validation, it therefore
    returns the value itself.

    Args:
        value: A tensor of the same shape in all processes.
    """
    if not distributed.is_initialized() or not torch.is_grad_enabled():
        return value
    total: Tensor = all_reduce(value)  # type: ignore[no-untyped-call]
    return total / distributed.get_world_size()


def outputs_of(engine: Engine) -> list[dict[str, Any]]:
    """Return the decollated outputs of an engine's iteration, one dictionary per image."""
    output: Any = engine.state.output
    return list(output)


class SeededSampler(DistributedSampler[Any]):
    """Draw this process's share of each batch of an epoch, with a seed for each image.

    The draws of all processes together depend only on seed and epoch, not on the number of
    processes. If an epoch cannot be divided evenly among them, its first images are repeated.

    Args:
        dataset: The images.
        seed: Seed for all epochs.
        num_samples: Number of images per epoch, drawn with replacement; None to draw each image
            once, in random order.
        weights: Relative sampling weight of each image; None for equal weights.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        seed: int,
        num_samples: int | None = None,
        weights: Sequence[float] | None = None,
    ) -> None:
        super().__init__(dataset, seed=seed)
        self._draws = num_samples
        self._shares = None if weights is None else np.array(weights) / np.sum(weights)
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
            indices = random.choice(count, size=self._draws, p=self._shares)
        seeds = random.integers(2**32, size=self._total)
        for position in range(self.rank, len(self) * self.num_replicas, self.num_replicas):
            drawn = position % self._total
            yield int(indices[drawn]), int(seeds[drawn])


class SeededImages(Dataset[Any]):
    """Images of a MONAI dataset whose random transforms are seeded by `SeededSampler`.

    Args:
        dataset: A dataset whose `transform` is a `monai.transforms.Compose`.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.dataset)

    def __getitem__(self, drawn: tuple[int, int]) -> Any:
        """Return a transformed image."""
        index, seed = drawn
        self.dataset.transform.set_random_state(seed=seed)
        return self.dataset[index]


class AverageLoss:
    """Make the loss of each iteration the mean over all processes.

    Attach it to the trainer before any handler that reads the loss.
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
