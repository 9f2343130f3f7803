"""A batch from one folder of DICOM files into another."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from monai_dental.batch.dicom import DicomJob
from monai_dental.batch.inventory import InventorySource
from monai_dental.batch.lock import hold_lock
from monai_dental.batch.manifest import MANIFEST, Manifest, Row
from monai_dental.batch.session import run_batch
from monai_dental.batch.shard import Shard, ShardSource, shard_of_name, shards_in
from monai_dental.batch.shared_folders import share
from monai_dental.batch.tree import StudyTree
from monai_dental.batch.worker import Limits, MakeWorker
from monai_dental.batch.workers import LocalWorker
from monai_dental.errors import OutputError

_MOVING = "manifest.moving.lock"
"""Held by whoever moves rows from one manifest to another."""


@dataclass(frozen=True)
class FolderBatch:
    """A batch from a folder into a folder, which also holds its manifest.

    Attributes:
        source: The files.
        tree: The output.
        job: What is done with each file; its target is `tree`.
        workers: Number of workers.
        limits: What one file may take.
        is_hashed: Whether the manifest holds digests of paths in their stead.
        is_failed_left: Whether files that failed before are done again.
        shard: Which of the files are done; `tree` has its `parts`.
        make_worker: Starts a worker on one of several machines; None for processes of this one.
    """

    source: InventorySource
    tree: StudyTree
    job: DicomJob
    workers: int = 1
    limits: Limits = Limits()
    is_hashed: bool = False
    is_failed_left: bool = False
    shard: Shard = Shard()
    make_worker: MakeWorker | None = None

    def check_is_begun(self) -> None:
        """Check that there is an earlier run to go on with.

        Raises:
            OutputError: There is none.
        """
        folder = self.tree.folder
        if not folder.is_dir() or not shards_in(folder, ".sqlite"):
            raise OutputError(f"{folder}: no {MANIFEST} here; nothing to resume")

    @contextmanager
    def open(self) -> Iterator[Manifest]:
        """Prepare the output folder and hold it: no other run can do the same files there.

        Rows of these files that runs of other shards left, or a run of the whole batch, are taken
        over, so that the number of shards may change from run to run.

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
        with ExitStack() as held:
            held.enter_context(hold_lock(folder / self.shard.lock))
            # After that: of two runs that begin at the same time one at least sees the other.
            others = [each for each in shards_in(folder) if each != self.shard]
            others = [each for each in others if each.overlaps(self.shard)]
            for other in others:
                held.enter_context(hold_lock(folder / other.lock, is_shared=True))
            self.tree.prepare()
            held.callback(self.tree.close)
            manifest = Manifest(folder, shard=self.shard, is_hashed=self.is_hashed, is_new=True)
            held.callback(manifest.close)
            self._take_over(manifest, others)
            manifest.set_source(self.source.folder)
            yield manifest

    def run(
        self, manifest: Manifest, on_plan: Callable[[int], None] | None = None
    ) -> Iterator[Row]:
        """Do what is left; see `run_batch`.

        Args:
            manifest: What `open` gave.
            on_plan: Told how many files are left, before the first is done.
        """

        def planned(total: int) -> None:
            manifest.set_planned()
            if on_plan is not None:
                on_plan(total)

        source = ShardSource(self.source, self.shard, manifest.key)
        return run_batch(
            source,
            self.job if self.make_worker is None else share(self.job, source, self.tree),
            manifest=manifest,
            target=self.tree,
            workers=self.workers,
            limits=self.limits,
            is_failed_left=self.is_failed_left,
            make_worker=self.make_worker or LocalWorker,
            on_plan=planned,
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
                    ShardSource(self.source, self.shard, manifest.key),
                    job,
                    manifest=manifest,
                    target=self.tree,
                    workers=self.workers,
                    limits=self.limits,
                )
            finally:
                manifest.close()

    def _take_over(self, manifest: Manifest, others: list[Shard]) -> None:
        folder = self.tree.folder
        for other in others:
            StudyTree(folder, other.parts).close()  # no run is writing there
            if not (folder / other.manifest).is_file():
                continue
            with hold_lock(folder / _MOVING, is_waiting=True):
                earlier = Manifest(folder, shard=other, is_hashed=self.is_hashed)
                try:
                    manifest.take_over(earlier, self.shard.holds)
                finally:
                    earlier.close()


def _check_is_ours(folder: Path) -> None:
    try:
        names = {path.name for path in folder.iterdir()} if folder.exists() else set()
    except OSError as error:
        raise OutputError(f"{folder}: cannot read this folder: {error.strerror}") from error
    if names and not any(map(shard_of_name, names)):
        raise OutputError(
            f"{folder}: holds something, but no {MANIFEST}; need an empty or new folder, or one "
            "of an earlier run"
        )
