"""A batch: a source, a target, and a folder with the manifest."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from monai_dental.batch.dicom import DicomJob
from monai_dental.batch.input_folder import InventorySource
from monai_dental.batch.job import Job
from monai_dental.batch.loop import run_batch
from monai_dental.batch.output_folder import StudyTree
from monai_dental.batch.record.manifest import MANIFEST, Manifest, Row
from monai_dental.batch.record.shard import Shard, ShardSource, shard_of_name, shards_in
from monai_dental.batch.source import InstanceSource, RemoteSource
from monai_dental.batch.target import ObjectTarget
from monai_dental.batch.workers.local import LocalWorker
from monai_dental.batch.workers.protocol import Limits, MakeWorker
from monai_dental.batch.workers.shared_folders import share
from monai_dental.errors import OutputError
from monai_dental.files.lock import hold_lock

SPOOL = ".spool"
"""Folder of fetched files that are not done; each run creates it again."""

_MOVING = "manifest.moving.lock"
"""Lock of a run that moves rows from one manifest to another."""


@dataclass(frozen=True)
class Batch:
    """Settings of a batch, and the run over it.

    Attributes:
        source: The files.
        target: The output.
        job: What to do with each file; its target is `target`.
        work: Folder of the manifest: the output folder if the output is a folder.
        workers: Number of workers.
        limits: Limits for one file.
        is_hashed: Whether the manifest holds digests instead of paths.
        is_failed_left: Whether to do files again that failed before.
        shard: Shard of the files to do; only for folders, and `target` has its `parts`.
        make_worker: Starts a worker on one of several machines, only for folders; None for
            processes of this machine.
    """

    source: InstanceSource
    target: ObjectTarget
    job: DicomJob
    work: Path
    workers: int = 1
    limits: Limits = Limits()
    is_hashed: bool = False
    is_failed_left: bool = False
    shard: Shard = Shard()
    make_worker: MakeWorker | None = None

    def check_is_begun(self) -> None:
        """Check that there is an earlier run to resume.

        Raises:
            OutputError: There is no earlier run.
        """
        if not self.work.is_dir() or not shards_in(self.work, ".sqlite"):
            raise OutputError(f"{self.work}: no {MANIFEST} here; nothing to continue")

    @contextmanager
    def open(self) -> Iterator[Manifest]:
        """Prepare source, target and folder, and lock the folder against other runs.

        Rows of these files from runs of other shards or of the whole batch are taken over, so the
        number of shards may change between runs.

        Raises:
            OutputError: Another run holds the lock, the folder is not empty and has no batch, or it
                cannot be written.
            MonaiDentalError: The target cannot be used.
        """
        folder = self.work
        _check_is_ours(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{folder}: cannot make this folder: {error.strerror}") from error
        with ExitStack() as held:
            held.enter_context(hold_lock(folder / self.shard.lock))
            # After locking: of two runs that start at the same time, at least one sees the other.
            others = [each for each in shards_in(folder) if each != self.shard]
            others = [each for each in others if each.overlaps(self.shard)]
            for other in others:
                held.enter_context(hold_lock(folder / other.lock, is_shared=True))
            self.target.prepare()
            held.callback(self.target.close)
            held.enter_context(self._source_ready(folder))
            manifest = Manifest(folder, shard=self.shard, is_hashed=self.is_hashed, is_new=True)
            held.callback(manifest.close)
            self._take_over(manifest, others)
            if isinstance(self.source, InventorySource):
                manifest.set_source(self.source.folder)
            yield manifest

    def run(
        self, manifest: Manifest, on_plan: Callable[[int], None] | None = None
    ) -> Iterator[Row]:
        """Do the files that are left; see `run_batch`.

        Args:
            manifest: The manifest from `open`.
            on_plan: Called with the number of files that are left, before the first is done.
        """

        def planned(total: int) -> None:
            manifest.set_planned()
            if on_plan is not None:
                on_plan(total)

        source = self._files(manifest)
        job: Job = self.job
        if self.make_worker is not None and isinstance(self.target, StudyTree):
            job = share(job, source, self.target)
        return run_batch(
            source,
            job,
            manifest=manifest,
            target=self.target,
            workers=self.workers,
            limits=self.limits,
            is_failed_left=self.is_failed_left,
            make_worker=self.make_worker or LocalWorker,
            on_plan=planned,
        )

    def preview(self) -> Iterator[Row]:
        """Yield the expected outcome of each file: "derived" if it would be denoised.

        Nothing is written, and pixels are only decoded if needed to see whether they are grey.
        """
        job = replace(self.job, target=None)
        with tempfile.TemporaryDirectory() as folder:
            manifest = Manifest(Path(folder), is_hashed=self.is_hashed, is_new=True)
            with closing(manifest), self._source_ready(Path(folder)):
                yield from run_batch(
                    self._files(manifest),
                    job,
                    manifest=manifest,
                    target=self.target,
                    workers=self.workers,
                    limits=self.limits,
                )

    @contextmanager
    def _source_ready(self, folder: Path) -> Iterator[None]:
        """Let a remote source fetch into a folder."""
        if not isinstance(self.source, RemoteSource):
            yield
            return
        self.source.prepare(folder / SPOOL)
        try:
            yield
        finally:
            self.source.close()

    def _files(self, manifest: Manifest) -> InstanceSource:
        """Return the files of the source that belong to the shard."""
        if self.shard == Shard():
            return self.source
        return ShardSource(self.source, self.shard, manifest.key)

    def _take_over(self, manifest: Manifest, others: list[Shard]) -> None:
        folder = self.work
        for other in others:
            StudyTree(folder, other.parts).close()  # no run is writing there
            if not (folder / other.manifest).is_file():
                continue
            with (
                hold_lock(folder / _MOVING, is_waiting=True),
                closing(Manifest(folder, shard=other, is_hashed=self.is_hashed)) as earlier,
            ):
                manifest.take_over(earlier, self.shard.holds)


def _check_is_ours(folder: Path) -> None:
    try:
        names = {path.name for path in folder.iterdir()} if folder.exists() else set()
    except OSError as error:
        raise OutputError(f"{folder}: cannot read this folder: {error.strerror}") from error
    if names and not any(map(shard_of_name, names)):
        raise OutputError(
            f"{folder}: not empty, but has no {MANIFEST}; need a new or empty folder, or that of "
            "an earlier run"
        )
