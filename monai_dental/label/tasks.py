"""Tasks of the server: denoise an image, and adapt a bundle to the server's images."""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType
from monailabel.interfaces.tasks.train import TrainTask
from monailabel.utils.others.generic import device_list, name_to_device

from monai_dental.bundle.find import require_weights
from monai_dental.formats import read_radiograph
from monai_dental.inference.denoiser import Denoiser
from monai_dental.label.model import Model
from monai_dental.label.results import checked_suffix, write_result
from monai_dental.training.adapt import adapt, usable_images

if TYPE_CHECKING:
    from monailabel.interfaces.datastore import Datastore

_LOGGER = logging.getLogger(__name__)


OPTIONS = ("strength", "variant", "device", "result_extension", "save_label")
"""Options of `DenoiseTask` in a request."""


class DenoiseTask(InferTask):
    """Denoising of one image, exactly as `monai-dental denoise` does it.

    Its type is "others": clients that treat results as label maps would round them to 8 bits.
    """

    def __init__(self, model: Model) -> None:
        options = {"device": device_list(), "strength": 1.0, "save_label": False}
        if len(model.variants) > 1:
            options["variant"] = model.variants
        description = model.metadata["description"]
        super().__init__(InferType.OTHERS, None, 2, description, options)
        self._model = model
        self._denoisers: dict[tuple[str, str], tuple[tuple[Any, ...], Denoiser]] = {}
        self._lock = threading.Lock()

    def is_valid(self) -> bool:
        """Return whether there are weights."""
        return self._model.weights.is_file()

    def get_path(self, validate: bool = True) -> str | None:
        """Return the file of the weights, for the server's /model/."""
        return str(self._model.weights) if self.is_valid() or not validate else None

    def info(self) -> dict[str, Any]:
        """Return the model's entry in /info/."""
        return {**super().info(), "version": self._model.metadata["version"]}

    def __call__(self, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Denoise the image of a request.

        Args:
            request: `image`, a file or a folder with the files of a series; optionally `strength`,
                `variant`, `device` and `result_extension`. `result_dtype` is ignored: results keep
                the bit depth of the source.

        Returns:
            A temporary file with the result, and a record of what was done.

        Raises:
            MonaiDentalError: The image or the weights cannot be read.
            ValueError: An option is wrong.
        """
        strength = _number(request.get("strength", 1.0))
        variant = _first(request.get("variant", self._model.variants))
        device = _checked_device(request.get("device"))
        image = Path(request["image"])
        files = sorted(image.iterdir()) if image.is_dir() else [image]
        suffix = request.get("result_extension")
        with self._lock:
            denoiser = self._denoiser(variant, device)
            denoised = []
            for file in files:
                radiograph = read_radiograph(file)
                checked_suffix(radiograph, suffix)  # before the slow part
                pixels = denoiser.denoise(radiograph.pixels, strength)
                denoised.append(radiograph.with_pixels(pixels))
        derivation = denoiser.derivation_at(strength)
        path = write_result(denoised, derivation, suffix)
        return str(path), {
            "bundle": derivation.model_name,
            "version": derivation.model_version,
            "weights": derivation.weights_digest,
            "variant": variant,
            "strength": strength,
        }

    def _denoiser(self, variant: str, device: str) -> Denoiser:
        """Return a denoiser with the current weights."""
        config_name = self._model.config_name(variant)
        require_weights(str(self._model.weights))
        status = self._model.weights.stat()
        made_from = (self._model.folder, status.st_ino, status.st_mtime_ns)
        kept = self._denoisers.get((variant, device))
        if kept is None or kept[0] != made_from:
            kept = made_from, Denoiser(self._model.folder, config_name, device)
            self._denoisers[variant, device] = kept
        return kept[1]


class AdaptTask(TrainTask):
    """Fine-tuning of a bundle on the datastore's noisy images, for use by the next inference.

    The result is kept only if it is better on images set aside for validation. It never replaces
    the original: it is a separate bundle in the app's folder, and so is the previous result.

    Args:
        model: A bundle that can be adapted.
    """

    def __init__(self, model: Model) -> None:
        super().__init__(f"Fine-tunes on noisy images, without labels. {model.metadata['task']}")
        self._model = model
        config = model.original / "configs" / "adapt.json"
        self._max_epochs = json.loads(config.read_text(encoding="utf-8"))["max_epochs"]

    def config(self) -> dict[str, Any]:
        """Return the options that clients show."""
        return {"max_epochs": self._max_epochs}

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any]:
        """Train; MONAI Label calls this in a separate process.

        Args:
            request: Optionally `max_epochs`.
            datastore: The datastore of images.

        Returns:
            The losses before and after, and the number of images.

        Raises:
            MonaiDentalError: There are too few images, or one of the bundles cannot be used.
        """
        paths = [Path(datastore.get_image_uri(name)) for name in sorted(datastore.list_images())]
        files = [f for p in paths for f in (sorted(p.iterdir()) if p.is_dir() else [p])]
        images, reasons = usable_images(files)
        for reason in reasons:
            _LOGGER.warning(f"left out: {reason}")
        trained = self._model.trained
        fresh = trained.with_name(f"{trained.name}.new")
        shutil.rmtree(fresh, ignore_errors=True)
        result = adapt(
            self._model.folder,
            images,
            fresh,
            max_epochs=int(request.get("max_epochs", self._max_epochs)),
            progress=lambda epoch, epochs: _LOGGER.info(f"epoch {epoch} of {epochs}"),
        )
        _LOGGER.info(f"validation loss {result.loss_before} before, {result.loss_after} after")
        if result.loss_after < result.loss_before:
            self._model.note_origin(fresh)
            _replace(trained, fresh)
        else:
            _LOGGER.info("no epoch improved on the weights; they are kept")
            shutil.rmtree(fresh)
        return dataclasses.asdict(result)


def _replace(folder: Path, fresh: Path) -> None:
    """Replace a folder by a new one, and keep the old one as NAME.previous."""
    previous = folder.with_name(f"{folder.name}.previous")
    if folder.is_dir():
        shutil.rmtree(previous, ignore_errors=True)
        folder.replace(previous)
    fresh.replace(folder)


def _first(value: Any) -> str:
    """Return a client's choice; a client that made no choice sends back the whole list."""
    return str(value[0] if isinstance(value, list) else value)


def _checked_device(value: Any) -> str:
    """Return the device of a request; refuse a missing GPU, which MONAI Label would replace."""
    name = None if value in (None, "", []) else _first(value)
    if name is not None and name.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"device is {name!r}; this server has no GPU; need cpu")
    device: str = name_to_device(name)
    return device


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"strength is {value!r}; need a number from 0 to 1") from error
