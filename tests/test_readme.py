"""The README's Python examples run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pydicom
import pytest

_README = Path(__file__).parents[1] / "README.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```", _README.read_text(encoding="utf-8"), re.M | re.S)


@pytest.fixture
def run(tmp_path, dicom_file, monkeypatch):
    """Run an example, in a folder with the file that the examples take."""

    def run(example):
        dicom_file("scan.dcm")
        monkeypatch.chdir(tmp_path)
        names = {}
        exec(example, names)
        return names

    return run


@pytest.mark.parametrize("example", EXAMPLES)
def test_example_runs(run, example):
    assert run(example)


def test_example_records_the_strength_that_it_denoises_with(run):
    (example,) = (text for text in EXAMPLES if "write_radiograph" in text)
    strength = re.search(r"strength=([0-9.]+)", example)[1]

    run(example)

    derived = pydicom.dcmread("denoised.dcm", stop_before_pixels=True)
    assert f"strength {strength}" in derived.DerivationDescription
