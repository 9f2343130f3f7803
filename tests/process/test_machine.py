"""Limits of control groups, in a directory tree made for the test."""

from __future__ import annotations

import os

import pytest

from monai_dental.batch.workers.local import default_workers
from monai_dental.process import machine

GIB = 1 << 30


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """A machine of 64 cores and 256 GiB, and a function that puts this process into groups."""
    own, root = tmp_path / "cgroup", tmp_path / "groups"
    monkeypatch.setattr(machine, "_OWN_GROUPS", own)
    monkeypatch.setattr(machine, "_GROUPS", root)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    sizes = {"SC_PHYS_PAGES": 256 * GIB >> 12, "SC_PAGE_SIZE": 1 << 12}
    monkeypatch.setattr(os, "sysconf", sizes.get)

    def make(membership, files):
        own.write_text(membership)
        for name, content in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{content}\n")

    return make


@pytest.mark.parametrize(
    ("membership", "files"),
    [
        ("0::/\n", {"memory.max": 8 * GIB, "cpu.max": "400000 100000"}),
        ("0::/host/path/of.scope\n", {"memory.max": 8 * GIB, "cpu.max": "400000 100000"}),
        (
            "0::/slurm/job_1/step_0\n",
            {
                "slurm/memory.max": "max", "slurm/cpu.max": "max 100000",
                "slurm/job_1/memory.max": 8 * GIB, "slurm/job_1/cpu.max": "4000000 100000",
                "slurm/job_1/step_0/memory.max": "max",
                "slurm/job_1/step_0/cpu.max": "350000 100000",
            },
        ),
        (
            "4:memory:/docker/1\n1:cpu,cpuacct:/docker/1\n0::/\n",
            {
                "memory/memory.limit_in_bytes": 9223372036854771712,
                "memory/docker/1/memory.limit_in_bytes": 8 * GIB,
                "cpu/cpu.cfs_quota_us": -1, "cpu/cpu.cfs_period_us": 100000,
                "cpu/docker/1/cpu.cfs_quota_us": 400000, "cpu/docker/1/cpu.cfs_period_us": 100000,
            },
        ),
    ],
    ids=["container", "container that sees the host's path", "job within a larger group", "v1"],
)  # fmt: skip
def test_limits_of_a_control_group_are_heeded(groups, membership, files):
    groups(membership, files)

    assert machine.usable_cores() == 4
    assert machine.memory_mb() == 8 << 10
    assert default_workers(1000) == 4
    assert default_workers(1000, is_on_gpu=True) == 1


def test_less_than_a_core_is_one(groups):
    groups("0::/\n", {"cpu.max": "20000 100000"})

    assert machine.usable_cores() == 1


@pytest.mark.parametrize(
    ("membership", "files"),
    [("", {}), ("0::/\n", {}), ("0::/a\n", {"a/memory.max": "max", "a/cpu.max": "max 100000"})],
)
def test_without_limits_the_machine_is_whole(groups, membership, files):
    groups(membership, files)

    assert machine.usable_cores() == 64
    assert machine.memory_mb() == 256 << 10
