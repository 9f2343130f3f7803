"""Errors of SQLite files: manifest and queue."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from monai_dental.errors import OutputError


@contextmanager
def database_errors(path: Path) -> Iterator[None]:
    """Convert SQLite errors to errors that name the file.

    Raises:
        OutputError: SQLite cannot use it.
    """
    try:
        yield
    except sqlite3.Error as error:
        raise OutputError(f"{path}: cannot be used: {error}") from error
