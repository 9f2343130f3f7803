"""The actions of the page's worker processes; the server itself does not load this module."""

from __future__ import annotations

import re
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from monai_dental.batch.job import TOO_LARGE, Recipe, Result
from monai_dental.batch.source import Instance
from monai_dental.errors import MonaiDentalError, unexpected
from monai_dental.files.atomic import write_atomically
from monai_dental.filters import blend
from monai_dental.formats import write_radiograph
from monai_dental.radiograph import PixelArray
from monai_dental.viewer.pixels import describe, grey_values, thumbnail
from monai_dental.web.job import AFTER, BEFORE, FULL, NOISE, THUMBNAIL, Answer, Task

if TYPE_CHECKING:
    from monai_dental.inference.denoiser import Denoiser

_NOISE_SIDE = 800


class PageEngine:
    """The actions of a worker.

    Args:
        denoiser: The network; None for a worker that only reads and writes files.
    """

    def __init__(self, denoiser: Denoiser | None = None) -> None:
        self._denoiser = denoiser
        self.recipe = Recipe("", "")

    def run(self, instance: Instance, known: str) -> Result:
        """Run a `Task`; see `Engine.run`."""
        if not isinstance(instance, Task):
            raise TypeError(f"need a Task, got {type(instance).__name__}")
        deeds = {
            "inspect": self.inspect, "open": self.open, "denoise": self.denoise,
            "save": self.save, "figures": self.figures, "report": self.report,
        }  # fmt: skip
        try:
            return deeds[instance.deed](instance)
        except MonaiDentalError as error:
            return Result("failed", _for_the_page(error, instance))
        except MemoryError:
            return Result("failed", TOO_LARGE)
        except Exception as error:  # noqa: BLE001 - its text could quote patient data
            return Result("failed", unexpected(error))

    def inspect(self, task: Task) -> Answer:
        """Describe the file, and write its thumbnail."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            radiograph = task.read()
        notes = [_for_the_page(each.message, task) for each in caught
                 if str(each.message).startswith(f"{task.path}: ")]  # fmt: skip
        write_atomically(task.folder / THUMBNAIL, thumbnail(radiograph))
        return Answer("derived", info={**describe(radiograph), "notes": notes})

    def open(self, task: Task) -> Answer:
        """Write the grey values of the source."""
        write_atomically(task.folder / BEFORE, grey_values(task.read()).tobytes())
        return Answer("derived")

    def denoise(self, task: Task) -> Answer:
        """Write the network's result, and the grey values at strength 1."""
        if self._denoiser is None:
            raise ValueError("this worker has no network")
        radiograph = task.read()
        full = self._denoiser.network_result(radiograph.pixels)
        write_atomically(task.folder / FULL, full.tobytes())
        denoised = radiograph.with_pixels(blend(radiograph.pixels, full, 1.0))
        write_atomically(task.folder / AFTER, grey_values(denoised).tobytes())
        return Answer("derived", derivation=self._denoiser.derivation_at(1.0))

    def save(self, task: Task) -> Answer:
        """Write the file that `monai-dental denoise --strength` writes, to `task.result`."""
        if task.derivation is None or task.result is None:
            raise ValueError("a file is saved by its derivation, to a path")
        radiograph = task.read()
        denoised = radiograph.with_pixels(self._blended(task, radiograph.pixels))
        derivation = replace(task.derivation, strength=task.strength)
        task.result.parent.mkdir(parents=True, exist_ok=True)
        write_radiograph(denoised, task.result, derivation=derivation)
        return Answer("derived")

    def figures(self, task: Task) -> Answer:
        """Measure a frame, and write its noise map: a byte per pixel, 255 for `noiseScale`."""
        from monai_dental.report.compare import compare
        from monai_dental.report.pictures import noise_levels

        pixels = task.read().pixels
        after = self._blended(task, pixels)
        if pixels.ndim == 3:
            pixels, after = pixels[task.frame], after[task.frame]
        comparison = compare(pixels, after)
        info: dict[str, Any] = {"figures": vars(comparison.figures), "noise": None}
        if comparison.noise_map is not None:
            levels, scale = noise_levels(comparison.noise_map, _NOISE_SIDE)
            write_atomically(task.folder / NOISE, levels.tobytes())
            rows, columns = levels.shape
            info["noise"] = {"rows": rows, "columns": columns, "scale": scale}
        return Answer("derived", info=info)

    def report(self, task: Task) -> Answer:
        """Write a report on the results of `others` into `task.folder`."""
        from monai_dental.report import write_report

        results = task.folder / "results"
        pages = task.folder / "report"
        pages.mkdir(parents=True)
        instances = [Instance(each.path, each.name) for each in task.others]
        entries = list(write_report(instances, results, pages, language=task.language))
        failed = sum(entry.reason is not None for entry in entries)
        return Answer("derived", info={"images": len(entries), "failed": failed})

    @staticmethod
    def _blended(task: Task, pixels: PixelArray) -> PixelArray:
        if task.strength == 0:
            return pixels
        full = np.memmap(task.folder / FULL, np.float32, "r", shape=pixels.shape)
        return blend(pixels, full, task.strength)


def _for_the_page(message: Exception | str, task: Task) -> str:
    """Return a message without the file's name: the page knows the file by another name."""
    ours = rf"{re.escape(str(task.folder.parent))}[^:]*"
    names = rf"(file )?({re.escape(str(task.path))}|{ours})|instance [\d.]+|an instance without UID"
    text = re.sub(rf"^({names}): ", "", str(message))
    return text.replace(str(task.path), "the file")
