"""A folder of DICOM files with faults, and the command that batches it without torch."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmwrite

from monai_dental.batch.manifest import Manifest, Row


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module `faults`, as worker processes import it."""
    monkeypatch.syspath_prepend(Path(__file__).parent)
    yield importlib.import_module("faults")
    sys.modules.pop("faults", None)


@pytest.fixture
def add_file(tmp_path: Path, dicom_dataset: Callable[..., Any]) -> Callable[..., Path]:
    """Factory of files in the input folder, each an instance of its own."""
    count = 0

    def add(name: str, **options: Any) -> Path:
        nonlocal count
        count += 1
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        options = {"SOPInstanceUID": f"1.2.3.4.{count}", **options}
        dcmwrite(path, dicom_dataset(**options), enforce_file_format=True)
        return path

    return add


@pytest.fixture
def batch(faults: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """`monai-dental batch in --output out` with the job of `faults`, in this process."""
    from monai_dental.cli import main

    monkeypatch.setattr("monai_dental.batch.dicom.DicomJob", faults.FaultyJob)

    def run(*options: Any, output: Path = tmp_path / "out") -> int:
        arguments = ["batch", tmp_path / "in", "--output", output, "--workers", 1, *options]
        return main(list(map(str, arguments)))

    return run


@pytest.fixture
def rows(tmp_path: Path) -> Callable[..., dict[str, Row]]:
    """The rows of the manifest, by name."""

    def read(output: Path = tmp_path / "out") -> dict[str, Row]:
        manifest = Manifest(output)
        try:
            return {row.name: row for row in manifest.rows()}
        finally:
            manifest.close()

    return read


@pytest.fixture
def outputs(tmp_path: Path) -> Callable[..., dict[str, bytes]]:
    """All files of the output folder but the manifest and its lock, by name."""

    def read(output: Path = tmp_path / "out") -> dict[str, bytes]:
        return {
            path.relative_to(output).as_posix(): path.read_bytes()
            for path in output.rglob("*")
            if path.is_file() and not path.name.startswith("manifest.")
        }

    return read
