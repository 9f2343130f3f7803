"""The folder for a server's uploads and results, removed when the server ends."""

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
    """Create a folder that only this user can open, and remove it at the end.

    Folders left by killed servers are removed first. Each server holds a lock on its folder, which
    is released however its process ends.

    Raises:
        OutputError: The folder cannot be created.
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
    """Remove the folders of this user's ended servers.

    Args:
        place: Parent folder of the folders.
    """
    for folder in place.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError, OutputError):
            status = folder.lstat()
            # On Windows, each user has a separate folder for temporary files.
            is_own = not hasattr(os, "getuid") or status.st_uid == os.getuid()
            is_young = time.time() - status.st_mtime < _YOUNG_S  # its lock may not exist yet
            has_lock = (folder / _LOCK).exists()
            if not is_own or (is_young and not has_lock):
                continue
            with hold_lock(folder / _LOCK):
                shutil.rmtree(folder, ignore_errors=True)
            shutil.rmtree(folder, ignore_errors=True)  # Windows keeps a locked file
