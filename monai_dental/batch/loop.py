"""A run over many files that can be killed at any time and started again."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

from monai_dental.batch.feed import Feed, Task
from monai_dental.batch.job import Job, Recipe, Result
from monai_dental.batch.record.manifest import DERIVED, FAILED, LEFT, SKIPPED, Manifest, Row
from monai_dental.batch.source import Instance, InstanceSource
from monai_dental.batch.target import ObjectTarget
from monai_dental.batch.workers.local import LocalWorker
from monai_dental.batch.workers.protocol import (
    Limits,
    MakeWorker,
    Worker,
    WorkerGoneError,
    WorkerLostError,
)
from monai_dental.errors import WorkerError
from monai_dental.files.digests import stamp_of

_ATTEMPTS = 2  # a worker may have ended for a reason unrelated to the file


def run_batch(
    source: InstanceSource,
    job: Job,
    *,
    manifest: Manifest,
    target: ObjectTarget,
    workers: int = 1,
    limits: Limits | None = None,
    make_worker: MakeWorker = LocalWorker,
    is_failed_left: bool = False,
    on_plan: Callable[[int], None] | None = None,
) -> Iterator[Row]:
    """Do the files of a batch that are left.

    A file is left unless the manifest has an outcome for it with the same settings and the same
    bytes, and the target still holds the derived instance. A file fails if it crashes its worker
    process twice or takes longer than the limit; the run goes on with the others.

    Args:
        source: The files; their names must not change between runs.
        job: What to do with each file.
        manifest: The record; no other may be open for writing.
        target: Where the job stores; checked for instances that it still holds.
        workers: Number of workers, each with one file at a time.
        limits: Limits for one file; by default one thread, unlimited time and memory.
        make_worker: Starts a worker; by default a process on this machine.
        is_failed_left: Whether to do files again that failed.
        on_plan: Called with the number of files that are left, before the first is done.

    Yields:
        The row of each file when it is done, in no particular order; it is already in the manifest.

    Raises:
        MonaiDentalError: The job cannot be done at all, or the target cannot be written any more.
            Finished files are recorded; call again to continue.
    """
    limits = limits or Limits()
    pool: list[Worker] = []
    try:
        pool.append(make_worker(job, limits))
        recipe = pool[0].describe()
        tasks = _plan(source, manifest, target, recipe, is_failed_left)
        if on_plan is not None:
            on_plan(len(tasks))
        pool += [make_worker(job, limits) for _ in range(min(workers, len(tasks)) - 1)]
        with closing(Feed(source, tasks)) as feed:
            yield from _work(pool, feed, manifest, recipe)
    finally:
        for worker in pool:
            worker.stop()


def _plan(
    source: InstanceSource,
    manifest: Manifest,
    target: ObjectTarget,
    recipe: Recipe,
    is_failed_left: bool,
) -> deque[Task]:
    """Bring manifest and target into agreement, and return the tasks that are left."""
    rows = {row.name: row for row in manifest.rows()}
    results = {row.output_uid for row in rows.values() if row.output_uid}
    results.update(map(_instance_uid, manifest.superseded()))
    changed: list[Row] = []
    tasks: deque[Task] = deque()
    for instance in source:
        if instance.sop_instance_uid in results:
            continue  # source and target may be the same place
        key = manifest.key(instance.name)
        row = rows.pop(key, None) or Row(key)
        checked = _check(row, target, recipe, is_failed_left)
        if checked.outcome == LEFT or checked.stamp != _stamp(instance):
            # The file was touched, but its bytes may be the same: then the outcome is still valid.
            known = checked.digest + checked.mask_digest if checked.outcome != LEFT else ""
            tasks.append(Task(instance, known))
            if not known:
                checked = replace(checked, outcome=LEFT)
        if checked != row or not row.recipe:  # new ones have none
            changed.append(checked)
    for row in rows.values():  # inputs that no longer exist
        if row.outcome == LEFT:
            changed.append(replace(row, outcome=FAILED, reason="vanished before it was read"))
        elif row.stored is not None and target.find(row.stored) is None:
            reason = "both the file and its result are gone"
            changed.append(replace(row, outcome=FAILED, reason=reason))
    manifest.put(changed)
    return tasks


def _instance_uid(output: str) -> str:
    """Return the SOP Instance UID in the location of an instance in a target."""
    return output.rpartition("/")[2].removesuffix(".dcm")


def _check(row: Row, target: ObjectTarget, recipe: Recipe, is_failed_left: bool) -> Row:
    """Return the row if it is still valid, otherwise with the outcome "left"."""
    if row.outcome == LEFT or row.recipe != recipe.mark(row.outcome):
        return replace(row, outcome=LEFT)
    if row.outcome == FAILED and is_failed_left:
        return replace(row, outcome=LEFT)
    if row.outcome == DERIVED:
        found = None if row.stored is None else target.find(row.stored)
        return replace(row, outcome=LEFT) if found is None else row.with_stored(found)
    return row


def _stamp(instance: Instance) -> str:
    if instance.stamp is not None:
        return instance.stamp
    try:
        files = [each for each in (instance.path, instance.mask) if each is not None]
        return stamp_of(*(each.stat() for each in files))
    except OSError:
        return ""


def _work(pool: list[Worker], feed: Feed, manifest: Manifest, recipe: Recipe) -> Iterator[Row]:
    idle = list(pool)
    running: dict[Future[Result], tuple[Worker, Task, float]] = {}
    rows = {row.name: row for row in manifest.rows()}

    def record(task: Task, result: Result, seconds: float) -> Row:
        row = _row(rows[manifest.key(task.instance.name)], result, recipe, task)
        row = replace(row, seconds=round(seconds, 3))
        manifest.put([row])
        feed.release(task)
        return row

    while feed or running:
        feed.fill()
        while idle and feed.ready:
            worker, task = idle.pop(), feed.ready.popleft()
            future = worker.submit(task.instance, task.known)
            running[future] = worker, task, time.monotonic()
        pending: list[Future[Any]] = [*running, *feed.fetching]
        if not pending:
            raise WorkerError("no worker is left; run the same command again to do what is left")
        done, _ = wait(pending, return_when=FIRST_COMPLETED)
        for each in done:
            if each in feed.fetching:
                task, reason = feed.collect(each)
                if reason:
                    yield record(task, Result(FAILED, reason), 0.0)
                continue
            worker, task, begun = running.pop(each)
            try:
                result = worker.collect(each)
            except WorkerGoneError:  # the others go on
                feed.ready.appendleft(task)
                continue
            except WorkerLostError as error:
                if task.attempt < _ATTEMPTS:
                    feed.ready.appendleft(replace(task, attempt=task.attempt + 1))
                    idle.append(worker)
                    continue
                result = Result(FAILED, f"{error}, {_ATTEMPTS} times")
            idle.append(worker)
            yield record(task, result, time.monotonic() - begun)


def _row(row: Row, result: Result, recipe: Recipe, task: Task) -> Row:
    is_remote = task.instance.stamp is not None
    if result.outcome == LEFT:  # touched, but the same as before
        return replace(row, stamp=result.stamp)
    row = replace(
        row,
        outcome=result.outcome,
        reason=result.reason,
        # If the file ended its worker, nothing else is known.
        stamp=_stamp(task.instance) if is_remote else result.stamp or _stamp(task.instance),
        digest=result.digest,
        mask_digest=result.mask_digest,
        recipe=recipe.mark(result.outcome),
        model_digest=recipe.model_digest if result.outcome != SKIPPED else "",
        strength=recipe.strength if result.outcome != SKIPPED else None,
        finished=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )
    if result.stored is not None:
        return row.with_stored(result.stored)
    return replace(row, output="", output_uid="", output_digest="", output_stamp="")
