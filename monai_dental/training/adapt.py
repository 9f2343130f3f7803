"""Fine-tune a bundle to one X-ray machine on its noisy images, without clean ones."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ignite.engine import Events
from monai.bundle import ConfigWorkflow
from pydicom import Dataset

from monai_dental.bundle.find import read_metadata, require_weights
from monai_dental.dicom.record import is_own
from monai_dental.errors import (
    BundleError,
    DatasetError,
    MonaiDentalError,
    OutputError,
    plain_cause,
)
from monai_dental.files.outputs import output_folder
from monai_dental.formats import read_radiograph
from monai_dental.noise import SMALLEST_SIDE, estimate_noise
from monai_dental.process.threads import one_thread
from monai_dental.radiograph import PixelArray
from monai_dental.training.datalists import split_datalist

_VALIDATION_SHARE = 0.1
_PARTS = ("configs", "docs", "LICENSE")
_WEIGHTS = "models/model.pt"
_SUFFIX = "+adapted"


@dataclass(frozen=True)
class Adaptation:
    """Result of adapting a bundle.

    Attributes:
        loss_before: Loss of the bundle's original weights on the images held out for validation.
        loss_after: Loss of the adapted weights on them; never higher, since the better weights are
            kept.
        image_count: Number of images that the bundle was adapted to, including those held out.
    """

    loss_before: float
    loss_after: float
    image_count: int


def usable_images(paths: Iterable[Path]) -> tuple[list[Path], list[str]]:
    """Return the files to adapt to, and for each other file its name and the reason."""
    images, reasons = [], []
    for path in paths:
        try:
            radiograph = read_radiograph(path)
        except MonaiDentalError as error:
            reasons.append(str(error))
            continue
        pixels, shape = radiograph.pixels, radiograph.pixels.shape
        if isinstance(radiograph.header, Dataset) and is_own(radiograph.header):
            reasons.append(f"{path}: made by monai_dental itself; need an image with its noise")
        elif len(shape) > 2 and shape[0] > 1:
            reasons.append(f"{path}: {shape[0]} frames; need one")
        elif min(shape[-2:]) < SMALLEST_SIDE:
            size = f"{shape[-2]} x {shape[-1]}"
            reasons.append(f"{path}: {size} pixels; need {SMALLEST_SIDE} or more")
        elif not _is_noisy(pixels.reshape(shape[-2:])):
            reasons.append(f"{path}: no noise found; need an unprocessed detector image")
        else:
            images.append(path)
    return images, reasons


def _is_noisy(pixels: PixelArray) -> bool:
    with one_thread():
        return bool(estimate_noise(pixels).variances.any())


def check_adaptable(bundle: Path, output: Path) -> None:
    """Check all that can be checked before reading images, leaving no files behind.

    Raises:
        BundleError: The bundle cannot be adapted, or has no weights to start from.
        OutputError: The output folder is not empty, or cannot be created.
    """
    if not all((bundle / "configs" / f"{name}.json").is_file() for name in ("train", "adapt")):
        raise BundleError(f"{bundle.name}: cannot be adapted: it has no configs/adapt.json")
    require_weights(str(bundle / _WEIGHTS))
    for path in (bundle.resolve(), output.resolve()):
        if "#" in str(path):
            raise OutputError(f"{path}: MONAI's configs cannot hold a path with # in it; rename it")
    if output.is_mount():
        raise OutputError(
            f"{output}: is a mounted volume; need a folder inside it, which can be renamed"
        )
    with output_folder(output):
        pass


def adapt(
    bundle: Path,
    images: Sequence[Path],
    output: Path,
    *,
    max_epochs: int | None = None,
    progress: Callable[[int, int], None] = lambda epoch, epochs: None,
) -> Adaptation:
    """Fine-tune a bundle on noisy images, and write the result as a new bundle.

    The bundle's overlay `adapt.json` defines the training. The last tenth of the images, and all
    others of the same patients, only validate; if all images are of one patient (or anonymized),
    only the last tenth do. The new bundle is written completely or not at all.

    Args:
        bundle: The bundle's folder.
        images: Noisy images, all from the same machine, as `usable_images` returns them.
        output: Folder for the new bundle, empty or new.
        max_epochs: Number of epochs; None for the bundle's own.
        progress: Called with the number of finished epochs and of all epochs.

    Raises:
        BundleError: The bundle cannot be adapted, or has no weights to start from.
        DatasetError: Fewer than two images.
        OutputError: The output folder is not empty, or cannot be written.
    """
    if len(images) < 2:
        raise DatasetError(
            f"{len(images)} images to adapt to; need at least 2, preferably 20 or more"
        )
    check_adaptable(bundle, output)
    bundle, output = bundle.resolve(), output.resolve()
    try:
        with output_folder(output), _work_folder(output) as folder:
            made = folder / "bundle"
            _copy_bundle(bundle, made)
            file = folder / "splits.json"
            file.write_text(json.dumps(_split(images)), encoding="utf-8")
            load = "monai_dental.training.datalists.load_datalist"
            splits = {"_target_": load, "path": str(file)}
            overrides: dict[str, Any] = {} if max_epochs is None else {"max_epochs": max_epochs}
            with _plain_errors():
                workflow = ConfigWorkflow(
                    config_file=[str(bundle / "configs" / f"{n}.json") for n in ("train", "adapt")],
                    workflow_type="train", logging_file=False, bundle_root=str(made),
                    initial_weights=str(bundle / _WEIGHTS), ckpt_name=Path(_WEIGHTS).name,
                    datalist=[], splits=splits, **overrides,
                )  # fmt: skip
                before, after = _train(workflow, progress)
            if after < before:
                _tell_of_change(made, len(images))
            made.replace(output)  # atomic: the output folder exists and is empty
    except OSError as error:
        raise OutputError(f"{output}: cannot be written: {error.strerror or error}") from error
    return Adaptation(before, after, len(images))


@contextlib.contextmanager
def _work_folder(output: Path) -> Iterator[Path]:
    """Create a folder beside the output, replacing a killed run's, and remove it at the end."""
    folder = output.with_name(f".adapt-{output.name}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _split(images: Sequence[Path]) -> list[list[dict[str, str]]]:
    """Return the training and the validation datalist."""
    datalist = [{"image": str(path.resolve())} for path in images]
    count = max(1, round(_VALIDATION_SHARE * len(images)))
    try:
        return split_datalist(datalist, count)
    except DatasetError:
        return [datalist[:-count], datalist[-count:]]


def _copy_bundle(bundle: Path, target: Path) -> None:
    """Copy a bundle without its weights."""
    target.mkdir()
    for name in _PARTS:
        source = bundle / name
        if source.is_dir():
            shutil.copytree(source, target / name)
        elif source.is_file():
            shutil.copy(source, target / name)


def _tell_of_change(bundle: Path, image_count: int) -> None:
    """Record in a bundle's metadata and docs that its weights have changed."""
    change = f"weights adapted to {image_count} of the user's own noisy images"
    metadata = read_metadata(bundle)
    version = f"{str(metadata.get('version', '0')).removesuffix(_SUFFIX)}{_SUFFIX}"
    metadata |= {"version": version, "data_source": change, "eval_metrics": {}}
    metadata["changelog"] = {**metadata.get("changelog", {}), version: change}
    content = json.dumps(metadata, indent=4) + "\n"
    (bundle / "configs" / "metadata.json").write_text(content, encoding="utf-8")
    readme = bundle / "docs" / "README.md"
    if readme.is_file():
        about = f"*This is a copy with {change}; figures below are of the original.*\n\n"
        readme.write_text(about + readme.read_text(encoding="utf-8"), encoding="utf-8")


@contextlib.contextmanager
def _plain_errors() -> Iterator[None]:
    """Re-raise this package's own errors that MONAI has wrapped."""
    try:
        yield
    except Exception as error:
        cause = plain_cause(error)
        if cause is None:
            raise
        raise cause from None


def _train(workflow: ConfigWorkflow, progress: Callable[[int, int], None]) -> tuple[float, float]:
    """Run the training; return the validation loss before it and the best one."""
    workflow.initialize()
    trainer = workflow.parser.get_parsed_content("train#trainer")
    evaluator = workflow.parser.get_parsed_content("validate#evaluator")
    losses: list[float] = []
    evaluator.add_event_handler(
        Events.COMPLETED, lambda engine: losses.append(engine.state.metrics["val_loss"])
    )
    trainer.add_event_handler(
        Events.EPOCH_COMPLETED, lambda engine: progress(engine.state.epoch, engine.state.max_epochs)
    )
    workflow.run()
    workflow.finalize()
    return losses[0], min(losses)
