"""The queue of a node: a row for each instance that it has received, in an SQLite file."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from monai_dental.batch.target import StoredObject
from monai_dental.errors import OutputError
from monai_dental.files.database import database_errors
from monai_dental.node.queue_rows import (
    ADDED,
    COLUMNS,
    DERIVED,
    FAILED,
    FORWARDED,
    QUEUE,
    RECEIVED,
    SCHEMA,
    SKIPPED,
    STATES,
    VERSION,
    QueuedInstance,
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


class Queue:
    """An open queue, for any number of threads.

    Each change is one transaction, and on the disk when its method returns.

    Args:
        folder: The spool's folder.
        is_writable: Whether it may be made and changed; else it is only read.

    Raises:
        OutputError: It cannot be opened, is damaged, or is of another version.
    """

    def __init__(self, folder: Path, *, is_writable: bool = False) -> None:
        self._path = folder / QUEUE
        self._lock = threading.RLock()
        if not is_writable and not self._path.is_file():
            raise OutputError(f"{folder}: no {QUEUE} here; need the spool of a node")
        try:
            self._connection = self._connect()
            if is_writable:
                self._connection.execute("PRAGMA journal_mode = WAL")
                self._connection.execute("PRAGMA synchronous = FULL")
                self._connection.executescript(SCHEMA)
                self._upgrade()
                (found,) = self._connection.execute("PRAGMA quick_check(1)").fetchone()
                if found != "ok":
                    raise sqlite3.DatabaseError("database disk image is malformed")
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        except sqlite3.OperationalError as error:  # it is locked, closed to us, or the disk is full
            raise OutputError(f"{self._path}: cannot be used: {error}") from error
        except sqlite3.DatabaseError as error:
            raise OutputError(
                f"{self._path}: is damaged: {error}; stop the node and move {QUEUE}, {QUEUE}-wal "
                f"and {QUEUE}-shm away: what lies in the spool is then queued anew, and what was "
                "forwarded or skipped is forgotten"
            ) from error
        if version != VERSION:
            raise OutputError(f"{self._path}: made by another version of monai_dental")

    def _upgrade(self) -> None:
        """Add what an older version did not have."""
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            return
        rows = self._connection.execute("PRAGMA table_info(instances)").fetchall()
        there = {row[1] for row in rows}
        for column, kind in ADDED.items():
            if column not in there:
                self._connection.execute(f"ALTER TABLE instances ADD COLUMN {column} {kind}")
        self._connection.execute(f"PRAGMA user_version = {VERSION}")

    def close(self) -> None:
        """Close it; what the journal holds goes into the one file."""
        with self._lock:
            self._connection.close()

    def get(self, key: str) -> QueuedInstance | None:
        """What is known of an instance."""
        return next(self._select("key = ?", key), None)

    def receive(self, key: str, uid: str) -> None:
        """Note an instance whose bytes are in the spool, to be denoised.

        A new row alone may be lost to a power cut: the file in the spool tells the same. A row that
        changes may not: the older one says that the file is of no use any more.
        """
        now = time.time()
        with self._lock:
            with self._lightly(), database_errors(self._path):
                added = self._connection.execute(
                    "INSERT INTO instances (key, state, uid, changed) VALUES (?, ?, ?, ?) "
                    "ON CONFLICT (key) DO NOTHING",
                    (key, RECEIVED, uid, now),
                ).rowcount
            if not added:
                self._change(
                    "UPDATE instances SET state = ?, reason = '', attempts = 0, changed = ? "
                    "WHERE key = ? AND state != 'derived'",
                    *(RECEIVED, now, key),
                )

    def adopt(self, stored: StoredObject) -> None:
        """Note a derived instance of which nothing else is known, to be forwarded."""
        self._change(
            "INSERT INTO instances (key, state, uid, output, output_uid, output_digest, changed) "
            "VALUES (?, ?, '', ?, ?, ?, ?) ON CONFLICT (key) DO NOTHING",
            *(stored.digest, DERIVED, stored.location, stored.sop_instance_uid, stored.digest),
            time.time(),
        )

    def next_received(self, taken: Collection[str]) -> QueuedInstance | None:
        """The instance that has waited longest to be denoised.

        Args:
            taken: Keys of those that are being denoised.
        """
        marks = ", ".join("?" * len(taken))
        where = f"state = 'received' AND key NOT IN ({marks}) ORDER BY changed LIMIT 1"
        return next(self._select(where, *taken), None)

    def derive(self, key: str, recipe: str, stored: StoredObject) -> None:
        """Note what was derived from an instance."""
        self._change(
            "UPDATE instances SET state = 'derived', reason = '', recipe = ?, output = ?, "
            "output_uid = ?, output_digest = ?, output_stamp = ?, attempts = 0, due = 0, "
            "changed = ? WHERE key = ?",
            *(recipe, stored.location, stored.sop_instance_uid, stored.digest, stored.stamp),
            *(time.time(), key),
        )

    def next_derived(self, longest_wait: float) -> QueuedInstance | None:
        """The derived instance whose turn to be forwarded it is; None for none yet.

        Args:
            longest_wait: Seconds that one may wait; more is a clock that was set back.
        """
        now = time.time()
        where = "state = 'derived' AND (due <= ? OR due > ?) ORDER BY due, changed LIMIT 1"
        longest = max(longest_wait, _SUSPECT_WAIT_S)
        return next(self._select(where, now, now + longest), None)

    def postpone(self, key: str, attempts: int, seconds: float, reason: str) -> None:
        """Note why an instance could not be forwarded, and when that is tried again.

        Args:
            key: The instance.
            attempts: How often the archive has refused it.
            seconds: Time until then.
            reason: Why.
        """
        self._change(
            "UPDATE instances SET attempts = ?, due = ?, reason = ?, begun = 0 WHERE key = ?",
            *(attempts, time.time() + seconds, reason, key),
        )

    def forward_now(self) -> None:
        """Let none wait to be forwarded, but those that a process ended with."""
        self._change("UPDATE instances SET due = 0 WHERE state = 'derived' AND ends = 0")

    def begin(self, key: str) -> None:
        """Note that an instance is being forwarded, until it is noted what became of it.

        A power cut may take this note: it is about what ends the process.
        """
        with self._lightly():
            self._change("UPDATE instances SET begun = 1 WHERE key = ?", key)

    def end_well(self) -> None:
        """Note that the process ends of itself: no instance is at fault."""
        self._change("UPDATE instances SET begun = 0 WHERE begun")

    def suspects(self) -> list[QueuedInstance]:
        """What was being forwarded when the last process ended, which is counted now.

        Each waits a little, so that others leave first.
        """
        with self._lock:
            begun = [each.key for each in self._select("begun AND state = 'derived'")]
            self._change(
                "UPDATE instances SET begun = 0, ends = ends + 1, due = ? "
                "WHERE begun AND state = 'derived'",
                time.time() + _SUSPECT_WAIT_S,
            )
            return [found for key in begun if (found := self.get(key)) is not None]

    def forward(self, output_uid: str, proof: str = "", place: str = "") -> None:
        """Note that a derived instance has been proven to have arrived.

        Of two instances that led to the same one, both are noted.

        Args:
            output_uid: Its SOP Instance UID.
            proof: What proved it.
            place: Its STUDY/SERIES/INSTANCE.
        """
        self._change(
            "UPDATE instances SET state = 'forwarded', reason = '', changed = ?, proof = ?, "
            "place = ?, begun = 0, ends = 0 WHERE output_uid = ? AND state = 'derived'",
            *(time.time(), proof, place, output_uid),
        )

    def resend(self, key: str) -> None:
        """Note that a forwarded instance came again: the archive is to be asked for it."""
        self._change(
            "UPDATE instances SET resent = 1, due = 0 WHERE key = ? AND state = 'forwarded'", key
        )

    def next_resent(self) -> QueuedInstance | None:
        """A forwarded instance that the archive is to be asked for; None for none yet."""
        where = "state = 'forwarded' AND resent AND due <= ? LIMIT 1"
        return next(self._select(where, time.time()), None)

    def confirm(self, key: str) -> None:
        """Note that the archive still has a forwarded instance."""
        self._change("UPDATE instances SET resent = 0 WHERE key = ?", key)

    def denoise_again(self, key: str) -> None:
        """Note that the archive has lost a forwarded instance, whose original came again."""
        self._change(
            "UPDATE instances SET state = 'received', resent = 0, attempts = 0, changed = ? "
            "WHERE key = ?",
            *(time.time(), key),
        )

    def redo(self, uid: str | None, study: str | None, since: float | None) -> tuple[int, int]:
        """Let instances be done again; see `monai-dental node-redo`.

        Args:
            uid: SOP Instance UID of the original or of what was derived; None for any.
            study: Study Instance UID of what was forwarded; None for any.
            since: When it came into its state at the earliest; None for any time.

        Returns:
            How many of those that failed are done again, and how many of those that were forwarded
            or skipped are forgotten, and done when they are sent again.
        """
        where = ["state IN ('failed', 'forwarded', 'skipped')"]
        values: list[object] = []
        if uid is not None:
            where.append("? IN (uid, output_uid)")
            values.append(uid)
        if study is not None:
            where.append("substr(place, 1, ?) = ?")
            values += [len(study) + 1, f"{study}/"]
        if since is not None:
            where.append("changed >= ?")
            values.append(since)
        with self._lock:
            found = list(self._select(" AND ".join(where), *values))
            failed = [each.key for each in found if each.state == FAILED]
            done = [each.key for each in found if each.state != FAILED and not each.resent]
            for key in failed:
                # What was derived of it is still there, or else its original.
                self._change(
                    "UPDATE instances SET state = CASE output WHEN '' THEN 'received' ELSE "
                    "'derived' END, reason = '', attempts = 0, due = 0 WHERE key = ?",
                    key,
                )
            for key in done:
                self._change("DELETE FROM instances WHERE key = ?", key)
        return len(failed), len(done)

    def proofs(self) -> dict[str, int]:
        """Number of forwarded instances by what proved that they have arrived."""
        query = "SELECT proof, COUNT(*) FROM instances WHERE state = 'forwarded' GROUP BY proof"
        with self._lock, database_errors(self._path):
            return dict(self._connection.execute(query).fetchall())

    def is_forwarded(self, output_uid: str) -> bool:
        """Whether a derived instance has been proven to have arrived."""
        where = "output_uid = ? AND state = 'forwarded' LIMIT 1"
        return next(self._select(where, output_uid), None) is not None

    def finish(self, key: str, state: str, reason: str, recipe: str) -> None:
        """Note that an instance was skipped, or failed for good.

        Args:
            key: The instance.
            state: "skipped" or "failed".
            reason: Why.
            recipe: Digest of the settings that led to it.
        """
        self._change(
            "UPDATE instances SET state = ?, reason = ?, recipe = ?, changed = ?, begun = 0, "
            "ends = 0 WHERE key = ?",
            *(state, reason, recipe, time.time(), key),
        )

    def retry(self, key: str) -> None:
        """Let an instance that was derived, and then failed, be forwarded again."""
        self._change(
            "UPDATE instances SET state = 'derived', reason = '', attempts = 0, due = 0 "
            "WHERE key = ? AND state = 'failed'",
            key,
        )

    def forget(self, seconds: float) -> None:
        """Remove the rows of what was forwarded or skipped so long ago."""
        self._change(
            "DELETE FROM instances WHERE state IN ('forwarded', 'skipped') AND changed < ? "
            "AND NOT resent",
            time.time() - seconds,
        )

    def instances(self, *states: str) -> Iterator[QueuedInstance]:
        """All rows of these states, the oldest first."""
        marks = ", ".join("?" * len(states))
        yield from self._select(f"state IN ({marks}) ORDER BY changed", *states)

    def counts(self) -> dict[str, int]:
        """Number of instances in each state."""
        query = "SELECT state, COUNT(*) FROM instances GROUP BY state"
        with self._lock, database_errors(self._path):
            found = dict(self._connection.execute(query).fetchall())
        return {state: found.get(state, 0) for state in STATES}

    def _select(self, where: str, *values: object) -> Iterator[QueuedInstance]:
        query = f"SELECT {COLUMNS} FROM instances WHERE {where}"
        with self._lock, database_errors(self._path):
            found = self._connection.execute(query, values).fetchall()
        return (QueuedInstance(*row) for row in found)

    def _change(self, statement: str, *values: object) -> None:
        with self._lock, database_errors(self._path):
            self._connection.execute(statement, values)

    @contextmanager
    def _lightly(self) -> Iterator[None]:
        """Make changes that a power cut may take."""
        with self._lock, database_errors(self._path):
            self._connection.execute("PRAGMA synchronous = NORMAL")
            try:
                yield
            finally:
                self._connection.execute("PRAGMA synchronous = FULL")

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(
            self._path, isolation_level=None, timeout=60, check_same_thread=False
        )
