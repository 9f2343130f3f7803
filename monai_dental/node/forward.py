"""The half of a node that forwards what was derived, until it is proven to have arrived."""

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
    unforeseen,
)
from monai_dental.node.log import Counts, say
from monai_dental.node.queue import FAILED, Queue, QueuedInstance
from monai_dental.node.spool import Spool
from monai_dental.pacs.parcel import ParcelTarget, pack_file

_FIRST_WAIT_S = 1.0
_LOOK_S = 1.0
_REFUSALS = 20  # in about an hour, with pauses of up to 300 s
_ENDS = 2  # as of a batch's workers
_REFUSED = 5  # an archive that refuses so many different instances on end is at fault itself


class Forwarder:
    """A thread that stores one derived instance after another in a target.

    An attempt that fails is made again, after 1 s, 2 s, 4 s and so on up to the longest wait, less
    a random part of up to a half. While the archive cannot be reached, the same holds between two
    attempts of whatever instance, and attempts do not end: it may be away for days. An instance
    fails for good when it is refused for the 20th time. Once five instances have been refused since
    one was taken, the archive is at fault: refusals do not count until it takes one, and it is
    waited for as if it were away.

    An instance that was on its way when the process ended goes last; where the process ends with it
    again, it fails.

    Args:
        target: Where they go; `send` raises, or has proven that the instance is there.
        longest_wait: Seconds.
        spool: Where they are.
        queue: Which they are.
        counts: What is counted.
        on_room: Told whenever the spool has become smaller.
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
    ) -> None:
        self._target, self._longest_wait = target, longest_wait
        self._spool, self._queue, self._counts = spool, queue, counts
        self._on_room = on_room
        self._stopped = threading.Event()
        self._failures = 0
        self._refused: set[str] = set()
        self._rest = ""
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def failures(self) -> int:
        """Number of attempts that failed since one succeeded, but for instances refused alone."""
        return self._failures

    @property
    def pauses(self) -> tuple[str, ...]:
        """Why the thread rests, in words; not for what `failures` counts."""
        return (self._rest,) if self._rest else ()

    def start(self) -> None:
        """Begin."""
        for queued in self._queue.suspects():
            if queued.ends >= _ENDS:
                self._fail(queued, f"ended the node's process {_ENDS} times while it was forwarded")
            else:
                said = "the node's process ended while it was forwarded; it goes last now"
                say(logging.WARNING, f"instance {queued.output_uid}: {said}")
        self._queue.forward_now()
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """End after the instance that is on its way; what has not arrived stays derived.

        Args:
            seconds: How long to wait for that instance.
        """
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(seconds)
        self._queue.end_well()

    def _serve(self) -> None:
        while not self._stopped.is_set():
            try:
                queued = self._queue.next_derived(self._longest_wait)
                if queued is None and (resent := self._queue.next_resent()) is not None:
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
                self._take_rest(unforeseen(error))
        self._target.close()  # here, since its connections are for one thread

    def _take_rest(self, reason: str) -> None:
        self._rest = f"forwarding pauses: {reason}"
        say(logging.ERROR, self._rest)
        self._stopped.wait(self._longest_wait)

    def _forward(self, queued: QueuedInstance) -> bool:
        """Make one attempt; whether it, and with it the target, is well."""
        path = self._spool.derived.path(queued.output)
        try:
            parcel = pack_file(path)
        except FileNotFoundError:
            if self._queue.is_forwarded(queued.output_uid):
                self._queue.forward(queued.output_uid)
            else:
                self._fail(queued, "its derived instance is gone from the spool")
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
        except MonaiDentalError as error:  # the PACS is there, and does not take this one
            if len(self._refused) < _REFUSED:
                self._refused.add(queued.key)
            if len(self._refused) == _REFUSED:
                return self._wait(queued, str(error))
            refusals = queued.attempts + 1
            if refusals < _REFUSALS:
                self._postpone(queued, refusals, self._pause(refusals), str(error))
            else:
                self._fail(queued, f"cannot be forwarded: {error}")
            return True
        except Exception as error:  # noqa: BLE001 - its text could quote patient data
            return self._wait(queued, unforeseen(error))
        self._queue.forward(queued.output_uid, proof, str(parcel.key))
        self._spool.remove_derived(queued.output)
        self._counts.add("forwarded")
        if self._failures:
            say(logging.INFO, "forwarding goes on")
        self._failures = 0
        self._refused.clear()
        return True

    def _ask_for(self, queued: QueuedInstance) -> bool:
        """Ask for an instance that was forwarded and whose original came again; whether one can."""
        stored = StoredObject(queued.place, queued.output_uid, queued.output_digest, "")
        try:
            is_there = self._target.find(stored) is not None
        except PacsUnavailableError as error:
            return self._wait(queued, str(error))
        except PacsError:  # it cannot be asked: to send it once more does no harm
            is_there = False
        if is_there:
            self._queue.confirm(queued.key)
            self._spool.remove(queued.key)
        else:
            self._queue.denoise_again(queued.key)
            say(logging.WARNING, f"instance {queued.output_uid}: the archive lost it; made again")
        self._on_room()
        return True

    def _wait(self, queued: QueuedInstance, reason: str) -> bool:
        self._failures += 1
        if self._failures == 1:
            say(logging.ERROR, f"forwarding fails: {reason}")
        self._postpone(queued, queued.attempts, self._pause(self._failures), reason)
        return False

    def _postpone(self, queued: QueuedInstance, refusals: int, seconds: float, reason: str) -> None:
        self._counts.add("retries")
        self._queue.postpone(queued.key, refusals, seconds, reason)
        if not queued.reason:
            say(logging.WARNING, f"instance {queued.output_uid}: not forwarded yet: {reason}")

    def _fail(self, queued: QueuedInstance, reason: str) -> None:
        self._counts.add("failed")
        self._queue.finish(queued.key, FAILED, reason, queued.recipe)
        say(logging.ERROR, f"instance {queued.output_uid}: failed: {reason}")

    def _pause(self, attempts: int) -> float:
        # By hand: tenacity waits in its process, but these waits are in the queue and outlive it.
        longest = min(self._longest_wait, _FIRST_WAIT_S * 2.0 ** min(attempts - 1, 30))
        return longest * random.uniform(0.5, 1.0)
