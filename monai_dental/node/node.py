"""A node: receives instances, denoises them as a batch does, and forwards what it derived."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from contextlib import ExitStack
from queue import Empty, SimpleQueue

from monai_dental.batch.job import Job, Recipe
from monai_dental.batch.target import StoredObject
from monai_dental.batch.workers.local import Limits
from monai_dental.files.digests import digest_of, stamp_of
from monai_dental.files.lock import hold_lock
from monai_dental.node.check import check_backend, check_device, check_ports
from monai_dental.node.denoise import DenoisePool
from monai_dental.node.forward import Forwarder
from monai_dental.node.health import Health, HealthServer
from monai_dental.node.log import Counts, say
from monai_dental.node.queue import (
    DERIVED,
    FAILED,
    FORWARDED,
    QUEUE,
    RECEIVED,
    SKIPPED,
    Queue,
    QueuedInstance,
)
from monai_dental.node.receiver import Receiver
from monai_dental.node.settings import MEBIBYTE, NodeSettings
from monai_dental.node.spool import Spool
from monai_dental.pacs.dimse.commitment import Commitments
from monai_dental.pacs.parcel import ParcelTarget

LOCK = "node.lock"
_REMEMBERED_S = 30 * 86400.0
_TIDY_S = 3600.0
_LAST_FORWARD_S = 20.0


class Node:
    """A node that runs until it is stopped.

    Whatever ends it, SIGKILL too: what it has answered Success for is in the spool, and the next
    one on the same spool goes on. Derived instances have the same UIDs whenever they are made, so
    that what is done twice is there once.

    Args:
        settings: Addresses, AE titles, limits.
        job: What is done with each instance; its target is the spool's `derived`.
        limits: What one instance may take.
        workers: Number of worker processes.
        target: Where results go.
        commitments: Takes the target's reports of storage commitment; None where it makes none.
        is_failed_left: Whether instances that failed before are done again.
    """

    def __init__(
        self,
        settings: NodeSettings,
        job: Job,
        limits: Limits,
        *,
        workers: int,
        target: ParcelTarget,
        commitments: Commitments | None = None,
        is_failed_left: bool = False,
    ) -> None:
        self._settings, self._job, self._limits = settings, job, limits
        self._workers, self._target, self._commitments = workers, target, commitments
        self._is_failed_left = is_failed_left
        self._spool = Spool(settings.spool, settings.spool_limit * MEBIBYTE)
        self._counts = Counts()

    def check(self) -> None:
        """Look whether there is what `run` needs, as far as can be told without running.

        Raises:
            MonaiDentalError: There is not.
        """
        if self._settings.tls is not None:
            self._settings.tls.server_context()
        self._spool.check()
        check_ports(self._settings)
        check_backend(self._settings.backend)
        if self._settings.device is not None:
            check_device(self._settings.device)

    def run(self, stops: SimpleQueue[int], on_ready: Callable[[str], None]) -> None:
        """Serve.

        Args:
            stops: Whoever wants it to end puts something in; a signal handler may.
            on_ready: Told in words where it listens, when it does.

        Raises:
            MonaiDentalError: It cannot start.
        """
        with ExitStack() as stack:
            self._spool.make()
            stack.enter_context(hold_lock(self._settings.spool / LOCK))
            self._spool.prepare()
            is_new = not (self._settings.spool / QUEUE).exists()
            queue = Queue(self._settings.spool, is_writable=True)
            stack.callback(queue.close)
            pool = DenoisePool(
                self._job,
                self._limits,
                self._workers,
                spool=self._spool,
                queue=queue,
                counts=self._counts,
            )
            stack.callback(pool.stop)
            self._recover(queue, is_new, pool.recipe)
            forwarder = Forwarder(
                self._target,
                self._settings.longest_wait,
                spool=self._spool,
                queue=queue,
                counts=self._counts,
                on_room=pool.wake,
            )

            def is_known(key: str) -> bool:
                queued = queue.get(key)
                return (
                    queued is not None
                    and queued.state != FORWARDED
                    and _is_done(queued, pool.recipe)
                )

            def receive(key: str, uid: str) -> None:
                queued = queue.get(key)
                if queued is not None and queued.place and _is_done(queued, pool.recipe):
                    queue.resend(key)  # the archive is asked whether it still has what was made
                else:
                    queue.receive(key, uid)
                pool.wake()

            receiver = Receiver(
                self._settings,
                self._spool,
                is_known=is_known,
                on_received=receive,
                counts=self._counts,
                commitments=self._commitments,
            )

            def look() -> Health:
                return Health(
                    self._counts.values(),
                    queue.counts(),
                    self._spool.used,
                    self._spool.limit,
                    self._spool.is_full,
                    receiver.associations,
                    forwarder.failures,
                    pool.pauses + forwarder.pauses,
                )

            words = []
            if self._settings.health_port is not None:
                host = self._settings.health_host
                health = HealthServer(host, self._settings.health_port, look)
                health.start()
                stack.callback(health.stop)
                words.append(f"health at http://{host}:{health.port}/health")
            receiver.start()
            stack.callback(forwarder.stop, _LAST_FORWARD_S)
            stack.callback(receiver.stop)
            if self._commitments is not None:
                stack.callback(self._commitments.stop)
            pool.start()
            forwarder.start()
            on_ready(
                ", ".join((f"{self._settings.ae_title} listens on port {receiver.port}", *words))
            )
            while True:
                queue.forget(_REMEMBERED_S)
                with contextlib.suppress(Empty):
                    stops.get(timeout=_TIDY_S)
                    break
            say(logging.INFO, "stopping: no more instances are taken")

    def _recover(self, queue: Queue, is_new: bool, recipe: Recipe) -> None:
        """Bring spool and queue into agreement after whatever ended the last node."""
        if is_new:  # the queue was lost: of what is derived its file tells all that is needed
            for location in self._spool.derived.locations():
                path = self._spool.derived.path(location)
                queue.adopt(
                    StoredObject(location, path.stem, digest_of(path), stamp_of(path.stat()))
                )
        for key in list(self._spool.keys()):
            queued = queue.get(key)
            if queued is None:
                queue.receive(key, "")
            elif queued.state in (DERIVED, FORWARDED, SKIPPED):
                if queued.resent:
                    pass  # the archive has not been asked yet
                elif _is_done(queued, recipe):
                    self._spool.remove(key)
                else:  # it came again after the settings had changed, and its row was lost
                    queue.receive(key, queued.uid)
        for queued in queue.instances(RECEIVED):
            if not self._spool.path(queued.key).is_file():
                queue.finish(queued.key, FAILED, "is gone from the spool", "")
        derived = set(self._spool.derived.locations())
        if self._is_failed_left:
            for queued in queue.instances(FAILED):
                if self._spool.path(queued.key).is_file():
                    queue.receive(queued.key, queued.uid)
                elif queued.output in derived:
                    queue.retry(queued.key)
        for location in derived - {queued.output for queued in queue.instances(DERIVED, FAILED)}:
            self._spool.remove_derived(location)


def _is_done(queued: QueuedInstance, recipe: Recipe) -> bool:
    """Whether an instance that comes again needs no more than what was done with it."""
    if queued.state in (RECEIVED, DERIVED):
        return True
    mark = recipe.mark(SKIPPED if queued.state == SKIPPED else DERIVED)
    return queued.state != FAILED and queued.recipe == mark
