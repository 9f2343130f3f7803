"""Running the same command again: what it redoes, and what it leaves alone."""

from __future__ import annotations

import io
import os
import shutil
import sqlite3

import pytest
from pydicom import dcmread

from monai_dental.batch.record.manifest import Manifest


@pytest.fixture
def done(add_file, batch, tmp_path):
    """A finished batch of two instances and a text file."""
    for name in ("a.dcm", "sub/b.dcm"):
        add_file(name)
    (tmp_path / "in" / "junk.txt").write_text("junk")
    assert batch() == 0


def test_nothing_is_done_twice(done, batch, rows, outputs) -> None:
    before, made = rows(), outputs()

    assert batch() == 0
    assert rows() == before
    assert outputs() == made


def test_output_lies_by_study_series_and_instance(done, rows, outputs) -> None:
    row = rows()["sub/b.dcm"]
    derived = dcmread(io.BytesIO(outputs()[row.output]))
    assert row.output == (
        f"{derived.StudyInstanceUID}/{derived.SeriesInstanceUID}/{derived.SOPInstanceUID}.dcm"
    )
    assert row.output_uid == derived.SOPInstanceUID
    assert set(outputs()) == {each.output for each in rows().values() if each.output}


def test_resume_goes_on_but_does_not_begin(done, batch, rows, tmp_path, capsys) -> None:
    before = rows()

    assert batch("--continue-only") == 0
    assert rows() == before
    assert batch("--continue-only", output=tmp_path / "uot") == 2
    assert "no manifest.sqlite here; nothing to continue" in capsys.readouterr().err
    assert not (tmp_path / "uot").exists()


@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_damaged_output_is_made_again(done, batch, rows, outputs, tmp_path, damage) -> None:
    before, made = rows(), outputs()
    row = before["a.dcm"]
    path = tmp_path / "out" / row.output
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(b"something else")

    assert batch() == 0
    assert rows()["a.dcm"].output == row.output
    assert len((tmp_path / "out" / row.output).read_bytes()) == len(made[row.output])
    assert rows()["sub/b.dcm"] == before["sub/b.dcm"]


def test_output_without_a_row_is_adopted(done, batch, rows, outputs, tmp_path) -> None:
    made = outputs()
    with sqlite3.connect(tmp_path / "out" / "manifest.sqlite") as connection:
        connection.execute("DELETE FROM files WHERE name = 'a.dcm'")

    assert batch() == 0
    assert outputs() == made  # times of making and all
    assert rows()["a.dcm"].outcome == "derived"


def test_touched_input_is_not_done_again(done, batch, rows, tmp_path) -> None:
    before = rows()["a.dcm"]
    os.utime(tmp_path / "in" / "a.dcm", (1, 1))

    assert batch() == 0
    after = rows()["a.dcm"]
    assert after.finished == before.finished
    assert after.stamp != before.stamp


@pytest.mark.parametrize("element", ["PixelData", "PatientName"])
def test_changed_input_becomes_a_new_instance(
    done, batch, rows, outputs, tmp_path, capsys, element
) -> None:
    before, made = rows()["a.dcm"], outputs()
    dataset = dcmread(tmp_path / "in" / "a.dcm")
    dataset[element].value = bytes(1920) if element == "PixelData" else "Other^Name"
    dataset.save_as(tmp_path / "in" / "a.dcm")

    assert batch() == 0
    after = rows()["a.dcm"]
    assert after.output_uid != before.output_uid
    assert made.items() < outputs().items()  # the earlier result is kept as it was
    manifest = Manifest(tmp_path / "out")
    assert manifest.superseded() == [before.output]
    manifest.close()


@pytest.mark.parametrize("options", [("--strength", 0.5), ("--strength", 0)])
def test_other_settings_make_new_instances(done, batch, rows, options) -> None:
    before = rows()

    assert batch(*options) == 0
    assert rows()["a.dcm"].output_uid != before["a.dcm"].output_uid
    assert rows()["junk.txt"] == before["junk.txt"]  # what was skipped has nothing to do with it


def test_same_file_twice_makes_one_instance(done, batch, rows, outputs, tmp_path) -> None:
    shutil.copy(tmp_path / "in" / "a.dcm", tmp_path / "in" / "copy.dcm")

    assert batch() == 0
    assert rows()["copy.dcm"].output == rows()["a.dcm"].output
    assert len(outputs()) == 2
    before = rows()
    assert batch() == 0
    assert rows() == before


def test_failed_files_are_left_until_asked_for(add_file, batch, rows, tmp_path) -> None:
    path = add_file("a.dcm")
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    assert batch() == 1
    before = rows()
    assert batch() == 1
    assert rows() == before
    assert batch("--retry-failed") == 1
    path.write_bytes(whole)
    assert batch() == 0


def test_input_that_went_away_keeps_its_row(done, batch, rows, tmp_path) -> None:
    before = rows()["a.dcm"]
    (tmp_path / "in" / "a.dcm").unlink()

    assert batch() == 0
    assert rows()["a.dcm"] == before
    (tmp_path / "out" / before.output).unlink()
    assert batch() == 1
    assert rows()["a.dcm"].reason == "both the file and its result are gone"


def test_reproducible_run_makes_the_same_bytes(done, batch, outputs, tmp_path) -> None:
    assert batch("--reproducible", output=tmp_path / "one") == 0
    assert batch("--reproducible", output=tmp_path / "two") == 0
    assert outputs(tmp_path / "one") == outputs(tmp_path / "two")
    assert outputs(tmp_path / "one").keys() == outputs().keys()
