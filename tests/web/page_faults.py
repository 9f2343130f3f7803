"""A worker's job whose files crash, hang or exhaust it, depending on their names.

Worker processes import this file, so it is on `sys.path` and is not a test module.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass

from monai_dental.batch.job import TOO_LARGE, Recipe, Result
from monai_dental.batch.source import Instance
from monai_dental.errors import BundleError
from monai_dental.web.job import Answer


class FaultyEngine:
    recipe = Recipe("", "")

    def run(self, instance: Instance, known: str) -> Result:
        fault = instance.path.stem
        if fault == "poison":
            os.kill(os.getpid(), signal.SIGKILL)
        elif fault == "hanging":
            time.sleep(3600)
        elif fault == "hungry":
            try:
                hoard = [bytearray(1 << 26) for _ in range(1 << 10)]
            except MemoryError:
                return Result("failed", TOO_LARGE)
            raise AssertionError(len(hoard))
        elif fault == "buggy":
            raise ZeroDivisionError("MARKER")
        return Answer("derived", info={"name": fault})


@dataclass(frozen=True)
class FaultyJob:
    def open(self) -> FaultyEngine:
        return FaultyEngine()


@dataclass(frozen=True)
class BrokenJob:
    def open(self) -> FaultyEngine:
        raise BundleError("models/model.pt: no weights here")
