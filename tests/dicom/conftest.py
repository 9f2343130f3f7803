"""Strict receivers of DICOM, and conversion of datasets to files and back."""

from __future__ import annotations

import io
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
from pydicom import Dataset, dcmread, dcmwrite

from monai_dental.dicom import Derivation, derive, encode_dataset, read_dataset, to_radiograph

DERIVATION = Derivation("Noise reduction", "some_model", "0.1.0", "ab" * 32, 0.8)


@pytest.fixture(scope="session")
def dcmconv(missing: Callable[[str], NoReturn]) -> Callable[[Path], bool]:
    """Whether dcmtk reads a complete file and writes it again."""
    program = shutil.which("dcmconv")
    if program is None:
        missing("no dcmconv; apt-get install dcmtk")

    def takes(path: Path) -> bool:
        command = [program, path, path.with_name(f"{path.name}.converted")]
        return subprocess.run(command, capture_output=True, timeout=60).returncode == 0

    return takes


@pytest.fixture
def derived_of(tmp_path: Path) -> Callable[[Dataset | bytes], Dataset]:
    """The derived instance of a dataset or a file's bytes, written via files to `derived.dcm`."""

    def derive_from(source: Dataset | bytes) -> Dataset:
        path = tmp_path / "derived_from.dcm"
        path.write_bytes(source if isinstance(source, bytes) else content_of(source))
        radiograph = to_radiograph(read_dataset(path), path)
        content = encode_dataset(derive(radiograph, DERIVATION))
        (tmp_path / "derived.dcm").write_bytes(content)
        return dcmread(io.BytesIO(content))

    return derive_from


@pytest.fixture(scope="session", name="content_of")
def _content_of() -> Callable[[Dataset], bytes]:
    """The bytes of a dataset's file."""
    return content_of


def content_of(dataset: Dataset) -> bytes:
    stream = io.BytesIO()
    dcmwrite(stream, dataset, enforce_file_format=True)
    return stream.getvalue()
