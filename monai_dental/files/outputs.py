"""The folder that results go to."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from monai_dental.errors import OutputError


def prepare_output_folder(folder: Path | str, *, overwrite: bool = False) -> None:
    """Make a folder for results, or check that there is room for them.

    Args:
        folder: The folder; it and its parents are made where they are missing.
        overwrite: Whether it may hold something already.

    Raises:
        OutputError: The folder holds something and `overwrite` is false, cannot be made,
            or cannot be written to.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        is_empty = next(folder.iterdir(), None) is None
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or type(error).__name__
        verb = "write into" if folder.is_dir() else "make"
        raise OutputError(f"{folder}: cannot {verb} this output folder: {reason}") from error
    if not is_empty and not overwrite:
        raise OutputError(
            f"{folder}: the output folder is not empty; need an empty or new one, or the option to "
            "overwrite"
        )


@contextlib.contextmanager
def output_folder(folder: Path, *, overwrite: bool = False) -> Iterator[None]:
    """Prepare a folder for results, and remove again what was made of it if nothing went in.

    Args:
        folder: See `prepare_output_folder`.
        overwrite: See `prepare_output_folder`.

    Raises:
        OutputError: See `prepare_output_folder`.
    """
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        prepare_output_folder(folder, overwrite=overwrite)
        yield
    finally:
        with contextlib.suppress(OSError):
            for place in made:
                place.rmdir()
