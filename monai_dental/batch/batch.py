"""A batch: from a source into a target, with a folder that holds its manifest."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from monai_dental.batch.dicom import DicomJob
from monai_dental.batch.inventory import InventorySource
from monai_dental.batch.lock import hold_lock
from monai_dental.batch.manifest import MANIFEST, Manifest, Row
from monai_dental.batch.session import run_batch
from monai_dental.batch.source import InstanceSource, RemoteSource
from monai_dental.batch.target import ObjectTarget
from monai_dental.batch.tree import PARTS
from monai_dental.batch.workers import Limits
from monai_dental.errors import OutputError

LOCK = "manifest.lock"
SPOOL = ".spool"
"""Folder of what was fetched and is not done: it is made anew by each run."""

_OWN = (MANIFEST, LOCK, PARTS, SPOOL)


@dataclass(frozen=True)
class Batch:
    """All that a batch needs.

    Attributes:
        source: The files.
        target: The output.
        job: What is done with each file; its target is `target`.
        work: Folder of the manifest; where the output is a folder, that one.
        workers: Number of worker processes.
        limits: What one file may take.
        is_hashed: Whether the manifest holds digests of paths in their stead.
        is_failed_left: Whether files that failed before are done again.
    """

    source: InstanceSource
    target: ObjectTarget
    job: DicomJob
    work: Path
    workers: int = 1
    limits: Limits = Limits()
    is_hashed: bool = False
    is_failed_left: bool = False

    def check_is_begun(self) -> None:
        """Check that there is an earlier run to go on with.

        Raises:
            OutputError: There is none.
        """
        folder = self.work
        if not (folder / MANIFEST).is_file():
            raise OutputError(f"{folder}: no {MANIFEST} here; nothing to resume")

    @contextmanager
    def open(self) -> Iterator[Manifest]:
        """Prepare source, target and folder, and hold the folder: no other run can write there.

        Raises:
            OutputError: Another run holds it, it holds something else than a batch, or it cannot be
                written.
            MonaiDentalError: The target cannot be used.
        """
        folder = self.work
        _check_is_ours(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{folder}: cannot make this folder: {error.strerror}") from error
        with hold_lock(folder / LOCK):
            self.target.prepare()
            if isinstance(self.source, RemoteSource):
                self.source.prepare(folder / SPOOL)
            manifest = Manifest(folder, is_hashed=self.is_hashed, is_new=True)
            try:
                if isinstance(self.source, InventorySource):
                    manifest.set_source(self.source.folder)
                yield manifest
            finally:
                manifest.close()
                self.target.close()
                if isinstance(self.source, RemoteSource):
                    self.source.close()

    def run(
        self, manifest: Manifest, on_plan: Callable[[int], None] | None = None
    ) -> Iterator[Row]:
        """Do what is left; see `run_batch`.

        Args:
            manifest: What `open` gave.
            on_plan: Told how many files are left, before the first is done.
        """
        return run_batch(
            self.source,
            self.job,
            manifest=manifest,
            target=self.target,
            workers=self.workers,
            limits=self.limits,
            is_failed_left=self.is_failed_left,
            on_plan=on_plan,
        )

    def preview(self) -> Iterator[Row]:
        """What would become of each file: "derived" for those that would be denoised.

        Nothing is written, and pixels are not decoded.
        """
        job = replace(self.job, target=None)
        with tempfile.TemporaryDirectory() as folder:
            manifest = Manifest(Path(folder), is_hashed=self.is_hashed, is_new=True)
            if isinstance(self.source, RemoteSource):
                self.source.prepare(Path(folder) / SPOOL)
            try:
                yield from run_batch(
                    self.source,
                    job,
                    manifest=manifest,
                    target=self.target,
                    workers=self.workers,
                    limits=self.limits,
                )
            finally:
                manifest.close()
                if isinstance(self.source, RemoteSource):
                    self.source.close()


def _check_is_ours(folder: Path) -> None:
    try:
        names = {path.name for path in folder.iterdir()} if folder.exists() else set()
    except OSError as error:
        raise OutputError(f"{folder}: cannot read this folder: {error.strerror}") from error
    if names and not names.intersection(_OWN):
        raise OutputError(
            f"{folder}: holds something, but no {MANIFEST}; need an empty or new folder, or one "
            "of an earlier run"
        )
