"""What the tests of the bundles share: four small phantoms, and MONAI's command line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from monai_dental.phantom import write_phantoms

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four simulated radiographs of 96 × 80 pixels: `clean/`, `noisy/` and `truth/`."""
    folder = tmp_path_factory.mktemp("phantoms")
    write_phantoms(folder, count=4, size=(96, 80))
    return folder


@pytest.fixture(scope="session")
def dicom_phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One simulated radiograph as DICOM."""
    folder = tmp_path_factory.mktemp("dicom_phantom")
    write_phantoms(folder, count=1, size=(96, 80), image_format="dicom")
    return folder / "noisy" / "1.dcm"


@pytest.fixture(scope="session")
def monai_bundle() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `python -m monai.bundle …` in a bundle's folder, and expect it to succeed."""

    def run(
        bundle: str, *arguments: object, launcher: tuple[str, ...] = (), expect: int = 0
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", *launcher, "monai.bundle", *map(str, arguments)],
            cwd=CHECKOUT / "bundles" / bundle,
            env={**os.environ, "PYTHONWARNINGS": "ignore", "PYTHONPATH": str(CHECKOUT)},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == expect, done.stdout[-3000:] + done.stderr[-3000:]
        return done

    return run
