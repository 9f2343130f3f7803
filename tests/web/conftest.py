"""A real server, started as by users, and files of all formats."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import nibabel as nib
import numpy as np
import pytest
from pydicom import dcmwrite

from monai_dental.cli import main


@dataclass
class Served:
    """A running server: its process, its page's address, and the parent of its temporary folder."""

    process: subprocess.Popen[str]
    url: str
    tmp: Path

    def ask(
        self, path: str, data: bytes | None = None, method: str | None = None, **headers: str
    ) -> tuple[int, bytes, dict[str, str]]:
        """Return status, content and headers of an answer; errors are answers too."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self.url + path, data, named, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=300) as answer:
                return answer.status, answer.read(), dict(answer.headers)
        except urllib.error.HTTPError as error:
            return error.code, error.read(), dict(error.headers)

    def add(self, name: str, content: bytes) -> dict[str, Any]:
        status, answer, _ = self.ask(f"api/images?name={name}", content, "POST")
        assert status == 201, answer
        return json.loads(answer)

    def images(self) -> list[dict[str, Any]]:
        return json.loads(self.ask("api/changes?since=0")[1])["images"]

    def errors(self) -> str:
        """What it has told the terminal that is no address."""
        return (self.tmp / "stderr").read_text(encoding="utf-8")

    def folders(self) -> list[Path]:
        return sorted(self.tmp.glob("monai-dental-serve-*"))


def start_server(tmp: Path, *arguments: str) -> Served:
    command = [sys.executable, "-m", "monai_dental", "serve", "--no-browser", *arguments]
    environment = {**os.environ, "TMPDIR": str(tmp)}
    with (tmp / "stderr").open("w") as stderr:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=stderr, text=True, env=environment
        )
    line = process.stdout.readline()
    return Served(process, re.search(r"http://127\.0\.0\.1:\d+/[\w-]+/", line)[0], tmp)


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Served]]:
    """Starts servers, which end with the tests."""
    started: list[Served] = []

    def begin(*arguments: str, tmp: Path | None = None) -> Served:
        served = start_server(tmp or tmp_path_factory.mktemp("tmp"), *arguments)
        started.append(served)
        return served

    yield begin
    for served in started:
        served.process.terminate()
    for served in started:
        served.process.wait(120)


@pytest.fixture(scope="session")
def served(start: Callable[..., Served]) -> Served:
    """A server for the tests that do not change it."""
    return start()


@pytest.fixture(scope="session")
def mixed_files(
    tmp_path_factory: pytest.TempPathFactory, picture: Callable[..., np.ndarray], dicom_dataset: Any
) -> Path:
    """Eight files of all formats, one of them broken."""
    folder = tmp_path_factory.mktemp("mixed")
    generator = np.random.default_rng(0)

    def ramp(bits: int, rows: int = 120, columns: int = 160) -> np.ndarray:
        clean = np.tile(np.linspace(0.15, 0.85, columns), (rows, 1))
        noisy = clean + generator.normal(0, 0.03, clean.shape)
        values = np.rint(np.clip(noisy, 0, 1) * ((1 << bits) - 1))
        return values.astype(np.uint8 if bits == 8 else np.uint16)

    for name, bits in (("a.jpg", 8), ("b.png", 8), ("c.png", 16), ("d.tif", 16), ("e.bmp", 8)):
        cv2.imwrite(str(folder / name), ramp(bits))
    nib.save(nib.Nifti1Image(ramp(16).T, np.diag([0.2, 0.1, 1, 1])), folder / "f.nii.gz")
    frames = np.stack([ramp(12), ramp(12)])
    dataset = dicom_dataset(
        stored=frames, frames=2, bits_stored=12, modality="DX", WindowCenter=2000, WindowWidth=1000,
        PixelSpacing=[0.2, 0.2],
    )  # fmt: skip
    dcmwrite(folder / "g.dcm", dataset, enforce_file_format=True)
    (folder / "h <b>x.png").write_bytes((folder / "b.png").read_bytes()[:500])
    return folder


@pytest.fixture(scope="session")
def denoised_files(mixed_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of the command line for them at strength 0.6."""
    folder = tmp_path_factory.mktemp("denoised")
    assert main(["denoise", str(mixed_files), "--output", str(folder), "--strength", "0.6"]) == 1
    return folder
