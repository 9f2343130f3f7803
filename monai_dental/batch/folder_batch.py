"""A batch from one folder of DICOM files into another."""

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
from monai_dental.batch.tree import PARTS, StudyTree
from monai_dental.batch.workers import Limits
from monai_dental.errors import OutputError

LOCK = "manifest.lock"
_OWN = (MANIFEST, LOCK, PARTS)


@dataclass(frozen=True)
class FolderBatch:
    """A batch from a folder into a folder, which also holds its manifest.

    Attributes:
        source: The files.
        tree: The output.
        job: What is done with each file; its target is `tree`.
        workers: Number of worker processes.
        limits: What one file may take.
        is_hashed: Whether the manifest holds digests of paths in their stead.
        is_failed_left: Whether files that failed before are done again.
    """

    source: InventorySource
    tree: StudyTree
    job: DicomJob
    workers: int = 1
    limits: Limits = Limits()
    is_hashed: bool = False
    is_failed_left: bool = False

    def check_is_begun(self) -> None:
        """Check that there is an earlier run to go on with.

        Raises:
            OutputError: There is none.
        """
        folder = self.tree.folder
        if not (folder / MANIFEST).is_file():
            raise OutputError(f"{folder}: no {MANIFEST} here; nothing to resume")

    @contextmanager
    def open(self) -> Iterator[Manifest]:
        """Prepare the output folder and hold it; no other run can write there meanwhile.

        Raises:
            OutputError: Another run holds it, it holds something else than a batch, or it cannot be
                written.
        """
        folder = self.tree.folder
        _check_is_ours(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{folder}: cannot make this folder: {error.strerror}") from error
        with hold_lock(folder / LOCK):
            self.tree.prepare()
            manifest = Manifest(folder, is_hashed=self.is_hashed, is_new=True)
            try:
                manifest.set_source(self.source.folder)
                yield manifest
            finally:
                manifest.close()
                self.tree.close()

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
            target=self.tree,
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
            try:
                yield from run_batch(
                    self.source,
                    job,
                    manifest=manifest,
                    target=self.tree,
                    workers=self.workers,
                    limits=self.limits,
                )
            finally:
                manifest.close()


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
