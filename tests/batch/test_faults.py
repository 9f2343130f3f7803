"""How a batch handles failing files, workers and disks; docs/batch.md has the list."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from waiting import wait_until

from monai_dental.files.lock import hold_lock


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 KiB; the test is skipped if it cannot be mounted."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "none", place]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs root, to mount a small file system")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def remount(place: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", place], check=True)


def start(tmp_path: Path, *options: str) -> subprocess.Popen[str]:
    """The command in a separate process group, with the job of faults.py."""
    script = Path(__file__).with_name("faults.py")
    command = [sys.executable, script, "batch", tmp_path / "in", "--output", tmp_path / "out"]
    return subprocess.Popen(
        [*command, "--workers", "2", *options], cwd=Path(__file__).parents[2], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip


def wait_for_output(tmp_path: Path, process: subprocess.Popen[str]) -> None:
    wait_until(lambda: list((tmp_path / "out").glob("*/*/*.dcm")), process)


def test_bad_files_fail_alone(add_file, batch, rows, outputs, tmp_path, capfd) -> None:
    for name in ("good1", "poison", "good2", "hanging", "good3", "hungry", "buggy", "good4"):
        add_file(f"{name}.dcm")
    for name in ("vanishing", "changing", "stubborn"):
        add_file(f"{name}.dcm")
    os.mkfifo(tmp_path / "in" / "pipe")
    (tmp_path / "in" / "nowhere").symlink_to(tmp_path / "gone")
    (tmp_path / "in" / "itself").symlink_to(tmp_path / "in" / "itself")
    truncated = add_file("truncated.dcm")
    truncated.write_bytes(truncated.read_bytes()[:-500])

    assert batch("--time-limit", 3, "--memory-limit", 400) == 1

    found = {name.removesuffix(".dcm"): row.reason for name, row in rows().items() if row.reason}
    # The fault itself is outside of the package: this is where it came in.
    assert re.fullmatch(
        r"unexpected ZeroDivisionError at batch/workers/local\.py:\d+", found.pop("buggy")
    )
    assert found == {
        "poison": "crashed its worker process (signal 9), 2 times",
        "hanging": "took longer than 3 s",
        "hungry": "takes more memory than the limit allows",
        "stubborn": "took longer than 3 s",
        "vanishing": "vanished before it was read",
        "changing": "changed while it was read",
        "pipe": "not a DICOM file",
        "nowhere": "vanished before it was read",
        "itself": "cannot be read: Too many levels of symbolic links",
        "truncated": "(7FE0,0010) Pixel Data has 1420 bytes; need 1920",
    }
    assert len(outputs()) == 4
    printed = capfd.readouterr()
    assert printed.out.splitlines()[-1].startswith("4 derived, 1 skipped, 10 failed, 0 left: ")
    assert "Traceback" not in printed.err
    assert "MARKER" not in printed.out + printed.err


def test_killed_worker_loses_nothing(add_file, batch, outputs) -> None:
    for name in ("a", "once", "z"):
        add_file(f"{name}.dcm")

    assert batch() == 0
    assert len(outputs()) == 3


def test_second_run_on_the_same_output_is_refused(add_file, batch, tmp_path, capfd) -> None:
    add_file("a.dcm")
    (tmp_path / "out").mkdir()

    with hold_lock(tmp_path / "out" / "manifest.lock"):
        assert batch() == 2

    assert "another run is writing here" in capfd.readouterr().err
    assert batch() == 0


def test_full_disk_stops_the_run_which_goes_on_later(
    add_file, batch, rows, outputs, small_disk, picture, capfd
) -> None:
    for number in range(4):
        add_file(f"{number}.dcm", stored=picture(16, rows=200, columns=150))

    assert batch(output=small_disk / "out") == 2

    # Whichever wanted to be written first, a result or the manifest.
    error = capfd.readouterr().err
    assert "No space left on device" in error or "disk is full" in error
    before = outputs(small_disk / "out")
    assert 0 < len(before) < 4
    assert not any(name.endswith(".part") for name in before)
    remount(small_disk, "size=4m")
    assert batch(output=small_disk / "out") == 0
    after = outputs(small_disk / "out")
    assert len(after) == 4
    assert before.items() <= after.items()


def test_read_only_output_is_told_at_once(add_file, batch, small_disk, capfd) -> None:
    add_file("a.dcm")
    remount(small_disk, "ro")

    assert batch(output=small_disk / "out") == 2

    assert "Read-only file system" in capfd.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_ends_cleanly_and_the_run_goes_on_later(
    add_file, batch, rows, outputs, tmp_path, number
) -> None:
    for index in range(40):
        add_file(f"slow{index}.dcm")

    process = start(tmp_path)
    wait_for_output(tmp_path, process)
    os.killpg(process.pid, number)  # as a terminal and a service manager do
    out, err = process.communicate(timeout=120)

    assert process.returncode == 130
    assert "Traceback" not in err
    assert err.splitlines()[-1] == "interrupted; all files written so far are complete"
    assert " left: " in out.splitlines()[-1]
    assert 0 < len(outputs()) < 40
    assert not (tmp_path / "out" / ".parts").exists()
    assert batch() == 0
    assert len(outputs()) == 40


def test_runs_killed_at_any_moment_end_in_the_same_state(
    add_file, batch, rows, outputs, tmp_path
) -> None:
    """MONAI_DENTAL_KILLS sets the number of kills; default 4."""
    names = [f"slow{index}.dcm" for index in range(30)]
    for name in names:
        add_file(name)
    (tmp_path / "in" / "junk.txt").write_text("junk")
    assert batch("--reproducible", output=tmp_path / "undisturbed") == 0
    kills = int(os.environ.get("MONAI_DENTAL_KILLS", "4"))

    for index in range(kills):
        process = start(tmp_path, "--reproducible")
        wait_for_output(tmp_path, process)
        time.sleep(0.3 * index / kills)
        process.kill()
        process.communicate(timeout=60)
        if index % 2:  # all rows lost, as if the disk had lost the journal
            for path in (tmp_path / "out").glob("manifest.sqlite*"):
                path.unlink()

    assert batch("--reproducible") == 0
    assert outputs() == outputs(tmp_path / "undisturbed")
    state, expected = (
        {n: (r.outcome, r.reason, r.digest, r.output_uid, r.output_digest) for n, r in all.items()}
        for all in (rows(), rows(tmp_path / "undisturbed"))
    )
    assert state == expected


def test_junk_of_a_killed_run_is_removed(add_file, batch, outputs, tmp_path) -> None:
    add_file("a.dcm")
    (tmp_path / "out" / ".parts").mkdir(parents=True)
    (tmp_path / "out" / ".parts" / "0123.part").write_bytes(b"half")

    assert batch() == 0
    assert [name.rpartition(".")[2] for name in outputs()] == ["dcm"]
