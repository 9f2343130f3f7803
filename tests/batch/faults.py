"""A job whose files crash, hang or exhaust their worker, depending on their names.

Worker processes import this file, so it is on `sys.path` and is not a test module. Run as a script,
it is `monai-dental` with this job.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np

from monai_dental.batch.dicom import DicomEngine, DicomJob
from monai_dental.batch.job import Result
from monai_dental.batch.source import Instance
from monai_dental.dicom import Derivation


class Darker:
    """A denoiser without torch that halves the intensities."""

    def denoise(self, pixels: np.ndarray, strength: float = 1.0) -> np.ndarray:
        return pixels * np.float32(1 - 0.5 * strength)

    def derivation_at(self, strength: float) -> Derivation:
        return Derivation("Noise reduction", "darker", "1", "ab" * 32, strength)


class FaultyEngine(DicomEngine):
    def run(self, instance: Instance, known: str) -> Result:
        fault = instance.path.name.partition(".")[0].rstrip("0123456789")
        if fault == "poison":
            os.kill(os.getpid(), signal.SIGKILL)
        elif fault == "once":
            flag = instance.path.parent.parent / "was-here"
            if not flag.exists():
                flag.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        elif fault == "lost":  # on Ray the parent is the actor: it goes as if with its machine
            flag = instance.path.parent.parent / "was-lost"
            if not flag.exists():
                flag.touch()
                os.kill(os.getppid(), signal.SIGKILL)
        elif fault == "hanging":
            time.sleep(3600)
        elif fault == "stubborn":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(3600)
        elif fault == "changing":
            with mock.patch("os.fstat", _looks_and_lets_grow(instance.path)):
                return super().run(instance, known)
        elif fault == "hungry":
            hoard = [bytearray(1 << 26) for _ in range(1 << 10)]
            raise AssertionError(len(hoard))
        elif fault == "buggy":
            raise ZeroDivisionError("MARKER")
        elif fault == "vanishing":
            instance.path.unlink()
        elif fault == "slow":
            time.sleep(0.1)
        return super().run(instance, known)


def _looks_and_lets_grow(path: Path) -> Callable[[int], os.stat_result]:
    look = os.fstat

    def fstat(descriptor: int) -> os.stat_result:
        status = look(descriptor)
        with path.open("ab") as stream:
            stream.write(b"more")
        return status

    return fstat


@dataclass(frozen=True)
class FaultyJob(DicomJob):
    def open(self) -> FaultyEngine:
        return FaultyEngine(self, Darker() if self.target is not None else None)


def main(arguments: list[str]) -> int:
    import monai_dental.batch.dicom
    from monai_dental.cli import main as command

    monai_dental.batch.dicom.DicomJob = FaultyJob
    return command(arguments)


if __name__ == "__main__":
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a background job of a shell ignores it
    sys.path.insert(0, str(Path(__file__).parent))
    import faults

    sys.exit(faults.main(sys.argv[1:]))
