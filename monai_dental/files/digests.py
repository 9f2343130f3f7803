"""Marks by which a file that was touched is known without reading it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

_CHUNK = 1 << 20


def stamp_of(*statuses: os.stat_result) -> str:
    """A digest of the size, times and place of files: another one whenever one was written.

    A digest, since times of files can be dates of examinations.
    """
    fields = [(each.st_size, each.st_mtime_ns, each.st_ctime_ns, each.st_ino) for each in statuses]
    return hashlib.sha256(repr(fields).encode()).hexdigest()[:32]


def digest_of(path: Path) -> str:
    """SHA-256 of a file, which need not fit into memory.

    Raises:
        OSError: It cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
