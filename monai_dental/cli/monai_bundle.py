"""Start and end of `python -m monai.bundle run` for the bundles of this package."""

from __future__ import annotations

import sys
import threading
from multiprocessing.dummy import DummyProcess
from pathlib import Path
from types import TracebackType

from monai_dental.bundle.overrides import check_overrides, is_true
from monai_dental.errors import MissingPackageError, opencv_needed, plain_cause
from monai_dental.files.outputs import prepare_output_folder

# `is_true`: bundles of version 0.1 import it from here.
__all__ = ["check_command_line", "is_true", "prepare_results"]

_PATIENCE_S = 60.0


def check_command_line() -> None:
    """Check the command line of `python -m monai.bundle run`, and report its errors plainly.

    A bundle calls this first (`initialize`). An error of this package then ends the run with its
    message alone, without a traceback. Other errors show their traceback, and their first cause as
    the last line. Under any other program, this does nothing.

    Raises:
        BundleError: An override does not fit the config; see `check_overrides`.
    """
    if _is_program():
        sys.excepthook = _show_plainly
        check_overrides(sys.argv[1:])


def _is_program() -> bool:
    return Path(sys.argv[0]).parts[-3:] == ("monai", "bundle", "__main__.py")


def _require_opencv() -> None:
    """End the program with one line if OpenCV is missing, before MONAI imports it."""
    try:
        import cv2  # noqa: F401
    except ModuleNotFoundError as error:
        if _is_program():
            raise SystemExit(f"error: {opencv_needed()}") from error
        raise MissingPackageError(opencv_needed()) from error


def prepare_results(folder: str, overwrite: bool | str) -> None:
    """Prepare the folder for the results of an inference; see `prepare_output_folder`.

    With `--tracking`, MONAI writes its config there before it runs anything of the bundle.

    Args:
        folder: The folder.
        overwrite: True or False; or "true" or "false", as on the command line.

    Raises:
        OutputError: See `prepare_output_folder`.
        BundleError: `overwrite` is not a flag.
    """
    prepare_output_folder(folder, overwrite=is_true(overwrite), passed_over="config_*.json")


def _show_plainly(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    _join_loaders()
    if issubclass(kind, KeyboardInterrupt):  # Python then ends by SIGINT: 130 in a shell
        sys.stderr.write("interrupted; all files written so far are complete\n")
        return
    cause: BaseException | None = plain_cause(error)
    if cause is None:
        sys.__excepthook__(kind, error, traceback)
        cause = _first_cause(error)
    sys.stderr.write(f"error: {cause}\n" if str(cause) else f"error: {type(cause).__name__}\n")


def _join_loaders() -> None:
    """Wait for the threads of MONAI's `CacheDataset`, which leaves them running after an error.

    The process aborts if Python exits while one of them runs C++ code of torch or OpenCV. They
    take no further images, and only finish their current one.
    """
    for thread in threading.enumerate():
        if isinstance(thread, DummyProcess):
            thread.join(_PATIENCE_S)


def _first_cause(error: BaseException) -> BaseException:
    """Return the first cause: for most errors, MONAI reports only the expression they were in."""
    while (earlier := error.__cause__) is not None:
        error = earlier
    return error


_require_opencv()  # a config imports this module first, and its others before it calls anything
