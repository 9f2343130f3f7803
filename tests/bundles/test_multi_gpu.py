"""Training of the bundles in several processes: multi_gpu_train.json under torchrun."""

from __future__ import annotations

import csv
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from torch.utils.data import TensorDataset
from waiting import wait_until

from monai_dental.bundle.find import find_bundle
from monai_dental.errors import BundleError
from monai_dental.training import distributed
from monai_dental.training.distributed import SeededSampler

CHECKOUT = Path(__file__).parents[2]
EPOCHS = 10  # so many that a training can be killed on its way
SMALL = {
    "dental_xray_denoising_dae": {"batch_size": 2, "validation_count": 2},
    "dental_xray_denoising_blind": {
        "batch_size": 2, "validation_count": 2, "patch_size": 64, "validation_size": 64,
        "images_per_epoch": 8, "val_interval": 1,
    },
}  # fmt: skip


def start(bundle, phantoms, folder, processes):
    """A small training in a number of processes, in a separate process group."""
    overrides = {
        **SMALL[bundle], "max_epochs": EPOCHS, "precision": "float32", "learning_rate": 0.002,
        "dataset_dir": phantoms / "clean", "ckpt_dir": folder / "models",
        "output_dir": folder / "eval",
    }  # fmt: skip
    given = [part for key, value in overrides.items() for part in (f"--{key}", value)]
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    files = "['configs/train.json','configs/multi_gpu_train.json']"
    command = [*launcher, "-m", "monai.bundle", "run", "training", "--config_file", files, *given]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "log").open("w") as log:
        return subprocess.Popen(
            [sys.executable, *map(str, command)], stdout=log, stderr=log, start_new_session=True,
            cwd=CHECKOUT / "bundles" / bundle,
            env={**os.environ, "PYTHONWARNINGS": "ignore", "PYTHONPATH": str(CHECKOUT)},
        )  # fmt: skip


def finish(process, folder):
    try:
        code = process.wait(timeout=600)
    finally:
        process.kill()  # where it hangs; its workers end with it
    assert code == 0, (folder / "log").read_text()[-3000:]


def history(folder):
    """Losses and validation losses by epoch."""
    with (folder / "eval" / "history.csv").open(newline="") as file:
        return [(float(row["loss"]), float(row["val_loss"])) for row in csv.DictReader(file)]


@pytest.fixture
def processes_of(tmp_path):
    """The processes that name a folder in their command, loaders too; none outlives the test."""

    def find(folder):
        commands = Path("/proc").glob("[0-9]*/cmdline")
        return [int(path.parent.name) for path in commands if os.fsencode(folder) in read(path)]

    def read(path):
        try:
            return path.read_bytes()
        except OSError:  # it ended just now
            return b""

    yield find
    for number in find(tmp_path):
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)


@pytest.mark.parametrize(
    ("bundle", "ending"), list(zip(SMALL, (signal.SIGTERM, signal.SIGKILL), strict=True))
)
def test_two_processes_killed_and_resumed_learn_as_one(
    bundle, ending, phantoms, processes_of, tmp_path
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    finish(start(bundle, phantoms, one, processes=1), one)
    checkpoint = two / "models" / "checkpoint_model.pt"

    process = start(bundle, phantoms, two, processes=2)
    wait_until(checkpoint.exists, process)
    process.send_signal(ending)
    assert process.wait(timeout=60) != 0, (two / "log").read_text()[-3000:]
    wait_until(lambda: not processes_of(two), timeout_s=60)  # they end by themselves
    reached = torch.load(checkpoint, weights_only=True)["epoch"]
    finish(start(bundle, phantoms, two, processes=2), two)

    assert 1 <= reached < EPOCHS
    log = (two / "log").read_text()
    assert [f"epoch {epoch}/{EPOCHS}: " in log for epoch in (reached, reached + 1)] == [False, True]
    assert len(history(two)) == EPOCHS
    for found, expected in zip(history(two), history(one), strict=True):
        assert found == pytest.approx(expected, rel=1e-3)
    losses = [loss for loss, _ in history(two)]
    assert losses[-1] < losses[0]
    weights, expected = (
        torch.load(folder / "models" / "model.pt", weights_only=True) for folder in (two, one)
    )
    assert weights.keys() == expected.keys()  # without the prefix of what wraps the network
    assert [path.name for path in (two / "models").iterdir()] == ["model.pt"]
    events = list((two / "eval").glob("events.out.tfevents.*"))
    assert len(events) == 2 * len(list((one / "eval").glob("events.out.tfevents.*")))  # two runs


def test_overlay_of_the_unet_is_that_of_the_blind_bundle() -> None:
    unet, blind = (
        json.loads((find_bundle(name) / "configs" / "multi_gpu_train.json").read_text())
        for name in ("unet", "blind")
    )

    unet["train#sampler"]["weights"] = "@train#weights"
    assert unet.pop("validate#best#network") == "@bare_network"  # blind's is the mean
    assert blind == unet


@pytest.fixture
def ranks(monkeypatch):
    """Factory of the draws of the samplers of a number of processes in an epoch."""

    def draw(count, *, epoch=1, **options):
        monkeypatch.setattr(torch.distributed, "is_available", lambda: True)
        monkeypatch.setattr(torch.distributed, "get_world_size", lambda: count)
        shares = []
        for rank in range(count):
            monkeypatch.setattr(torch.distributed, "get_rank", lambda rank=rank: rank)
            sampler = SeededSampler(TensorDataset(torch.zeros(12)), seed=0, **options)
            sampler.set_epoch(epoch)
            shares.append(list(sampler))
            assert len(shares[-1]) == len(sampler)
        return shares

    return draw


@pytest.mark.parametrize(
    "options", [{}, {"num_samples": 24}, {"num_samples": 24, "weights": [1, 2, 3] * 4}]
)
def test_processes_share_out_the_batches_of_one(ranks, options) -> None:
    ((*whole,),) = ranks(1, **options)
    shares = ranks(3, **options)

    size = 6
    for step in range(len(whole) // size):
        batch = [drawn for share in shares for drawn in share[2 * step : 2 * step + 2]]
        assert sorted(batch) == sorted(whole[size * step : size * (step + 1)])
    assert len({seed for _, seed in whole}) == len(whole)
    if not options:
        assert sorted(index for index, _ in whole) == list(range(12))
    assert ranks(1, epoch=2, **options)[0] != whole


def test_weights_say_how_often_an_image_is_drawn(ranks) -> None:
    ((*whole,),) = ranks(1, num_samples=3000, weights=[1, 3] + 10 * [0])

    indices = [index for index, _ in whole]
    assert set(indices) == {0, 1}
    assert indices.count(1) == pytest.approx(2250, abs=100)


def test_uneven_epochs_are_filled_up(ranks) -> None:
    shares = ranks(5)

    assert [len(share) for share in shares] == [3] * 5
    assert {index for share in shares for index, _ in share} == set(range(12))


def test_batch_that_cannot_be_shared_out_is_refused(monkeypatch) -> None:
    monkeypatch.setattr(distributed.distributed, "get_world_size", lambda: 4)

    assert distributed.local_batch_size(8) == 2
    with pytest.raises(BundleError, match="batch_size 10: need a multiple of the 4 processes"):
        distributed.local_batch_size(10)


def test_process_whose_torchrun_has_ended_waits_for_nobody(monkeypatch) -> None:
    begun = []
    monkeypatch.setattr(distributed, "end_with_parent", lambda: None)
    monkeypatch.setattr(distributed, "local_device", lambda: torch.device("cpu"))
    monkeypatch.setattr(distributed.distributed, "init_process_group", begun.append)
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as torchrun:
        monkeypatch.setenv("MASTER_PORT", str(torchrun.getsockname()[1]))
        distributed.start()

    with pytest.raises(BundleError, match="torchrun has ended; run the same command again"):
        distributed.start()
    assert begun == ["gloo"]
