"""The deeds of the page's worker, in this process."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from monai_dental.web.engine import PageEngine
from monai_dental.web.job import AFTER, FULL, Task


class Halving:
    """Stands for a network."""

    def network_result(self, pixels: np.ndarray) -> np.ndarray:
        return pixels / np.float32(2)

    def derivation_at(self, strength: float) -> None:
        return None


@pytest.fixture
def task(tmp_path):
    folder = tmp_path / "server" / "1"
    folder.mkdir(parents=True)
    path = folder / "source.png"
    cv2.imwrite(str(path), np.full((6, 8), 200, np.uint8))
    return Task(path, Path("a.png"), deed="denoise", folder=folder)


@pytest.mark.parametrize("filled", [FULL, AFTER])
def test_full_disk_is_told_as_such_without_the_server_s_folder(task, monkeypatch, filled):
    replace = os.replace

    def fail(part: Path, path: Path) -> None:
        if path.name == filled:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(part, path)

    monkeypatch.setattr(os, "replace", fail)

    result = PageEngine(Halving()).run(task, "")

    assert result.reason == "cannot be written: No space left on device"
    monkeypatch.setattr(os, "replace", replace)
    assert PageEngine(Halving()).run(task, "").outcome == "derived"
