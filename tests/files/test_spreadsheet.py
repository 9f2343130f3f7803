"""Text written for a spreadsheet is not executed there."""

from __future__ import annotations

import csv
import io

import pytest

from monai_dental.batch.record.manifest import Row
from monai_dental.batch.record.status import export_rows
from monai_dental.files.spreadsheet import as_cell


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(1)", "\t=1", "\r=1"])
def test_formula_becomes_text(text) -> None:
    assert as_cell(text) == f"'{text}"


@pytest.mark.parametrize("value", ["a.dcm", "a=1", "", 3, -2.5, None])
def test_anything_else_stays(value) -> None:
    stream = io.StringIO()
    csv.writer(stream).writerow([as_cell(value)])

    assert as_cell(value) is value
    assert stream.getvalue().startswith(("'", "=")) is False


def test_exported_manifest_runs_nothing(tmp_path) -> None:
    rows = [Row("=cmd()/1.dcm", reason="-1 is none", strength=0.5), Row("a.dcm")]

    export_rows(rows, tmp_path / "rows.csv")
    export_rows(rows, tmp_path / "rows.jsonl")

    with (tmp_path / "rows.csv").open(newline="") as stream:
        first, second = csv.DictReader(stream)
    assert (first["name"], first["reason"]) == ("'=cmd()/1.dcm", "'-1 is none")
    assert first["strength"] == "0.5"
    assert second["name"] == "a.dcm"
    assert '"=cmd()/1.dcm"' in (tmp_path / "rows.jsonl").read_text()  # no spreadsheet reads it
