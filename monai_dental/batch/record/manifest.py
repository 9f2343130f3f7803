"""The record of a batch: one row for each input file, in an SQLite file that survives any crash."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from monai_dental.batch.record.shard import Shard
from monai_dental.batch.target import StoredObject
from monai_dental.errors import OutputError
from monai_dental.files.database import database_errors

MANIFEST = Shard().manifest
LEFT, DERIVED, SKIPPED, FAILED = "left", "derived", "skipped", "failed"
OUTCOMES = (DERIVED, SKIPPED, FAILED, LEFT)

_VERSION = 2
_PAGE = 1000


@dataclass(frozen=True)
class Row:
    """The record of one input file.

    Attributes:
        name: Its path below the input folder, or the SHA-256 of that path.
        outcome: "derived", "skipped", "failed", or "left": not done yet.
        reason: Why it was skipped or failed.
        stamp: Changes whenever the file or its mask is touched.
        digest: SHA-256 of its bytes.
        mask_digest: SHA-256 of the bytes of its mask; "" if it has none.
        output: Path of the derived instance below the output folder.
        output_uid: Its SOP Instance UID.
        output_digest: SHA-256 of its bytes.
        output_stamp: Changes whenever it is touched.
        recipe: Digest of all settings that led to the outcome.
        model_digest: SHA-256 of the model's weights.
        strength: Fraction of the noise that was removed.
        seconds: Duration of its processing.
        finished: When it was done, UTC.
    """

    name: str
    outcome: str = LEFT
    reason: str = ""
    stamp: str = ""
    digest: str = ""
    mask_digest: str = ""
    output: str = ""
    output_uid: str = ""
    output_digest: str = ""
    output_stamp: str = ""
    recipe: str = ""
    model_digest: str = ""
    strength: float | None = None
    seconds: float | None = None
    finished: str = ""

    @property
    def stored(self) -> StoredObject | None:
        """The derived instance, if any."""
        if not self.output:
            return None
        return StoredObject(self.output, self.output_uid, self.output_digest, self.output_stamp)

    def with_stored(self, stored: StoredObject) -> Row:
        """Return the row with another derived instance."""
        return replace(
            self,
            output=stored.location,
            output_uid=stored.sop_instance_uid,
            output_digest=stored.digest,
            output_stamp=stored.stamp,
        )


COLUMNS = tuple(field.name for field in fields(Row))

_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS batch (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS files (
    name TEXT PRIMARY KEY,
    outcome TEXT NOT NULL CHECK (outcome IN ('left', 'derived', 'skipped', 'failed')),
    {", ".join(f"{name} TEXT NOT NULL" for name in COLUMNS[2:12])},
    strength REAL, seconds REAL, finished TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS files_by_output ON files (output);
CREATE TABLE IF NOT EXISTS superseded (
    name TEXT NOT NULL, output TEXT PRIMARY KEY, output_uid TEXT NOT NULL,
    output_digest TEXT NOT NULL, recipe TEXT NOT NULL, model_digest TEXT NOT NULL,
    superseded TEXT NOT NULL
);
"""
_INSERT = f"INSERT OR REPLACE INTO files VALUES ({', '.join('?' * len(COLUMNS))})"


class Manifest:
    """An open manifest. Each change is one transaction: it is applied completely or not at all.

    Args:
        folder: The output folder.
        shard: Shard that the manifest belongs to; by default the whole batch.
        is_hashed: Whether rows hold digests instead of paths; None accepts both.
        is_new: Whether it may be created and changed; otherwise it is only read.

    Raises:
        OutputError: It cannot be opened, is damaged, or was made with another `is_hashed`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        shard: Shard | None = None,
        is_hashed: bool | None = None,
        is_new: bool = False,
    ) -> None:
        shard = shard or Shard()
        self._path = folder / shard.manifest
        if not is_new and not self._path.is_file():
            raise OutputError(f"{folder}: no {MANIFEST} here; need the output folder of a batch")
        with database_errors(self._path):
            self._connection = self._connect(is_new)
            if is_new:
                if shard.count == 1:
                    self._connection.execute("PRAGMA journal_mode = WAL")
                    # A power cut may lose a row, but never a file: the next run finds it again.
                    self._connection.execute("PRAGMA synchronous = NORMAL")
                else:  # other machines read it too, which a WAL does not allow
                    self._connection.execute("PRAGMA journal_mode = TRUNCATE")
                self._connection.executescript(_SCHEMA)
                self._set_once("version", str(_VERSION))
                self._set_once("hashed", str(int(bool(is_hashed))))
            settings = dict(self._connection.execute("SELECT key, value FROM batch"))
        if settings.get("version") != str(_VERSION):
            raise OutputError(
                f"{self._path}: made by another version of monai_dental; "
                "use that version, or another output folder"
            )
        self.is_hashed = settings["hashed"] == "1"
        if is_hashed is not None and self.is_hashed != is_hashed:
            raise OutputError(
                f"{self._path}: made {'with' if self.is_hashed else 'without'} --hash-paths; "
                "give the same option again, or another output folder"
            )

    def close(self) -> None:
        """Close it, and merge the journal into the file."""
        self._connection.close()

    def key(self, name: Path) -> str:
        """Return the name of a file in the manifest.

        Args:
            name: Its path below the input folder.
        """
        # File names are bytes; those that are not UTF-8 become unique escape sequences.
        text = name.as_posix().encode(errors="surrogateescape")
        if self.is_hashed:
            return hashlib.sha256(text).hexdigest()
        return text.replace(b"\\", b"\\\\").decode(errors="backslashreplace")

    @property
    def source(self) -> Path | None:
        """The input folder of the last run, or None if the manifest keeps paths secret."""
        found = self._fetch("SELECT value FROM batch WHERE key = 'source'")
        return Path(os.fsdecode(found[0][0])) if found else None

    def set_source(self, folder: Path) -> None:
        """Record the input folder, unless paths are kept secret."""
        if not self.is_hashed:
            source = os.fsencode(folder.resolve())
            self._change("INSERT OR REPLACE INTO batch VALUES ('source', ?)", [(source,)])

    def rows(self) -> Iterator[Row]:
        """Yield all rows, ordered by name."""
        query, last = f"SELECT * FROM files WHERE name > ? ORDER BY name LIMIT {_PAGE}", ""
        # Page by page: an open query would block the writes of a current run.
        while page := self._fetch(query, last):
            yield from (Row(*values) for values in page)
            last = page[-1][0]

    @property
    def is_planned(self) -> bool:
        """Whether a run has recorded all its files."""
        return bool(self._fetch("SELECT value FROM batch WHERE key = 'planned'"))

    def set_planned(self) -> None:
        """Record that there is a row for each file of the run."""
        with database_errors(self._path):
            self._set_once("planned", "1")

    def superseded(self) -> list[str]:
        """Return outputs that others replaced: those of earlier inputs or other settings."""
        return [output for (output,) in self._fetch("SELECT output FROM superseded")]

    def counts(self) -> dict[str, int]:
        """Return the number of rows of each outcome."""
        found = dict(self._fetch("SELECT outcome, COUNT(*) FROM files GROUP BY outcome"))
        return {outcome: found.get(outcome, 0) for outcome in OUTCOMES}

    def put(self, rows: Iterable[Row]) -> None:
        """Write rows in one transaction.

        An output that a row named before and no longer names is recorded as superseded.
        """
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        with self._transaction():
            for row in rows:
                self._connection.execute(
                    "INSERT OR REPLACE INTO superseded SELECT name, output, output_uid, "
                    "output_digest, recipe, model_digest, ?3 FROM files "
                    "WHERE name = ?1 AND output != '' AND output != ?2 AND NOT EXISTS "
                    "(SELECT 1 FROM files AS other "
                    "WHERE other.output = files.output AND other.name != ?1)",
                    (row.name, row.output, now),
                )
                self._connection.execute(_INSERT, astuple(row))
                self._connection.execute("DELETE FROM superseded WHERE output = ?", (row.output,))

    def take_over(self, other: Manifest, is_mine: Callable[[str], bool]) -> None:
        """Move rows from another manifest, which no run is writing, into this one.

        Each row is written here before it is removed there. A row of the same name that is already
        here stays: it was moved before by a run that was killed in between.

        Args:
            other: The other manifest.
            is_mine: Returns whether to move the row with a given name.
        """
        for table in ("files", "superseded"):
            key = "name" if table == "files" else "output"
            query, last = f"SELECT {key}, * FROM {table} WHERE {key} > ? ORDER BY {key} LIMIT ?", ""
            while page := other._fetch(query, last, _PAGE):
                last = page[-1][0]
                taken = [values for _, *values in page if is_mine(values[0])]
                if not taken:
                    continue
                marks = ", ".join("?" * len(taken[0]))
                self._change(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", taken)
                at = 0 if table == "files" else 1
                other._change(f"DELETE FROM {table} WHERE {key} = ?", [(v[at],) for v in taken])

    def _fetch(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with database_errors(self._path):
            return self._connection.execute(query, values).fetchall()

    def _change(self, statement: str, rows: Iterable[Sequence[object]]) -> None:
        """Execute a statement for each row, in one transaction."""
        with self._transaction():
            self._connection.executemany(statement, rows)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Make changes in one transaction: all of them or none."""
        with database_errors(self._path), self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            yield

    def _connect(self, is_new: bool) -> sqlite3.Connection:
        if is_new:
            return sqlite3.connect(self._path, isolation_level=None, timeout=60)
        # Reading a running batch writes files beside the manifest; in a read-only folder the
        # manifest is read as it is.
        for mode in ("mode=rw", "immutable=1"):
            uri = f"{self._path.resolve().as_uri()}?{mode}"
            connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=60)
            try:
                connection.execute("SELECT COUNT(*) FROM sqlite_schema").fetchone()
            except sqlite3.OperationalError:
                connection.close()
                continue
            return connection
        raise OutputError(f"{self._path}: cannot be opened")

    def _set_once(self, key: str, value: str) -> None:
        self._connection.execute("INSERT OR IGNORE INTO batch VALUES (?, ?)", (key, value))
