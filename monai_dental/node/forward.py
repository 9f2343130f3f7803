"""The half of a node that forwards derived instances and originals until they have arrived."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable

from monai_dental.batch.target import StoredObject
from monai_dental.errors import (
    CorruptImageError,
    MonaiDentalError,
    PacsError,
    PacsUnavailableError,
    unexpected,
)
from monai_dental.node.audit import Audit
from monai_dental.node.log import Counts, say
from monai_dental.node.queue import FAILED, Queue, QueuedInstance
from monai_dental.node.queue_rows import instance_of
from monai_dental.node.spool import Spool
from monai_dental.pacs.original import pack_original
from monai_dental.pacs.parcel import Parcel, ParcelTarget, pack_file

_FIRST_WAIT_S = 1.0
_LOOK_S = 1.0
_REFUSALS = 20  # about an hour, with pauses of up to 300 s
_ENDS = 2  # as for a batch's workers
_REFUSED = 5  # if it refuses so many different instances in a row, the archive is at fault


class Forwarder:
    """A thread that forwards derived instances and originals, one after another, to a target.

    A failed attempt is repeated after 1 s, 2 s, 4 s and so on, up to the longest wait; each pause
    is shortened at random by up to half. While the archive cannot be reached, these pauses apply
    between any two attempts, and there is no limit on attempts: it may be away for days. An
    instance fails for good when it is refused for the 20th time. If five instances have been
    refused since one was accepted, the archive is at fault: until it accepts one, refusals do not
    count, and the thread waits as if the archive could not be reached.

    An instance that was being sent when the process ended goes last. If the process ends with it
    again, the instance fails.

    Args:
        target: The target; its `send` proves that the instance arrived, or raises.
        longest_wait: Longest pause, in seconds.
        destination: The queue's name of the target.
        study_wait: Seconds without a new instance before a study is forwarded.
        spool: The spool that holds the instances.
        queue: The queue of instances.
        counts: The node's counters.
        on_room: Called whenever the spool may have become smaller.
        audit: Records each instance that has arrived.
    """

    def __init__(
        self,
        target: ParcelTarget,
        longest_wait: float,
        *,
        spool: Spool,
        queue: Queue,
        counts: Counts,
        on_room: Callable[[], None],
        destination: str = "",
        study_wait: float = 0.0,
        audit: Audit | None = None,
    ) -> None:
        self._destination = destination
        self._target, self._longest_wait = target, longest_wait
        self._study_wait, self._audit = study_wait, audit or Audit()
        self._spool, self._queue, self._counts = spool, queue, counts
        self._on_room = on_room
        self._stopped = threading.Event()
        self._failures = 0
        self._refused: set[str] = set()
        self._rest = ""
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def failures(self) -> int:
        """Failed attempts since the last success, without refusals of single instances."""
        return self._failures

    @property
    def pauses(self) -> tuple[str, ...]:
        """Why the thread pauses, in words; without the pauses after `failures`."""
        return (self._rest,) if self._rest else ()

    def start(self) -> None:
        """Start to forward."""
        for queued in self._queue.suspects():
            if queued.ends >= _ENDS:
                self._fail(queued, f"ended the node's process {_ENDS} times while it was forwarded")
            else:
                said = "the node's process ended while it was forwarded; it goes last now"
                say(logging.WARNING, f"instance {_name(queued)}: {said}")
        self._queue.forward_now()
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Stop after the current instance, waiting at most so many seconds for it.

        Instances that have not arrived remain in the queue.
        """
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(seconds)
        self._queue.end_well()

    def _serve(self) -> None:
        while not self._stopped.is_set():
            try:
                queued = self._queue.next_derived(
                    self._longest_wait, self._study_wait, self._destination
                )
                if (
                    queued is None
                    and (resent := self._queue.next_resent(self._destination)) is not None
                ):
                    if not self._ask_for(resent):
                        self._stopped.wait(self._pause(self._failures))
                elif queued is None:
                    self._stopped.wait(_LOOK_S / 4)
                elif self._forward(queued):
                    self._on_room()
                else:
                    self._stopped.wait(self._pause(self._failures))
                self._rest = ""
            except MonaiDentalError as error:
                self._take_rest(str(error))
            except Exception as error:  # noqa: BLE001 - its text could quote patient data
                self._take_rest(unexpected(error))
        self._target.close()  # here, since its connections belong to this thread

    def _take_rest(self, reason: str) -> None:
        self._rest = f"forwarding pauses: {reason}"
        say(logging.ERROR, self._rest)
        self._stopped.wait(self._longest_wait)

    def _forward(self, queued: QueuedInstance) -> bool:
        """Make one attempt; return whether the target works."""
        if queued.original:
            path = self._spool.path(instance_of(queued.key))
        else:
            path = self._spool.derived.path(queued.output)
        try:
            parcel = pack_original(path) if queued.original else pack_file(path)
        except FileNotFoundError:
            self._miss(queued)
            return True
        except OSError as error:
            return self._wait(queued, f"{path}: cannot be read: {error.strerror}")
        except CorruptImageError as error:
            self._fail(queued, f"cannot be forwarded: {error}")
            return True
        self._queue.begin(queued.key)
        try:
            proof = self._target.send(parcel)
        except CorruptImageError as error:
            self._fail(queued, f"cannot be forwarded: {error}")
            return True
        except PacsUnavailableError as error:
            return self._wait(queued, str(error))
        except MonaiDentalError as error:  # the PACS answers, but refuses this instance
            return self._refuse(queued, str(error))
        except Exception as error:  # noqa: BLE001 - its text could quote patient data
            return self._wait(queued, unexpected(error))
        self._arrive(queued, parcel, proof)
        return True

    def _miss(self, queued: QueuedInstance) -> None:
        """Record that the file to forward is gone."""
        if queued.original:
            self._fail(queued, "is gone from the spool")
        elif self._queue.is_forwarded(queued.output_uid, self._destination):
            self._queue.forward(queued.output_uid, destination=self._destination)
        else:
            self._fail(queued, "its derived instance is gone from the spool")

    def _refuse(self, queued: QueuedInstance, reason: str) -> bool:
        """Record a refusal; return whether the target still accepts others."""
        if len(self._refused) < _REFUSED:
            self._refused.add(queued.key)
        if len(self._refused) == _REFUSED:
            return self._wait(queued, reason)
        refusals = queued.attempts + 1
        if refusals < _REFUSALS:
            self._postpone(queued, refusals, self._pause(refusals), reason)
        else:
            self._fail(queued, f"cannot be forwarded: {reason}")
        return True

    def _arrive(self, queued: QueuedInstance, parcel: Parcel, proof: str) -> None:
        """Record that an instance has arrived, and remove what is no longer needed."""
        if queued.original:
            uid = parcel.key.sop_instance_uid
            self._queue.forward_original(queued.key, uid, proof, str(parcel.key))
        else:
            self._queue.forward(queued.output_uid, proof, str(parcel.key), self._destination)
            if not self._queue.is_wanted(queued.output_uid):
                self._spool.remove_derived(queued.output)
        self._audit.forwarded(self._destination, parcel)
        self._drop_source(queued)
        self._counts.add("forwarded", self._destination)
        if self._failures:
            say(logging.INFO, "forwarding continues")
        self._failures = 0
        self._refused.clear()

    def _ask_for(self, queued: QueuedInstance) -> bool:
        """Ask the target for a forwarded instance whose original came again.

        Return whether the target can be asked.
        """
        stored = StoredObject(queued.place, queued.output_uid, queued.output_digest, "")
        try:
            is_there = self._target.find(stored) is not None
        except PacsUnavailableError as error:
            return self._wait(queued, str(error))
        except PacsError:  # no query possible: sending it again does no harm
            is_there = False
        if is_there:
            self._queue.confirm(queued.key)
            self._drop_source(queued)
        else:
            self._queue.denoise_again(queued.key)
            done = "sent" if queued.original else "made"
            say(logging.WARNING, f"instance {_name(queued)}: the archive lost it; {done} again")
        self._on_room()
        return True

    def _drop_source(self, queued: QueuedInstance) -> None:
        """Remove the received file if it is no longer needed."""
        if not self._queue.is_source_wanted(queued.key):
            self._spool.remove(instance_of(queued.key))

    def _wait(self, queued: QueuedInstance, reason: str) -> bool:
        self._failures += 1
        if self._failures == 1:
            say(logging.ERROR, f"forwarding fails: {reason}")
        self._postpone(queued, queued.attempts, self._pause(self._failures), reason)
        return False

    def _postpone(self, queued: QueuedInstance, refusals: int, seconds: float, reason: str) -> None:
        self._counts.add("retries", self._destination)
        self._queue.postpone(queued.key, refusals, seconds, reason)
        if not queued.reason:
            say(logging.WARNING, f"instance {_name(queued)}: not forwarded yet: {reason}")

    def _fail(self, queued: QueuedInstance, reason: str) -> None:
        self._counts.add("failed")
        self._queue.finish(queued.key, FAILED, reason, queued.recipe)
        say(logging.ERROR, f"instance {_name(queued)}: failed: {reason}")

    def _pause(self, attempts: int) -> float:
        # Not by tenacity: it waits in the process, but these waits are in the queue and survive it.
        longest = min(self._longest_wait, _FIRST_WAIT_S * 2.0 ** min(attempts - 1, 30))
        return longest * random.uniform(0.5, 1.0)


def _name(queued: QueuedInstance) -> str:
    return queued.output_uid or instance_of(queued.key)
