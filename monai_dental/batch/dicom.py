"""The job of denoising DICOM files: read, select, denoise, derive, compress, store."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Protocol

import numpy as np

from monai_dental.batch.job import TOO_LARGE, Recipe, Result
from monai_dental.batch.masks import read_mask
from monai_dental.batch.source import Instance
from monai_dental.batch.target import ObjectTarget
from monai_dental.dicom.compression import compress, target_syntax
from monai_dental.dicom.derive import Derivation, derive
from monai_dental.dicom.identity import is_uid
from monai_dental.dicom.pixels import transfer_syntax_uid
from monai_dental.dicom.quiet import quiet_pydicom
from monai_dental.dicom.read import read_dataset, to_radiograph
from monai_dental.dicom.record import is_own
from monai_dental.dicom.select import COLOUR, Rules, may_be_grey, reason_to_skip
from monai_dental.errors import (
    ColourImageError,
    CorruptImageError,
    MonaiDentalError,
    OutputError,
    UnsupportedImageError,
    unexpected,
    without_path,
)
from monai_dental.files.digests import digest_of, stamp_of
from monai_dental.formats.registry import FORMAT_SUFFIXES
from monai_dental.radiograph import PixelArray

_NOT_DICOM = "not a DICOM file"
_HEAD = 132
# First group of a file without preamble: 2 or 8, in either byte order.
_FIRST_GROUPS = (b"\x02\0", b"\x08\0", b"\0\x02", b"\0\x08")
_INSTANCE = re.compile(r"(an )?instance ([0-9.]+|without UID): ")
_OUT_OF_MEMORY = re.compile(r"MemoryError|[Cc]an(no|')t allocate memory|bad_alloc|bad allocation")


class ArrayDenoiser(Protocol):
    """The part of `monai_dental.inference.denoiser.Denoiser` that an engine uses."""

    def denoise(self, pixels: PixelArray, strength: float = 1.0) -> PixelArray:
        """Denoise one image, or each frame of several; see `Denoiser.denoise`."""

    def derivation_at(self, strength: float) -> Derivation:
        """Return the record of the derivation; see `Denoiser.derivation_at`."""


class DicomEngine:
    """A worker's denoiser of DICOM files.

    Args:
        job: The settings.
        denoiser: The network; None only checks which files would be denoised.
    """

    def __init__(self, job: DicomJob, denoiser: ArrayDenoiser | None = None) -> None:
        self._job, self._denoiser = job, denoiser
        self.recipe = Recipe("", job.rules.digest)
        if denoiser is None:
            return
        self._derivation = denoiser.derivation_at(job.strength)
        settings = (self._derivation.identity, job.compression, str(job.is_reproducible))
        self.recipe = Recipe(
            hashlib.sha256("\0".join(settings).encode()).hexdigest(),
            job.rules.digest,
            self._derivation.weights_digest,
            job.strength,
        )

    def run(self, instance: Instance, known: str) -> Result:
        """Denoise one file; see `Engine.run`."""
        try:
            found, content = _read(instance)
        except OSError as error:
            gone = isinstance(error, FileNotFoundError)
            what = "this folder cannot be read" if instance.path.is_dir() else "cannot be read"
            reason = "vanished before it was read" if gone else f"{what}: {error.strerror}"
            return Result("failed", reason)
        except CorruptImageError as error:
            return Result("failed", str(error))
        except MemoryError:
            return Result("failed", TOO_LARGE)
        if known and found.digest + found.mask_digest == known:
            return found
        if content is None:
            is_link = instance.path.is_dir()
            reason = "a link to a folder; --follow-links follows it" if is_link else _NOT_DICOM
            return replace(found, outcome="skipped", reason=reason)
        try:
            return self._run(instance, content, found)
        except OutputError:
            raise
        except MonaiDentalError as error:
            return replace(found, outcome="failed", reason=_reason(error, instance.path))
        except Exception as error:  # noqa: BLE001 - its text could quote patient data
            kind = unexpected(error)
            if _OUT_OF_MEMORY.search(f"{kind} {error}"):
                kind = TOO_LARGE
            return replace(found, outcome="failed", reason=kind)

    def _run(self, instance: Instance, content: bytes, found: Result) -> Result:
        job = self._job
        try:
            dataset = read_dataset(instance.path, content)
        except UnsupportedImageError as error:
            if _reason(error, instance.path) != _NOT_DICOM:
                raise
            return replace(found, outcome="skipped", reason=_NOT_DICOM)
        reason = reason_to_skip(dataset, job.rules)
        if reason is None and is_own(dataset):
            reason = "made by monai_dental itself"
        if reason is not None:
            return replace(found, outcome="skipped", reason=reason)
        is_preview = self._denoiser is None or job.target is None
        if is_preview and not may_be_grey(dataset):
            return replace(found, outcome="derived")
        with quiet_pydicom():
            source_syntax = transfer_syntax_uid(dataset)
        try:
            radiograph = to_radiograph(dataset, instance.path)
        except ColourImageError:
            return replace(found, outcome="skipped", reason=COLOUR)
        notes = "; ".join(radiograph.notes)
        if self._denoiser is None or job.target is None:
            return replace(found, outcome="derived", reason=notes)
        del dataset, content
        mask = None
        if instance.mask is not None:
            mask = read_mask(instance.mask, radiograph.pixels.shape[-2:])
        pixels = self._denoiser.denoise(radiograph.pixels, job.strength)
        if mask is not None:
            pixels = np.where(mask, radiograph.pixels, pixels)
        denoised = radiograph.with_pixels(pixels)
        created = None if job.is_reproducible else datetime.now(timezone.utc)
        derived = derive(denoised, replace(self._derivation, created=created))
        del radiograph, denoised
        compress(derived, target_syntax(job.compression, source_syntax))
        stored = job.target.store(derived)
        return replace(found, outcome="derived", reason=notes, stored=stored)


@dataclass(frozen=True)
class DicomJob:
    """Denoising of DICOM files with one bundle.

    Attributes:
        bundle: The bundle's folder.
        rules: Which instances are denoised.
        target: Where the results go; None only checks which files would be denoised.
        strength: Fraction of the network's correction that is applied, 0 to 1.
        compression: One of `monai_dental.dicom.compression.COMPRESSIONS`.
        is_reproducible: Whether to omit creation times from the results.
        device: For example "cpu" or "cuda:0"; None for the bundle's own.
        backend: What runs the network: one of `monai_dental.inference.backends.BACKENDS`.
    """

    bundle: Path
    rules: Rules
    target: ObjectTarget | None
    strength: float = 1.0
    compression: str = "none"
    is_reproducible: bool = False
    device: str | None = None
    backend: str = "torch"

    def open(self) -> DicomEngine:
        """Load the model; see `Job.open`."""
        if self.target is None:
            return DicomEngine(self)
        from monai_dental.inference.denoiser import Denoiser

        return DicomEngine(self, Denoiser(self.bundle, device=self.device, backend=self.backend))


def _read(instance: Instance) -> tuple[Result, bytes | None]:
    """Read a file and its state; return None instead of the bytes if it is clearly not DICOM."""
    if instance.path.is_dir():
        _refuse_folder(instance.path)
        return Result("left", stamp=stamp_of(instance.path.lstat())), None
    masks = [] if instance.mask is None else [instance.mask]
    mask_states = [path.stat() for path in masks]
    mask_digest = "".join(map(digest_of, masks))
    # Without O_NONBLOCK, opening a pipe without a writer would block.
    descriptor = os.open(instance.path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    with open(descriptor, "rb") as stream:
        before = os.fstat(descriptor)
        found = Result("left", stamp=stamp_of(before, *mask_states), mask_digest=mask_digest)
        if not stat.S_ISREG(before.st_mode):
            return found, None
        head = stream.read(_HEAD)
        if not any(head) and _is_named_as_dicom(instance.path):
            what = (
                "begins with nothing but zeros, as after a crash or a broken copy"
                if head
                else "is empty"
            )
            raise CorruptImageError(f"the file {what}")
        if head[128:] != b"DICM" and head[:2] not in _FIRST_GROUPS:
            return replace(found, digest=digest_of(instance.path)), None
        content = head + stream.read()
        after = os.fstat(descriptor)
    if stamp_of(after) != stamp_of(before) or len(content) != after.st_size:
        raise CorruptImageError("changed while it was read")
    return replace(found, digest=hashlib.sha256(content).hexdigest()), content


def _is_named_as_dicom(path: Path) -> bool:
    return path.name.lower().endswith(FORMAT_SUFFIXES["dicom"]) or is_uid(path.name)


def _refuse_folder(path: Path) -> None:
    """Raise an error for a folder that could not be read; accept links to folders."""
    if path.is_symlink():
        return
    os.listdir(path)
    raise CorruptImageError(
        "a folder that could not be read; once it can, run the same command again"
    )


def _reason(error: MonaiDentalError, path: Path) -> str:
    """Return an error's message without the path, which the row has already or must not show."""
    text = str(error)
    if _OUT_OF_MEMORY.search(text):
        return TOO_LARGE
    return _INSTANCE.sub("", without_path(text, path), count=1)
