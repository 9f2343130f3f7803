"""The SQLite file of a node's queue."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from monai_dental.errors import OutputError
from monai_dental.files.database import database_errors
from monai_dental.node.queue_rows import (
    ADDED,
    COLUMNS,
    INDEXES,
    QUEUE,
    SCHEMA,
    VERSION,
    QueuedInstance,
)


class QueueFile:
    """An open queue; safe to use from several threads.

    Each change is one transaction, and is on the disk when its method returns.

    Args:
        folder: The spool's folder.
        is_writable: Whether to open it for changes, and make it if needed; otherwise read-only.

    Raises:
        OutputError: It cannot be opened, is damaged, or was made by another version.
    """

    def __init__(self, folder: Path, *, is_writable: bool = False) -> None:
        self._path = folder / QUEUE
        self._lock = threading.RLock()
        if not is_writable and not self._path.is_file():
            raise OutputError(f"{folder}: no {QUEUE} here; need the spool of a node")
        try:
            self._connection = sqlite3.connect(
                self._path, isolation_level=None, timeout=60, check_same_thread=False
            )
            if is_writable:
                self._connection.execute("PRAGMA journal_mode = WAL")
                self._connection.execute("PRAGMA synchronous = FULL")
                self._connection.executescript(SCHEMA)
                self._upgrade()
                self._connection.executescript(INDEXES)
                (found,) = self._connection.execute("PRAGMA quick_check(1)").fetchone()
                if found != "ok":
                    raise sqlite3.DatabaseError("database disk image is malformed")
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        except sqlite3.OperationalError as error:  # locked, no permission, or a full disk
            raise OutputError(f"{self._path}: cannot be used: {error}") from error
        except sqlite3.DatabaseError as error:
            raise OutputError(
                f"{self._path}: is damaged: {error}; stop the node and move {QUEUE}, {QUEUE}-wal "
                f"and {QUEUE}-shm away: instances in the spool are then queued again, and those "
                "that were forwarded or skipped are forgotten"
            ) from error
        if version != VERSION:
            raise OutputError(
                f"{self._path}: made by another version of monai_dental; use that version, or "
                "another spool"
            )

    def _upgrade(self) -> None:
        """Add the columns that a file of an older version lacks."""
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
        """Close the queue, and merge its journal into the file."""
        with self._lock:
            self._connection.close()

    def get(self, key: str) -> QueuedInstance | None:
        """Return the row of an instance, or None if there is none."""
        return next(self._select("key = ?", key), None)

    def _select(self, where: str, *values: object) -> Iterator[QueuedInstance]:
        query = f"SELECT {COLUMNS} FROM instances WHERE {where}"
        return (QueuedInstance(*row) for row in self._ask(query, *values))

    def _ask(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with self._lock, database_errors(self._path):
            return self._connection.execute(query, values).fetchall()

    def _change(self, statement: str, *values: object) -> None:
        with self._lock, database_errors(self._path):
            self._connection.execute(statement, values)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Make changes in one transaction: all of them or none."""
        with self._lock, database_errors(self._path), self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            yield

    @contextmanager
    def _lightly(self) -> Iterator[None]:
        """Make changes that a power cut may lose."""
        with self._lock, database_errors(self._path):
            self._connection.execute("PRAGMA synchronous = NORMAL")
            try:
                yield
            finally:
                self._connection.execute("PRAGMA synchronous = FULL")
