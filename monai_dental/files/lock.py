"""One run at a time on an output folder, or on a part of it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from monai_dental.errors import OutputError


@contextmanager
def hold_lock(path: Path, *, is_shared: bool = False, is_waiting: bool = False) -> Iterator[None]:
    """Hold a lock that the system takes back whenever and however the process ends.

    Args:
        path: The file to lock; made where it is missing, and kept.
        is_shared: Whether others may hold it too, if they share it.
        is_waiting: Whether to wait for another process that holds it.

    Raises:
        OutputError: Another process holds it, or the file cannot be made.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from error
    try:
        try:
            kind = fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX
            fcntl.flock(descriptor, kind | (0 if is_waiting else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise OutputError(
                f"{path.parent}: another run is writing here; wait for it, or take another folder"
            ) from error
        except OSError as error:
            raise OutputError(f"{path}: cannot be locked: {error.strerror}") from error
        yield
    finally:
        os.close(descriptor)
