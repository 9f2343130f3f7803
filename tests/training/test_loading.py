"""Processes that load images for a training."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress

import numpy as np
import pytest
from monai.data import DataLoader
from monai.transforms import Randomizable
from torch.utils.data import Dataset

from monai_dental.bundle.find import find_bundle
from monai_dental.training.loading import begin_worker

_STUCK = """
import os, signal
from monai.data import DataLoader
from monai_dental.training.loading import begin_worker

class Stuck:
    def __len__(self):
        return 1

    def __getitem__(self, index):
        print("loading", flush=True)
        signal.pause()

next(iter(DataLoader(Stuck(), num_workers=1, worker_init_fn=begin_worker)))
"""


class Draws(Dataset, Randomizable):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> float:
        return float(self.R.random())


@pytest.mark.skipif(sys.platform != "linux", reason="of Linux")
def test_worker_ends_with_its_training_even_while_it_loads() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _STUCK], stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        assert process.stdout.readline() == b"loading\n"
        process.kill()
        process.communicate(timeout=60)  # until nobody holds its stdout open any more
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_workers_draw_from_seeds_of_their_own() -> None:
    drawn = np.concatenate(list(DataLoader(Draws(), num_workers=2, worker_init_fn=begin_worker)))

    assert len(set(drawn.tolist())) == 4


@pytest.mark.parametrize("name", ["blind", "unet", "dae"])
def test_bundles_begin_their_workers_so(name) -> None:
    config = json.loads((find_bundle(name) / "configs" / "train.json").read_text())
    loaders = [config[part]["dataloader"] for part in ("train", "validate")]

    for loader in loaders:
        assert "num_workers" not in loader or loader["worker_init_fn"] == "$begin_worker"
    assert (name == "blind") == any("num_workers" in loader for loader in loaders)
