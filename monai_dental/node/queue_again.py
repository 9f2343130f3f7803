"""The part of a node's queue about instances that are sent or processed again."""

from __future__ import annotations

import time
from collections.abc import Sequence

from monai_dental.node.queue_file import QueueFile
from monai_dental.node.queue_rows import (
    FAILED,
    QueuedInstance,
    instance_of,
    original_way_of,
    ways_of,
)


class QueueOfAgain(QueueFile):
    """An open queue: methods about instances that are sent or processed again."""

    def resend(self, key: str, originals: Sequence[str] = ()) -> None:
        """Record that a finished instance was received again; the archives must be asked for it.

        Args:
            key: The instance.
            originals: Destinations of the original itself, besides those of the derived instance.
        """
        with self._transaction():
            self._change(
                "UPDATE instances SET resent = 1, due = 0 WHERE key >= ? AND key < ? "
                "AND state = 'forwarded'",
                *ways_of(key),
            )
            self._pass_on(key, originals)

    def _pass_on(self, key: str, destinations: Sequence[str]) -> None:
        """Queue an original for destinations; if it was forwarded already, ask the archive."""
        for destination in destinations:
            self._change(
                "INSERT INTO instances (key, state, uid, output, output_uid, changed, study, "
                "arrived, urgent, sender, destination, original) SELECT ?, 'derived', uid, ?, uid, "
                "?, study, arrived, urgent, sender, ?, 1 FROM instances WHERE key = ? "
                "ON CONFLICT (key) DO UPDATE SET resent = state = 'forwarded', due = 0, "
                "attempts = 0, reason = '', "
                "state = CASE state WHEN 'failed' THEN 'derived' ELSE state END",
                *(original_way_of(key, destination), f"{key}.dcm", time.time(), destination, key),
            )

    def next_resent(self, destination: str = "") -> QueuedInstance | None:
        """Return a forwarded instance to ask an archive for, or None if none is due."""
        where = "resent AND due <= ? AND destination = ? AND +state = 'forwarded' LIMIT 1"
        return next(self._select(where, time.time(), destination), None)

    def confirm(self, key: str) -> None:
        """Record that an archive still has a forwarded instance."""
        self._change("UPDATE instances SET resent = 0 WHERE key = ?", key)

    def denoise_again(self, key: str) -> None:
        """Record that an archive has lost a forwarded instance whose original came again."""
        key = instance_of(key)
        with self._transaction():
            self._change(
                "UPDATE instances SET resent = 0, due = 0, state = CASE WHEN original AND "
                "state = 'forwarded' THEN 'derived' ELSE state END WHERE key >= ? AND key < ?",
                *ways_of(key),
            )
            self._change(
                "UPDATE instances SET state = 'received', attempts = 0, changed = ? WHERE key = ?",
                *(time.time(), key),
            )

    def redo(self, uid: str | None, study: str | None, since: float | None) -> tuple[int, int]:
        """Process instances again; see `monai-dental node-redo`.

        Args:
            uid: SOP Instance UID of the original or of the derived instance; None for any.
            study: Study Instance UID; None for any.
            since: Earliest time at which it entered its state; None for any.

        Returns:
            The number of failed instances, which are processed again; and the number of forwarded
            or skipped ones, which are forgotten, and processed when they are sent again.
        """
        where = ["state IN ('failed', 'forwarded', 'skipped')"]
        values: list[object] = []
        if uid is not None:
            where.append("? IN (uid, output_uid)")
            values.append(uid)
        if study is not None:
            where.append("(substr(place, 1, ?) = ? OR study = ?)")
            values += [len(study) + 1, f"{study}/", study]
        if since is not None:
            where.append("changed >= ?")
            values.append(since)
        with self._transaction():  # the node that works on the same file sees all of it or nothing
            found = list(self._select(" AND ".join(where), *values))
            failed = [each.key for each in found if each.state == FAILED]
            done = [each.key for each in found if each.state != FAILED and not each.resent]
            for key in failed:
                # Either its derived instance or its original is still in the spool.
                self._change(
                    "UPDATE instances SET state = CASE output WHEN '' THEN 'received' ELSE "
                    "'derived' END, reason = '', attempts = 0, due = 0 WHERE key = ?",
                    key,
                )
            for key in done:
                self._change("DELETE FROM instances WHERE key = ?", key)
        return len(failed), len(done)
