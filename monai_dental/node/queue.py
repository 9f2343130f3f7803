"""The queue of a node: an SQLite file with a row for each received instance."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import nullcontext

from monai_dental.batch.target import StoredObject
from monai_dental.node.queue_again import QueueOfAgain
from monai_dental.node.queue_rows import (
    COLUMNS,
    DERIVED,
    FAILED,
    FORWARDED,
    QUEUE,
    RECEIVED,
    SKIPPED,
    STATES,
    QueuedInstance,
    instance_of,
    way_of,
    ways_of,
)

__all__ = [
    "DERIVED",
    "FAILED",
    "FORWARDED",
    "QUEUE",
    "RECEIVED",
    "SKIPPED",
    "STATES",
    "Queue",
    "QueuedInstance",
]

_SUSPECT_WAIT_S = 15.0


class Queue(QueueOfAgain):
    """An open queue; arguments and errors are those of `QueueFile`."""

    def receive(
        self,
        key: str,
        uid: str,
        *,
        study: str = "",
        sender: str = "",
        is_urgent: bool = False,
        originals: Sequence[str] = (),
    ) -> None:
        """Record an instance whose bytes are in the spool, to be denoised.

        A power cut may lose a new row without a sender, since the file in the spool holds the same
        information. It must not lose a change to a row, since the old row says that the file is no
        longer needed.

        Args:
            key: The instance.
            uid: SOP Instance UID that the sender gave; "" if that is not a UID.
            study: Study Instance UID; "" if it has none.
            sender: AE title of the sender; "" if nothing depends on it.
            is_urgent: Whether it is denoised and forwarded before others.
            originals: Destinations of the original itself, besides those of the derived instance.
        """
        now = time.time()
        with self._lock:
            is_light = not sender and self.get(key) is None
            with self._lightly() if is_light else nullcontext(), self._transaction():
                self._change(
                    "INSERT INTO instances (key, state, uid, changed, study, arrived, urgent, "
                    "sender) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET "
                    "state = excluded.state, reason = '', attempts = 0, "
                    "changed = excluded.changed, arrived = excluded.arrived "
                    "WHERE state != 'derived'",
                    *(key, RECEIVED, uid, now, study, now, int(is_urgent), sender),
                )
                self._pass_on(key, originals)

    def adopt(self, stored: StoredObject) -> None:
        """Record a derived instance that the queue does not know, to be forwarded."""
        self._change(
            "INSERT INTO instances (key, state, uid, output, output_uid, output_digest, changed) "
            "VALUES (?, ?, '', ?, ?, ?, ?) ON CONFLICT (key) DO NOTHING",
            *(stored.digest, DERIVED, stored.location, stored.sop_instance_uid, stored.digest),
            time.time(),
        )

    def next_received(self, taken: Collection[str]) -> QueuedInstance | None:
        """Return the instance that has waited longest to be denoised; urgent ones come first.

        The `taken` ones, by their keys, are being denoised.
        """
        marks = ", ".join("?" * len(taken))
        where = f"state = 'received' AND key NOT IN ({marks}) ORDER BY urgent DESC, changed LIMIT 1"
        return next(self._select(where, *taken), None)

    def derive(
        self, key: str, recipe: str, stored: StoredObject, destinations: Sequence[str] = ("",)
    ) -> None:
        """Record what was derived from an instance, and its destinations."""
        with self._transaction():
            self._change(
                "UPDATE instances SET state = 'derived', reason = '', recipe = ?, output = ?, "
                "output_uid = ?, output_digest = ?, output_stamp = ?, attempts = 0, due = 0, "
                "changed = ?, destination = ? WHERE key = ?",
                *(recipe, stored.location, stored.sop_instance_uid, stored.digest),
                *(stored.stamp, time.time(), destinations[0], key),
            )
            for destination in destinations[1:]:
                columns = COLUMNS.removeprefix("key, ").replace(", destination", "")
                columns += ", study, arrived, urgent"
                self._change(
                    f"INSERT OR REPLACE INTO instances (key, destination, {columns}) "
                    f"SELECT ?, ?, {columns} FROM instances WHERE key = ?",
                    *(way_of(key, destination), destination, key),
                )

    def redirect(self, destinations: Sequence[str]) -> None:
        """Send derived instances whose destination was removed to the first of `destinations`.

        Originals fail instead: they were meant for the removed destination only.
        """
        marks = ", ".join("?" * len(destinations))
        where = f"WHERE destination NOT IN ({marks}) AND "
        with self._transaction():
            self._change(
                f"UPDATE instances SET destination = ? {where} NOT original",
                *(destinations[0], *destinations),
            )
            self._change(
                "UPDATE instances SET state = 'failed', reason = 'the original was to go to ' || "
                f"destination || ', which is no longer in any route' {where} original "
                "AND state = 'derived'",
                *destinations,
            )

    def is_wanted(self, output_uid: str) -> bool:
        """Return whether a derived instance has yet to be forwarded somewhere, or failed to be."""
        where = "output_uid = ? AND state IN ('derived', 'failed') LIMIT 1"
        return next(self._select(where, output_uid), None) is not None

    def next_derived(
        self, longest_wait: float, study_wait: float = 0.0, destination: str = ""
    ) -> QueuedInstance | None:
        """Return the next derived instance to forward, or None if none is due.

        Args:
            longest_wait: Longest wait in seconds; a longer one means that the clock was set back.
            study_wait: Seconds for which no instance of its study may have arrived; none may be
                waiting to be denoised either.
            destination: The destination.
        """
        now = time.time()
        where = "state = 'derived' AND destination = ? AND (due <= ? OR due > ?)"
        values: list[object] = [destination, now, now + max(longest_wait, _SUSPECT_WAIT_S)]
        if study_wait:
            where += (
                " AND (study = '' OR NOT EXISTS (SELECT 1 FROM instances AS other WHERE "
                "other.study = instances.study AND (other.state = 'received' OR "
                "other.arrived BETWEEN ? AND ?)))"
            )
            values += [now - study_wait, now]
        order = " ORDER BY urgent DESC, due, changed LIMIT 1"
        return next(self._select(where + order, *values), None)

    def postpone(self, key: str, attempts: int, seconds: float, reason: str) -> None:
        """Record why an instance could not be forwarded, and when to try again.

        Args:
            key: The instance.
            attempts: How often the archive has refused it.
            seconds: Time until the next attempt.
            reason: Why it could not be forwarded.
        """
        self._change(
            "UPDATE instances SET attempts = ?, due = ?, reason = ?, begun = 0 WHERE key = ?",
            *(attempts, time.time() + seconds, reason, key),
        )

    def forward_now(self) -> None:
        """Make all derived instances due now, except those during which a process ended."""
        self._change("UPDATE instances SET due = 0 WHERE state = 'derived' AND ends = 0")

    def begin(self, key: str) -> None:
        """Record that an instance is being forwarded, until its outcome is recorded.

        A power cut may lose this: it serves to find instances that crash the process.
        """
        with self._lightly():
            self._change("UPDATE instances SET begun = 1 WHERE key = ?", key)

    def end_well(self) -> None:
        """Record that the process ends normally: no instance is at fault."""
        self._change("UPDATE instances SET begun = 0 WHERE begun")

    def suspects(self) -> list[QueuedInstance]:
        """Count and return the instances that were being forwarded when the last process ended.

        Each waits a little, so that others go first.
        """
        with self._lock:
            begun = [each.key for each in self._select("begun AND state = 'derived'")]
            self._change(
                "UPDATE instances SET begun = 0, ends = ends + 1, due = ? "
                "WHERE begun AND state = 'derived'",
                time.time() + _SUSPECT_WAIT_S,
            )
            return [found for key in begun if (found := self.get(key)) is not None]

    def forward(
        self, output_uid: str, proof: str = "", place: str = "", destination: str = ""
    ) -> None:
        """Record that a derived instance has been proven to have arrived.

        If two instances led to the same derived instance, both are recorded.

        Args:
            output_uid: Its SOP Instance UID.
            proof: What proved it.
            place: Its STUDY/SERIES/INSTANCE.
            destination: Where it arrived.
        """
        self._change(
            "UPDATE instances SET state = 'forwarded', reason = '', changed = ?, proof = ?, "
            "place = ?, begun = 0, ends = 0 WHERE output_uid = ? AND destination = ? "
            "AND state = 'derived'",
            *(time.time(), proof, place, output_uid, destination),
        )

    def forward_original(self, key: str, output_uid: str, proof: str, place: str) -> None:
        """Record that an original has been proven to have arrived; see `forward`.

        Args:
            key: Key of its row; see `original_way_of`.
            output_uid: Its SOP Instance UID.
            proof: What proved it.
            place: Its STUDY/SERIES/INSTANCE.
        """
        self._change(
            "UPDATE instances SET state = 'forwarded', reason = '', changed = ?, proof = ?, "
            "place = ?, output_uid = ?, begun = 0, ends = 0 WHERE key = ? AND state = 'derived'",
            *(time.time(), proof, place, output_uid, key),
        )

    def is_source_wanted(self, key: str) -> bool:
        """Return whether the received file is still needed: to denoise, forward or resend it.

        Args:
            key: Key of any of the instance's rows.
        """
        key = instance_of(key)
        where = (
            "key >= ? AND key < ? AND (resent OR (original AND state IN ('derived', 'failed')) "
            "OR (key = ? AND state IN ('received', 'failed'))) LIMIT 1"
        )
        return next(self._select(where, *ways_of(key), key), None) is not None

    def arrivals(self) -> list[tuple[str, bool, str, int]]:
        """Count what was forwarded: destination, whether it is the original, proof, count."""
        query = (
            "SELECT destination, original, proof, COUNT(*) FROM instances "
            "WHERE state = 'forwarded' GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
        )
        return self._ask(query)

    def is_forwarded(self, output_uid: str, destination: str = "") -> bool:
        """Return whether a derived instance has been proven to have arrived at a destination."""
        where = "output_uid = ? AND destination = ? AND state = 'forwarded' LIMIT 1"
        return next(self._select(where, output_uid, destination), None) is not None

    def finish(self, key: str, state: str, reason: str, recipe: str) -> None:
        """Record that an instance was skipped, or failed for good.

        Args:
            key: The instance.
            state: "skipped" or "failed".
            reason: Why.
            recipe: Digest of the settings it was processed with.
        """
        self._change(
            "UPDATE instances SET state = ?, reason = ?, recipe = ?, changed = ?, begun = 0, "
            "ends = 0 WHERE key = ?",
            *(state, reason, recipe, time.time(), key),
        )

    def retry(self, key: str) -> None:
        """Queue an instance again that was derived, but failed to be forwarded."""
        self._change(
            "UPDATE instances SET state = 'derived', reason = '', attempts = 0, due = 0 "
            "WHERE key = ? AND state = 'failed'",
            key,
        )

    def forget(self, seconds: float) -> None:
        """Remove rows of instances that were forwarded or skipped more than `seconds` ago."""
        self._change(
            "DELETE FROM instances WHERE state IN ('forwarded', 'skipped') AND changed < ? "
            "AND NOT resent",
            time.time() - seconds,
        )

    def instances(self, *states: str) -> Iterator[QueuedInstance]:
        """Yield all rows in the given states, oldest first."""
        marks = ", ".join("?" * len(states))
        yield from self._select(f"state IN ({marks}) ORDER BY changed", *states)

    def waiting_by_destination(self) -> dict[str, int]:
        """Return the number of instances that wait to be forwarded, by destination."""
        query = (
            "SELECT destination, COUNT(*) FROM instances WHERE state = 'derived' "
            "GROUP BY destination"
        )
        return dict(self._ask(query))

    def counts(self) -> dict[str, int]:
        """Return the number of instances in each state."""
        query = "SELECT state, COUNT(*) FROM instances GROUP BY state"
        found = dict(self._ask(query))
        return {state: found.get(state, 0) for state in STATES}
