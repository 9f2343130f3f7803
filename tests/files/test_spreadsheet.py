"""What goes into a spreadsheet is not run there."""

from __future__ import annotations

import csv
import io

import pytest

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
