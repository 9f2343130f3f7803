"""A batch on the workers of a Ray cluster; docs/scale.md states the guarantees."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest
from waiting import wait_until

from monai_dental.batch import Batch, InventorySource, StudyTree
from monai_dental.batch.record.manifest import Row
from monai_dental.batch.workers.ray import RayCluster, connect_ray
from monai_dental.batch.workers.shared_folders import share
from monai_dental.bundle.find import find_bundle
from monai_dental.dicom.select import read_rules
from monai_dental.errors import WorkerError

FILES = int(os.environ.get("MONAI_DENTAL_RAY_FILES", "20"))
HERE = Path(__file__).parents[1]
RAY_AGENTS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")
"""Of Ray's own; they look for its other parts for a minute before they end, and do no file."""


@pytest.fixture(scope="module", autouse=True)
def ray_package(missing: Callable[[str], NoReturn]) -> None:
    """Skips, or fails, where Ray is not installed."""
    if importlib.util.find_spec("ray") is None:
        missing("no Ray; pip install -c constraints.txt -e '.[scale]'")


def start(tmp_path: Path, *options: object) -> subprocess.Popen[str]:
    """The command on Ray in a separate process group, with the job of faults.py."""
    command = [sys.executable, HERE / "faults.py", "batch", tmp_path / "in", "--engine", "ray"]
    return subprocess.Popen(
        [*map(str, command), "--output", str(tmp_path / "out"), *map(str, options)], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{HERE.parents[1]}:{HERE}"},
    )  # fmt: skip


def descendants(pid: int) -> dict[int, str]:
    """The command lines of all descendants of a process, by process ID."""
    listed = subprocess.run(
        ["ps", "-ww", "-e", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True
    ).stdout
    table = [line.split(None, 2) for line in listed.splitlines()]
    found = {pid: ""}
    for _ in table:  # children may be listed before their parents
        found |= {int(p): args for p, parent, args in table if int(parent) in found}
    del found[pid]
    return found


def outcomes(rows: dict[str, Row]) -> dict[str, Row]:
    """Rows without the fields that differ between runs."""
    return {
        name: replace(row, seconds=None, finished="", output_stamp="") for name, row in rows.items()
    }


def test_driver_killed_and_resumed_ends_as_a_local_run_with_a_poison_file(
    add_file, batch, rows, outputs, tmp_path
) -> None:
    for number in range(FILES):
        add_file(f"slow{number}.dcm")
    for name in ("poison", "hanging", "buggy"):
        add_file(f"{name}.dcm")
    (tmp_path / "in" / "junk.txt").write_text("junk")
    options = ("--workers", 2, "--reproducible", "--time-limit", 5)
    assert batch(*options, output=tmp_path / "local") == 1

    process = start(tmp_path, *options)
    wait_until(lambda: list((tmp_path / "out").glob("*/*/*.dcm")), process)
    below = descendants(process.pid)
    process.kill()
    _, err = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, err
    assert 0 < len(outputs()) < FILES
    assert any("raylet" in args for args in below.values())
    assert any("_Actor" in args for args in below.values())
    assert not any(
        "dashboard/dashboard.py" in args and "--minimal" not in args for args in below.values()
    )
    agents = {pid for pid, args in below.items() if args.strip() in RAY_AGENTS}
    others = [pid for pid in below if pid not in agents]
    wait_until(lambda: not any(map(is_alive, others)), timeout_s=60)
    for pid in filter(is_alive, agents):
        os.kill(pid, signal.SIGKILL)

    process = start(tmp_path, *options)
    out, err = process.communicate(timeout=300)

    assert process.returncode == 1, err
    assert out.splitlines()[-1].startswith(f"{FILES} derived, 1 skipped, 3 failed, 0 left: ")
    assert outputs() == outputs(tmp_path / "local")
    assert outcomes(rows()) == outcomes(rows(tmp_path / "local"))
    assert rows()["poison.dcm"].reason == "crashed its worker process (signal 9), 2 times"
    assert "Traceback" not in err
    assert not (tmp_path / "out" / ".parts").exists()


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture(scope="module")
def sockets_before(ray_package: None) -> set[str]:
    """Addresses on which this process and its children listen without Ray: other tests' servers."""
    return set(listening_sockets({os.getpid(), *descendants(os.getpid())}))


@pytest.fixture(scope="module")
def cluster(sockets_before: set[str]) -> Iterator[RayCluster]:
    """Ray on this machine, for the following tests."""
    with pytest.MonkeyPatch.context() as patch:
        paths = (str(HERE.parents[1]), str(HERE), os.environ.get("PYTHONPATH", ""))
        patch.setenv("PYTHONPATH", os.pathsep.join(paths))
        with connect_ray() as connected:
            yield connected


@pytest.fixture
def ray_batch(tmp_path: Path, faults: Any) -> Callable[..., list[Row]]:
    """A batch of the input folder in this process, with the given workers."""

    def run(make_worker: Any, workers: int) -> list[Row]:
        tree = StudyTree(tmp_path / "out")
        job = faults.FaultyJob(find_bundle("unet"), read_rules(), tree)
        source = InventorySource(tmp_path / "in", excluded=tree.folder)
        batch = Batch(source, tree, job, tree.folder, workers=workers, make_worker=make_worker)
        with batch.open() as manifest:
            return list(batch.run(manifest))

    return run


def test_lost_actor_loses_nothing(cluster, add_file, ray_batch, tmp_path) -> None:
    for name in ("a", "lost", "y", "z"):
        add_file(f"{name}.dcm")

    rows = ray_batch(cluster.start_worker, 2)

    assert (tmp_path / "was-lost").exists()
    assert {row.outcome for row in rows} == {"derived"}
    assert len(rows) == 4


def test_worker_that_finds_no_room_is_done_without(cluster, add_file, ray_batch) -> None:
    for number in range(8):
        add_file(f"slow{number}.dcm")
    started = []

    def start_worker(job, limits):
        most = len(os.sched_getaffinity(0))  # Ray has a CPU for each of so many
        start_s = 300.0 if len(started) < most else 0.1
        started.append(cluster.start_worker(job, limits, start_s))
        return started[-1]

    rows = ray_batch(start_worker, len(os.sched_getaffinity(0)) + 1)

    assert len(started) == len(os.sched_getaffinity(0)) + 1
    assert {row.outcome for row in rows} == {"derived"}
    assert len(rows) == 8


def test_ray_without_any_room_is_an_error(cluster, add_file, ray_batch) -> None:
    add_file("a.dcm")

    def start_worker(job, limits):
        return cluster.start_worker(job, replace(limits, threads=10_000), 0.1)

    with pytest.raises(WorkerError, match="no worker has started in 0.1 s; need free CPUs"):
        ray_batch(start_worker, 1)


def test_ray_of_this_machine_answers_on_loopback_only(cluster, sockets_before) -> None:
    now = listening_sockets({os.getpid(), *descendants(os.getpid())})
    listening = [address for address in now if address not in sockets_before]

    assert listening
    loopback = ("0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000")
    assert [address for address in listening if not address.startswith(loopback)] == []


def listening_sockets(processes: set[int]) -> list[str]:
    """Addresses, as Linux writes them, on which some processes wait for connections."""
    inodes = set()
    for process in processes:
        for descriptor in Path(f"/proc/{process}/fd").glob("*"):
            try:
                inodes.add(os.readlink(descriptor))
            except OSError:  # closed meanwhile
                continue
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/self/net/{table}").read_text().splitlines()[1:]:
            _, address, _, state, *_, inode = line.split()[:10]
            if state == "0A" and f"socket:[{inode}]" in inodes:
                found.append(address)
    return found


@pytest.mark.parametrize("lost", ["input", "output", "version"])
def test_machine_that_is_not_as_this_one_is_refused(lost, add_file, faults, tmp_path) -> None:
    path = add_file("a.dcm")
    tree = StudyTree(tmp_path / "out")
    tree.prepare()
    job = faults.FaultyJob(find_bundle("unet"), read_rules(), tree)
    shared = share(job, InventorySource(tmp_path / "in", excluded=tree.folder), tree)
    shared.open()
    expected = {
        "input": "does not see the files of the input; need input and output by the same path",
        "output": "out; need input and output by the same path on every machine",
        "version": "has monai_dental .*; need 9.9, as where the batch was started",
    }
    if lost == "input":
        path.unlink()
    elif lost == "output":
        tree.close()
    else:
        shared = replace(shared, version="9.9")

    with pytest.raises(WorkerError, match=expected[lost]):
        shared.open()


def test_missing_ray_and_misplaced_address_are_told(
    add_file, batch, tmp_path, monkeypatch, capsys
) -> None:
    add_file("a.dcm")
    monkeypatch.setitem(sys.modules, "ray", None)

    assert batch("--engine", "ray") == 2
    assert "install monai-dental with its extra 'scale'" in capsys.readouterr().err
    assert batch("--ray-address", "127.0.0.1:6379") == 2
    assert "works only with --engine ray" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
