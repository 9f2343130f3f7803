"""The folder of a server's uploads and results, which goes when the server ends."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from monai_dental.errors import OutputError
from monai_dental.files.lock import hold_lock

_PREFIX = "monai-dental-serve-"
_LOCK = "lock"
_YOUNG_S = 60.0


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """Make a folder that only this user can open, and remove it at the end.

    What servers have left that were killed is removed first: the lock that each one holds ends
    with its process, however that ends.

    Raises:
        OutputError: The folder cannot be made.
    """
    place = Path(tempfile.gettempdir())
    sweep(place)
    try:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
    except OSError as error:
        raise OutputError(f"{place}: cannot be written: {error.strerror}") from error
    try:
        with hold_lock(folder / _LOCK):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep(place: Path) -> None:
    """Remove the folders of this user's servers that have ended.

    Args:
        place: Where the folders are.
    """
    for folder in place.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError, OutputError):
            status = folder.lstat()
            is_young = time.time() - status.st_mtime < _YOUNG_S  # its lock may be about to come
            has_lock = (folder / _LOCK).exists()
            if status.st_uid != os.getuid() or (is_young and not has_lock):
                continue
            with hold_lock(folder / _LOCK):
                shutil.rmtree(folder, ignore_errors=True)
