"""`monai-dental`, with a denoiser that needs no torch; run as a script.

Worker processes import this file, so it is on `sys.path` and is not a test module.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from monai_dental.batch.dicom import DicomEngine, DicomJob
from monai_dental.dicom import Derivation

POISON_ROWS = 31


class Darker:
    """Halves the intensities, slowly if the environment says so.

    An image with `POISON_ROWS` rows kills its process.
    """

    def denoise(self, pixels: np.ndarray, strength: float = 1.0) -> np.ndarray:
        if pixels.shape[0] == POISON_ROWS:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(float(os.environ.get("STUB_SECONDS", "0")))
        return pixels * np.float32(1 - 0.5 * strength)

    def derivation_at(self, strength: float) -> Derivation:
        return Derivation("Noise reduction", "darker", "1", "ab" * 32, strength)


@dataclass(frozen=True)
class StubJob(DicomJob):
    def open(self) -> DicomEngine:
        return DicomEngine(self, Darker())


def main(arguments: list[str]) -> int:
    import monai_dental.batch.dicom
    from monai_dental.cli import main as command

    monai_dental.batch.dicom.DicomJob = StubJob
    return command(arguments)


if __name__ == "__main__":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: no node outlives its test
    sys.path.insert(0, str(Path(__file__).parent))
    import stub_node

    sys.exit(stub_node.main(sys.argv[1:]))
