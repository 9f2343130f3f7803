"""Training in several processes, started by `torchrun`."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch
from torch import distributed


def local_device() -> torch.device:
    """Return the device of this process: its own GPU where there are GPUs, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    return torch.device("cpu")


def start() -> None:
    """Join the processes that `torchrun` started: by NCCL on GPUs, by gloo on CPUs."""
    device = local_device()
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")


def on_main_process(function: Callable[..., Any], *arguments: Any) -> None:
    """Call a function in the process of rank 0 alone."""
    if distributed.get_rank() == 0:
        function(*arguments)
