"""A node: receives instances, denoises them as a batch does, and forwards the results."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from queue import Empty, SimpleQueue

from monai_dental.batch.job import Job, Recipe
from monai_dental.batch.target import StoredObject
from monai_dental.batch.workers.protocol import Limits
from monai_dental.files.digests import digest_of, stamp_of
from monai_dental.files.lock import hold_lock
from monai_dental.node.audit import Audit
from monai_dental.node.check import check_backend, check_device, check_ports
from monai_dental.node.denoise import DenoisePool
from monai_dental.node.forward import Forwarder
from monai_dental.node.health import ArchiveHealth, Health, HealthServer
from monai_dental.node.intake import Intake
from monai_dental.node.log import Counts, say
from monai_dental.node.page_server import NodePage
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
from monai_dental.node.queue_rows import Arrival, instance_of
from monai_dental.node.receiver import Receiver
from monai_dental.node.routes import Router
from monai_dental.node.settings import MEBIBYTE, NodeSettings
from monai_dental.node.spool import Spool
from monai_dental.node.status import NodeStatus
from monai_dental.node.stow_server import StowServer, check_token
from monai_dental.pacs.dimse.commitment import Commitments
from monai_dental.pacs.parcel import ParcelTarget

LOCK = "node.lock"
_REMEMBERED_S = 30 * 86400.0
_TIDY_S = 3600.0
_LAST_FORWARD_S = 20.0


class Node:
    """A node that runs until it is stopped.

    Every instance answered with Success is in the spool, even after SIGKILL; the next node on the
    same spool continues with it. An instance derived twice gets the same UIDs, so archives keep
    only one.

    Args:
        settings: Addresses, AE titles, limits.
        job: The processing of each instance; its target is the spool's `derived`.
        limits: Limits for one instance.
        workers: Number of worker processes.
        targets: The target of each of the settings' `destinations`.
        commitments: Receivers of the targets' storage commitment reports, by AE title.
        is_failed_left: Whether to retry instances that failed before.
    """

    def __init__(
        self,
        settings: NodeSettings,
        job: Job,
        limits: Limits,
        *,
        workers: int,
        targets: Mapping[str, ParcelTarget],
        commitments: Mapping[str, Commitments],
        is_failed_left: bool = False,
    ) -> None:
        self._settings, self._job, self._limits = settings, job, limits
        self._workers, self._targets, self._commitments = workers, targets, commitments
        self._is_failed_left = is_failed_left
        self._spool = Spool(settings.spool, settings.spool_limit * MEBIBYTE)
        self._counts = Counts()
        self._route = Router(settings)
        self._audit = Audit(settings.audit, settings.ae_title)

    def check(self) -> None:
        """Check that `run` has what it needs, as far as that can be checked without running.

        Raises:
            MonaiDentalError: Something is missing or wrong.
        """
        if self._settings.tls is not None:
            self._settings.tls.server_context()
        self._spool.check()
        check_ports(self._settings)
        if self._settings.health_port is not None:
            NodePage(dict)
        if self._settings.stow_port is not None:
            check_token(self._settings)
        check_backend(self._settings.backend)
        if self._settings.device is not None:
            check_device(self._settings.device)

    def run(self, stops: SimpleQueue[int], on_ready: Callable[[str], None]) -> None:
        """Serve until stopped.

        Args:
            stops: The node stops when an item is put in; a signal handler may do so.
            on_ready: Called with a text of the addresses once the node listens.

        Raises:
            MonaiDentalError: The node cannot start.
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
                route=self._route,
            )
            stack.callback(pool.stop)
            self._recover(queue, is_new, pool.recipe)
            forwarders = self._make_forwarders(queue, pool)
            intake = Intake(
                self._spool,
                self._settings.max_object * MEBIBYTE,
                is_known=partial(self._is_known, queue, pool.recipe),
                on_received=partial(self._receive, queue, pool),
                counts=self._counts,
            )
            receiver = Receiver(
                self._settings, intake, commitments=self._commitments, audit=self._audit
            )
            words = []
            stow = None
            if self._settings.stow_port is not None:
                stow = StowServer(self._settings, intake, self._audit)
                words.append(f"STOW-RS at {stow.url}")
            if self._settings.health_port is not None:
                look = partial(self._health, queue, pool, forwarders, receiver)
                words.append(f"health at {self._serve_health(look, stack)}")
            self._audit.started()
            stack.callback(self._audit.stopped)
            receiver.start()
            stack.callback(_stop, list(forwarders.values()))
            stack.callback(receiver.stop)
            if stow is not None:
                stow.start()
                stack.callback(stow.stop)
            for commitments in self._commitments.values():
                stack.callback(commitments.stop)
            pool.start()
            for forwarder in forwarders.values():
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

    def _is_known(self, queue: Queue, recipe: Recipe, key: str) -> bool:
        """Return whether an instance that is offered again need not be stored again."""
        queued = queue.get(key)
        if queued is None or queued.state == FORWARDED:
            return False
        is_asked_for = queued.state == SKIPPED and self._route.has_originals
        return _is_done(queued, recipe) and not is_asked_for

    def _receive(self, queue: Queue, pool: DenoisePool, key: str, arrival: Arrival) -> None:
        """Put an instance that has arrived in the spool into the queue."""
        queued = queue.get(key)
        originals = self._route.originals(arrival.sender, self._spool.path(key))
        is_finished = queued is not None and (queued.place or queued.state == SKIPPED)
        if queued is not None and is_finished and _is_done(queued, pool.recipe):
            # First ask the archive whether it still has the result.
            queue.resend(key, originals)
            if not queue.is_source_wanted(key):
                self._spool.remove(key)
        else:
            is_by_sender = any(route.senders for route in self._settings.routes)
            queue.receive(
                key,
                arrival.uid,
                study=arrival.study,
                sender=arrival.sender if is_by_sender else "",
                is_urgent=arrival.sender in self._settings.urgent,
                originals=originals,
            )
        self._audit.received(arrival)
        pool.wake()

    def _health(
        self,
        queue: Queue,
        pool: DenoisePool,
        forwarders: Mapping[str, Forwarder],
        receiver: Receiver,
    ) -> Health:
        waiting = queue.waiting_by_destination()
        archives = {
            each: ArchiveHealth(
                self._counts.of_archive("forwarded", each),
                self._counts.of_archive("retries", each),
                waiting.get(each, 0),
                found.failures,
            )
            for each, found in forwarders.items()
        }
        rests = (rest for each in forwarders.values() for rest in each.pauses)
        return Health(
            self._counts.values(),
            queue.counts(),
            self._spool.used,
            self._spool.limit,
            self._spool.is_full,
            receiver.associations,
            max(each.failures for each in archives.values()),
            (*pool.pauses, *rests),
            archives,
        )

    def _serve_health(self, look: Callable[[], Health], stack: ExitStack) -> str:
        """Serve `/health`, metrics and the page until the stack ends; return the address."""
        host, port = self._settings.health_host, self._settings.health_port
        assert port is not None
        page = NodePage(NodeStatus(self._settings, look))
        server = HealthServer(host, port, look, page)
        server.start()
        stack.callback(server.stop)
        return f"http://{host}:{server.port}/health"

    def _make_forwarders(self, queue: Queue, pool: DenoisePool) -> dict[str, Forwarder]:
        return {
            destination: Forwarder(
                target,
                self._settings.longest_wait,
                spool=self._spool,
                queue=queue,
                counts=self._counts,
                on_room=pool.wake,
                destination=destination,
                study_wait=self._settings.study_wait,
                audit=self._audit,
            )
            for destination, target in self._targets.items()
        }

    def _recover(self, queue: Queue, is_new: bool, recipe: Recipe) -> None:
        """Make spool and queue agree, however the last node ended."""
        if is_new:  # the queue was lost; the files of derived instances say all that is needed
            for location in self._spool.derived.locations():
                path = self._spool.derived.path(location)
                digest = digest_of(path)
                stored = StoredObject(location, path.stem, digest, stamp_of(path.stat()))
                queue.adopt(stored)
                queue.derive(digest, "", stored, self._route("", path))
        for key in list(self._spool.keys()):
            queued = queue.get(key)
            originals = self._route.originals("", self._spool.path(key))
            if queued is None:
                queue.receive(key, "", study=self._spool.study(key), originals=originals)
            elif queued.state in (DERIVED, FORWARDED, SKIPPED):
                if queue.is_source_wanted(key):
                    pass  # an archive lacks it, or has not been asked yet
                elif _is_done(queued, recipe):
                    self._spool.remove(key)
                else:  # it was sent again after the settings changed, and its row was lost
                    queue.receive(key, queued.uid, originals=originals)
        for queued in queue.instances(RECEIVED):
            if not self._spool.path(queued.key).is_file():
                queue.finish(queued.key, FAILED, "is gone from the spool", "")
        derived = set(self._spool.derived.locations())
        if self._is_failed_left:
            for queued in queue.instances(FAILED):
                is_first = queued.key == instance_of(queued.key)
                if is_first and self._spool.path(queued.key).is_file():
                    queue.receive(queued.key, queued.uid)
                elif queued.original or queued.output in derived:
                    queue.retry(queued.key)
        queue.redirect(self._settings.destinations)
        for location in derived - {queued.output for queued in queue.instances(DERIVED, FAILED)}:
            self._spool.remove_derived(location)


def _stop(forwarders: Sequence[Forwarder]) -> None:
    """Stop all forwarders, within the time limit of one."""
    end = time.monotonic() + _LAST_FORWARD_S
    for forwarder in forwarders:
        forwarder.stop(0.0)
    for forwarder in forwarders:
        forwarder.stop(max(0.0, end - time.monotonic()))


def _is_done(queued: QueuedInstance, recipe: Recipe) -> bool:
    """Return whether an instance that is received again needs no new processing."""
    if queued.state in (RECEIVED, DERIVED):
        return True
    mark = recipe.mark(SKIPPED if queued.state == SKIPPED else DERIVED)
    return queued.state != FAILED and queued.recipe == mark
