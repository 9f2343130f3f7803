"""`monai-dental batch` from and to a PACS."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from monai_dental.cli import main
from monai_dental.pacs import Patience


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module `faults` of the batch's tests, importable by worker processes."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "batch")
    yield importlib.import_module("faults")
    sys.modules.pop("faults", None)


@pytest.fixture
def batch(
    faults: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patience: Patience
) -> Callable[..., int]:
    """`monai-dental batch` with a job that needs no torch, and with short pauses."""
    monkeypatch.setattr("monai_dental.batch.dicom.DicomJob", faults.FaultyJob)
    for module in ("dimse.target", "dicomweb.target", "dimse.archive", "dicomweb.archive"):
        monkeypatch.setattr(f"monai_dental.pacs.{module}.Patience", lambda: patience)

    def run(source: object, output: object, *options: Any, work: Path = tmp_path / "work") -> int:
        arguments = ["batch", source, "--output", output, "--workers", 1, *options]
        if not isinstance(output, Path):
            arguments += ["--work", work]
        return main(list(map(str, arguments)))

    return run
