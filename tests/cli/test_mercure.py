"""The entry of a processing module of mercure, run on folders as mercure runs it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread, dcmwrite

from monai_dental.cli import main

ROOT = Path(__file__).parents[2]


@pytest.fixture
def job(
    tmp_path: Path, dicom_dataset: Callable[..., Dataset], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, Path]]:
    """Run the entry on three files with mercure's names, configured only by the environment."""
    monkeypatch.syspath_prepend(ROOT / "tests" / "node")
    import stub_node

    monkeypatch.setattr("monai_dental.batch.dicom.DicomJob", stub_node.StubJob)
    into, out = tmp_path / "in", tmp_path / "out"
    monkeypatch.setenv("MERCURE_IN_DIR", str(into))
    monkeypatch.setenv("MERCURE_OUT_DIR", str(out))

    def run(settings: Any = None, broken: bool = False) -> tuple[int, Path]:
        for folder in (into, out):
            folder.mkdir()
        for number, modality in ((1, "IO"), (2, "PX"), (3, "US")):
            dataset = dicom_dataset(Modality=modality, SOPInstanceUID=f"1.2.3.4.{number}")
            dcmwrite(into / f"1.2.3.5#{number}.dcm", dataset, enforce_file_format=True)
        if broken:
            path = into / "1.2.3.5#1.dcm"
            path.write_bytes(path.read_bytes()[:-100])
        task = {"id": "a", "info": {"mrn": "MARKER"}, "process": {"settings": settings}}
        (into / "task.json").write_text(json.dumps(task))
        return main(["mercure"]), out

    yield run
    sys.modules.pop("stub_node", None)


def test_radiographs_come_out_under_the_names_of_mercure(job, tmp_path, capsys) -> None:
    status, out = job({"strength": 0.5, "workers": 1, "all-xray": False})

    assert status == 0
    made = {path.name: dcmread(path) for path in out.iterdir()}
    assert len(made) == 2
    for name, dataset in made.items():
        assert name == f"{dataset.SeriesInstanceUID}#{dataset.SOPInstanceUID}.dcm"
        number = dataset.SourceImageSequence[0].ReferencedSOPInstanceUID[-1]
        source = dcmread(tmp_path / "in" / f"1.2.3.5#{number}.dcm")
        assert dataset.SOPInstanceUID != source.SOPInstanceUID
        assert not np.array_equal(dataset.pixel_array, source.pixel_array)
    said = capsys.readouterr().out
    assert "skipped: 1.2.3.5#3.dcm: " in said
    assert said.endswith("2 derived, 1 skipped, 0 failed, 0 left\n")
    assert "MARKER" not in said


def test_broken_file_fails_the_job_and_leaves_the_others(job, capsys) -> None:
    status, out = job({"workers": 1}, broken=True)

    assert status == 1
    assert len(list(out.iterdir())) == 1
    assert "failed: 1.2.3.5#1.dcm: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"strngth": 1}, "--strngth=1"), ({"strength": 7}, "from 0 to 1"), ([1], "settings are no")],
)
def test_setting_that_is_none_is_told(job, settings, said, capsys) -> None:
    try:
        status, _ = job(settings)
    except SystemExit as end:
        status = end.code

    assert status == 2
    assert said in capsys.readouterr().err


def test_container_runs_the_entry_on_the_image_of_the_node():
    text = (ROOT / "docs" / "deploy" / "mercure.Containerfile").read_text()
    lines = [line.split(" ", 1) for line in text.splitlines() if line and line[0] != "#"]

    assert [name for name, _ in lines] == ["FROM", "ENV", "HEALTHCHECK", "ENTRYPOINT"]
    assert lines[0][1] == "monai-dental"
    assert json.loads(lines[-1][1]) == ["monai-dental", "mercure"]
