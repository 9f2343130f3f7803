"""Stamps that show whether a file was touched without reading it, and digests of files."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

_CHUNK = 1 << 20


def stamp_of(*statuses: os.stat_result) -> str:
    """Return a digest of the sizes, times and inodes of files, which changes if one is written.

    It is a digest because the times of files can be dates of examinations.
    """
    fields = [(each.st_size, each.st_mtime_ns, each.st_ctime_ns, each.st_ino) for each in statuses]
    return hashlib.sha256(repr(fields).encode()).hexdigest()[:32]


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file, which need not fit into memory.

    Raises:
        OSError: It cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
