"""Marks by which a file that was touched is known without reading it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

_CHUNK = 1 << 20


def stamp_of(status: os.stat_result) -> str:
    """A digest of a file's size, times and place: another one whenever it was written.

    A digest, since times of files can be dates of examinations.
    """
    fields = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
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
