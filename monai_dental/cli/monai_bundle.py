"""How `python -m monai.bundle run` begins and ends with a bundle of this package."""

from __future__ import annotations

import sys
from pathlib import Path
from types import TracebackType

from monai_dental.bundle.overrides import check_overrides, is_true
from monai_dental.errors import plain_cause

__all__ = ["check_command_line", "is_true"]  # where bundles of version 0.1 look for both


def check_command_line() -> None:
    """Check the command line of `python -m monai.bundle run`, and end it plainly where it fails.

    A bundle calls this first (`initialize`): it is the entry of that program. Errors of this
    package then end the run with their message as the last line, not above a page of traceback; of
    other errors the last line is what they began with. Under another program nothing is done.

    Raises:
        BundleError: An override does not fit the config; see `check_overrides`.
    """
    if Path(sys.argv[0]).parts[-3:] == ("monai", "bundle", "__main__.py"):
        sys.excepthook = _show_plainly
        check_overrides(sys.argv[1:])


def _show_plainly(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):  # Python then ends by SIGINT: 130 in a shell
        sys.stderr.write("interrupted; what is written is complete\n")
        return
    cause: BaseException | None = plain_cause(error)
    if cause is None:
        sys.__excepthook__(kind, error, traceback)
        cause = _first_cause(error)
    sys.stderr.write(f"error: {cause}\n" if str(cause) else f"error: {type(cause).__name__}\n")


def _first_cause(error: BaseException) -> BaseException:
    """Return what all began with: MONAI says of most errors only which expression they were in."""
    while (earlier := error.__cause__) is not None:
        error = earlier
    return error
