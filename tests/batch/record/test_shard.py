"""Parts of a batch that run in parallel; docs/scale.md states their guarantees."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import pytest
from waiting import wait_until

from monai_dental.batch import BatchResults
from monai_dental.batch.record.manifest import Manifest, Row
from monai_dental.batch.record.manifests import Manifests
from monai_dental.batch.record.shard import Shard, missing_shards
from monai_dental.cli import main
from monai_dental.files.lock import hold_lock

COUNTS = (1, 2, 3, 4, 6)


def start(tmp_path: Path, shard: str) -> subprocess.Popen[str]:
    """A process that does one shard, in a separate process group."""
    script = Path(__file__).parents[1] / "faults.py"
    command = [sys.executable, script, "batch", tmp_path / "in", "--output", tmp_path / "out"]
    return subprocess.Popen(
        [*command, "--workers", "1", "--reproducible", "--shard", shard], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )  # fmt: skip


@pytest.fixture
def all_rows(tmp_path):
    """The rows of all manifests of the output folder, by name."""

    def read(output: Path = tmp_path / "out") -> dict[str, Row]:
        manifests = Manifests(output)
        try:
            found = list(manifests.rows())
        finally:
            manifests.close()
        assert len({row.name for row in found}) == len(found)
        return {row.name: row for row in found}

    return read


@pytest.fixture
def in_process(monkeypatch):
    """Run batches in this process if no file crashes it, as starting a worker takes long."""

    class Worker:
        def __init__(self, job, limits):
            self.engine = job.open()

        def describe(self):
            return self.engine.recipe

        def submit(self, instance, known):
            future = Future()
            future.set_result(self.engine.run(instance, known))
            return future

        def collect(self, future):
            return future.result()

        def stop(self):
            pass

    monkeypatch.setattr("monai_dental.batch.batch.LocalWorker", Worker)


def timeless(rows: dict[str, Row]) -> dict[str, Row]:
    """Rows without the fields that differ between runs."""
    return {
        name: replace(row, seconds=None, finished="", output_stamp="") for name, row in rows.items()
    }


def names_of(output: Path, shard: Shard) -> set[str]:
    manifest = Manifest(output, shard=shard)
    try:
        return {row.name for row in manifest.rows()}
    finally:
        manifest.close()


@pytest.mark.parametrize("count", COUNTS)
def test_each_name_is_of_one_shard(count) -> None:
    shards = [Shard(index + 1, count) for index in range(count)]
    for number in range(200):
        assert sum(shard.holds(f"{number}.dcm") for shard in shards) == 1
    for shard in shards:
        assert sum(shard.holds(f"{number}.dcm") for number in range(2000)) > 1500 / count


def test_shards_overlap_where_they_have_a_name_in_common() -> None:
    shards = [Shard(index + 1, count) for count in COUNTS for index in range(count)]
    names = [f"{number}.dcm" for number in range(300)]
    held = {shard: {name for name in names if shard.holds(name)} for shard in shards}

    for one in shards:
        for other in shards:
            assert one.overlaps(other) == bool(held[one] & held[other]), (one, other)


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "/", "1/0", "1/-4", "1/4/2", "a/b"])
def test_what_is_no_shard_is_refused(text, add_file, batch, capsys) -> None:
    add_file("a.dcm")

    with pytest.raises(SystemExit, match="2"):
        batch("--shard", text)

    assert "is not a shard; need I/N with I from 1 to N: 1/4" in capsys.readouterr().err


def test_shards_side_by_side_do_each_file_once(
    add_file, batch, rows, all_rows, outputs, tmp_path
) -> None:
    for number in range(18):
        add_file(f"{number}.dcm")
    add_file("poison.dcm")
    (tmp_path / "in" / "junk.txt").write_text("junk")
    (tmp_path / "in" / "copy.dcm").write_bytes((tmp_path / "in" / "0.dcm").read_bytes())
    assert batch("--reproducible", output=tmp_path / "whole") == 1

    processes = [start(tmp_path, f"{index}/3") for index in (1, 2, 3)]
    for process in processes:
        process.communicate(timeout=120)

    assert sorted(process.returncode for process in processes) == [0, 0, 1]
    assert outputs() == outputs(tmp_path / "whole")
    assert timeless(all_rows()) == timeless(rows(tmp_path / "whole"))
    held = [names_of(tmp_path / "out", Shard(index, 3)) for index in (1, 2, 3)]
    assert all(held)
    assert not (tmp_path / "out" / "manifest.sqlite").exists()


def test_killed_shard_is_done_by_the_same_command(
    add_file, batch, all_rows, outputs, tmp_path
) -> None:
    """MONAI_DENTAL_KILLS sets the number of kills; default 4."""
    for number in range(30):
        add_file(f"slow{number}.dcm")
    assert batch("--shard", "2/2", "--reproducible") == 0
    others = outputs()

    for _ in range(int(os.environ.get("MONAI_DENTAL_KILLS", "4")) // 2):
        before = results(tmp_path)
        process = start(tmp_path, "1/2")
        wait_until(lambda before=before: results(tmp_path) > before, process)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)

    assert batch("--shard", "1/2", "--reproducible") == 0
    assert len(outputs()) == 30
    assert others.items() <= outputs().items()
    assert {row.outcome for row in all_rows().values()} == {"derived"}
    assert not list((tmp_path / "out").glob(".parts*"))


def results(folder: Path) -> set[Path]:
    """The existing results, while others are being written."""
    return set((folder / "out").glob("[0-9]*/*/*.dcm"))


@pytest.mark.usefixtures("in_process")
def test_number_of_shards_may_change(add_file, batch, all_rows, outputs, tmp_path) -> None:
    for number in range(12):
        add_file(f"{number}.dcm")
    assert batch("--shard", "1/2") == 0
    done, made = all_rows(), outputs()
    assert 0 < len(done) < 12

    for index in (1, 2, 3):
        assert batch("--shard", f"{index}/3") == 0
    assert done.items() <= all_rows().items()  # the time of each with it: none was done again
    assert made.items() <= outputs().items()
    assert len(all_rows()) == len(outputs()) == 12
    assert names_of(tmp_path / "out", Shard(1, 2)) == set()
    done, made = all_rows(), outputs()

    assert batch() == 0  # all in one
    assert all_rows() == done
    assert outputs() == made
    assert names_of(tmp_path / "out", Shard()) == set(done)
    for index in (1, 2, 3, 4):
        assert batch("--shard", f"{index}/4") == 0
    assert all_rows() == done
    assert outputs() == made


@pytest.mark.usefixtures("in_process")
def test_superseded_results_move_with_their_files(add_file, batch, tmp_path, capsys) -> None:
    add_file("a.dcm")
    assert batch() == 0
    assert batch("--strength", "0.5") == 0
    for index in (1, 2):
        assert batch("--shard", f"{index}/2", "--strength", "0.5") == 0
    capsys.readouterr()

    assert main(["batch-status", str(tmp_path / "out")]) == 0

    out = capsys.readouterr().out.splitlines()
    assert out == [
        "1 results of changed inputs or other settings are kept",
        "1 derived, 0 skipped, 0 failed, 0 left",
    ]


@pytest.mark.usefixtures("in_process")
def test_rows_taken_over_by_a_run_that_was_killed_just_then_count_once(
    add_file, batch, all_rows, tmp_path, monkeypatch
) -> None:
    for number in range(6):
        add_file(f"{number}.dcm")
    assert batch() == 0
    done = all_rows()
    change = Manifest._change

    def copies_and_dies(self, statement, values):
        if statement.startswith("DELETE"):
            raise KeyboardInterrupt
        change(self, statement, values)

    with monkeypatch.context() as patch:
        patch.setattr(Manifest, "_change", copies_and_dies)
        assert batch("--shard", "1/2") == 130

    assert names_of(tmp_path / "out", Shard()) & names_of(tmp_path / "out", Shard(1, 2))
    assert all_rows() == done
    assert batch("--shard", "1/2") == 0
    assert all_rows() == done
    assert not names_of(tmp_path / "out", Shard()) & names_of(tmp_path / "out", Shard(1, 2))


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("running", ["1/4", "3/4", "1/2", "1/1", "1/6"])
def test_shard_whose_files_another_run_does_is_refused(
    add_file, batch, tmp_path, capsys, running
) -> None:
    add_file("a.dcm")
    index, count = map(int, running.split("/"))
    (tmp_path / "out").mkdir()

    with hold_lock(tmp_path / "out" / Shard(index, count).lock):
        assert batch("--shard", "1/2") == 2
        assert "another run is writing here" in capsys.readouterr().err
        if count > 1:
            assert batch("--shard", "2/2") == 0

    assert batch("--shard", "1/2") == 0


@pytest.mark.usefixtures("in_process")
def test_only_what_no_run_is_writing_is_swept_away(add_file, batch, tmp_path) -> None:
    add_file("a.dcm")
    parts = [tmp_path / "out" / Shard(index, 4).parts / "0123.part" for index in (1, 2)]
    for part in parts:
        part.parent.mkdir(parents=True)
        part.write_bytes(b"half")

    assert batch("--shard", "1/2") == 0

    assert [part.exists() for part in parts] == [False, True]


@pytest.mark.usefixtures("in_process")
def test_status_and_report_sum_up_the_shards(add_file, batch, rows, tmp_path, capsys) -> None:
    for number in range(12):
        add_file(f"{number}.dcm")
    (tmp_path / "in" / "junk.txt").write_text("junk")
    assert batch("--shard", "1/3") == 0
    assert batch("--shard", "3/3") == 0
    capsys.readouterr()

    assert main(["batch-status", str(tmp_path / "out")]) == 1
    assert "shard 2/3 has not begun: its files are not counted" in capsys.readouterr().out
    assert batch("--shard", "2/3") == 0
    exported = tmp_path / "rows.csv"
    assert main(["batch-status", str(tmp_path / "out"), "--export", str(exported)]) == 0

    out = capsys.readouterr().out.splitlines()
    assert out[-2:] == ["skipped 1: not a DICOM file", "12 derived, 1 skipped, 0 failed, 0 left"]
    assert len(exported.read_text().splitlines()) == 14
    assert len(BatchResults(tmp_path / "out")) == 12


@pytest.mark.usefixtures("in_process")
def test_paths_are_hashed_in_all_shards_or_in_none(add_file, batch, tmp_path, capsys) -> None:
    for number in range(8):
        add_file(f"{number}.dcm")
    assert batch("--shard", "1/2", "--hash-paths") == 0
    assert batch("--shard", "1/4") == 2
    assert "made with --hash-paths" in capsys.readouterr().err
    assert batch("--shard", "2/2") == 0
    assert main(["batch-status", str(tmp_path / "out")]) == 2
    assert "only some of the shards ran with --hash-paths" in capsys.readouterr().err


@pytest.mark.usefixtures("in_process")
def test_hashed_paths_stay_in_their_shards(add_file, batch, all_rows, tmp_path) -> None:
    for number in range(8):
        add_file(f"{number}.dcm")
    for index in (1, 2):
        assert batch("--shard", f"{index}/2", "--hash-paths") == 0
    done = all_rows()
    assert len(done) == 8
    for index in (1, 2, 3):
        assert batch("--shard", f"{index}/3", "--hash-paths") == 0
    assert all_rows() == done


def test_a_shard_writes_while_another_process_reads_it(tmp_path) -> None:
    written = Manifest(tmp_path, shard=Shard(1, 2), is_new=True)
    written.put([Row("a"), Row("b")])
    read = Manifest(tmp_path, shard=Shard(1, 2))
    rows = read.rows()
    assert next(rows).name == "a"

    written.put([Row("c")])

    assert [row.name for row in rows] == ["b", "c"]
    written.close()
    read.close()


def test_missing_shards_are_those_of_the_count_that_lacks_fewest() -> None:
    assert missing_shards([Shard(1, 3), Shard(3, 3)]) == [Shard(2, 3)]
    assert missing_shards([Shard(), Shard(1, 3)]) == []
    assert missing_shards([Shard(1, 4), Shard(1, 3), Shard(2, 3)]) == [Shard(3, 3)]
