"""What the tests of the bundles share: four small phantoms, configs, MONAI's command line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from itertools import takewhile
from pathlib import Path
from typing import Any

import cv2
import pytest
from monai.bundle import ConfigParser
from monai.transforms import Compose, SpatialPadd
from waiting import wait_until

from monai_dental.bundle.find import find_bundle
from monai_dental.phantom import write_phantoms
from monai_dental.transforms import EstimateNoised

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


@pytest.fixture
def bundle(request: pytest.FixtureRequest) -> str:
    """The bundle that a test module tests: its `BUNDLE`."""
    name: str = request.module.BUNDLE
    return name


@pytest.fixture
def parse(bundle: str) -> Callable[..., ConfigParser]:
    """Factory of the bundle's configs: parse("train", "an_overlay", max_epochs=1)."""
    root = find_bundle(bundle)

    def make(*names: str, **overrides: object) -> ConfigParser:
        parser = ConfigParser()
        parser.read_config([str(root / "configs" / f"{name}.json") for name in names])
        parser.update({"bundle_root": str(root), **overrides})
        return parser

    return make


@pytest.fixture
def loading() -> Callable[[ConfigParser, str], Compose]:
    """The transforms of a config that read and scale an image: loading(parser, "train")."""

    def make(parser: ConfigParser, part: str) -> Compose:
        transforms = parser.get_parsed_content(f"{part}#preprocessing").transforms
        ends = (SpatialPadd, EstimateNoised)
        return Compose(list(takewhile(lambda each: not isinstance(each, ends), transforms)))

    return make


@pytest.fixture(scope="session")
def mixed_folder(
    tmp_path_factory: pytest.TempPathFactory, phantoms: Path, dicom_phantom: Path
) -> Path:
    """A folder with a PNG, a JPG below it, and a DICOM file."""
    folder = tmp_path_factory.mktemp("mixed")
    (folder / "below").mkdir()
    shutil.copy(phantoms / "noisy" / "1.png", folder)
    cv2.imwrite(str(folder / "below" / "2.jpg"), cv2.imread(str(phantoms / "noisy" / "2.png"), 0))
    shutil.copy(dicom_phantom, folder)
    return folder


@pytest.fixture(scope="session")
def monai_bundle() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `python -m monai.bundle …` in a bundle's folder, and expect it to succeed."""

    def run(
        bundle: str, *arguments: object, launcher: tuple[str, ...] = (), expect: int = 0
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            **_command(bundle, *launcher, "monai.bundle", *arguments),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == expect, done.stdout[-3000:] + done.stderr[-3000:]
        return done

    return run


@pytest.fixture
def killed_monai_bundle() -> Callable[..., None]:
    """Run `python -m monai.bundle …` in a bundle's folder, and kill it when a file appears."""

    def run(path: Path, bundle: str, *arguments: object) -> None:
        command = _command(bundle, "monai.bundle", *arguments)
        with subprocess.Popen(
            **command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            try:
                wait_until(path.exists, process)
            finally:
                process.kill()

    return run


def _command(bundle: str, *arguments: object) -> dict[str, Any]:
    return {
        "args": [sys.executable, "-m", *map(str, arguments)],
        "cwd": CHECKOUT / "bundles" / bundle,
        "env": {**os.environ, "PYTHONWARNINGS": "ignore", "PYTHONPATH": str(CHECKOUT)},
    }
