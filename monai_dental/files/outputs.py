"""Output folders."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from monai_dental.errors import OutputError


def prepare_output_folder(
    folder: Path | str, *, overwrite: bool = False, passed_over: str | None = None
) -> None:
    """Make a folder for results, or check that it is empty and can be written.

    Args:
        folder: The folder; it and its parents are created if they are missing.
        overwrite: Whether it need not be empty.
        passed_over: A pattern of file names to ignore in it.

    Raises:
        OutputError: The folder is not empty and `overwrite` is false, or it cannot be made or
            written.
    """
    folder = Path(str(folder))  # the command line converts 2024 to a number
    try:
        folder.mkdir(parents=True, exist_ok=True)
        others = (
            path for path in folder.iterdir() if not passed_over or not path.match(passed_over)
        )
        is_empty = next(others, None) is None
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
    """Prepare a folder for results; remove the folders created for it if it stays empty.

    Arguments and errors are those of `prepare_output_folder`.
    """
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        prepare_output_folder(folder, overwrite=overwrite)
        yield
    finally:
        with contextlib.suppress(OSError):
            for place in made:
                place.rmdir()
