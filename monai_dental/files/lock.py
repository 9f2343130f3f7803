"""A lock that allows only one run at a time on an output folder or a part of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from monai_dental.errors import OutputError, UnsupportedSystemError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


@contextmanager
def hold_lock(path: Path, *, is_shared: bool = False, is_waiting: bool = False) -> Iterator[None]:
    """Hold a lock that the system releases when the process ends, however it ends.

    Args:
        path: The file to lock; created if it is missing, and kept.
        is_shared: Whether other processes may hold it too, if they also share it.
        is_waiting: Whether to wait for another process that holds it.

    Raises:
        OutputError: Another process holds it, or the file cannot be made.
        UnsupportedSystemError: `is_shared` or `is_waiting` is true on Windows.
    """
    if fcntl is None:
        if is_shared or is_waiting:
            raise UnsupportedSystemError(f"{path}: Windows cannot share this lock; need Linux")
        with _hold_lock_of_windows(path):
            yield
        return
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from error
    try:
        try:
            kind = fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX
            fcntl.flock(descriptor, kind | (0 if is_waiting else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise _held(path) from error
        except OSError as error:
            raise OutputError(f"{path}: cannot be locked: {error.strerror}") from error
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _hold_lock_of_windows(path: Path) -> Iterator[None]:
    from filelock import FileLock, Timeout

    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise _held(path) from error
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from error
    try:
        yield
    finally:
        lock.release()


def _held(path: Path) -> OutputError:
    return OutputError(
        f"{path.parent}: another run is writing here; wait for it, or take another folder"
    )
