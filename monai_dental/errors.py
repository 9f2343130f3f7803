"""The exceptions that callers can tell apart.

A caller's mistake in code is a `ValueError` or `TypeError`; what the world does wrong (a broken
file, a missing bundle, a full disk) is a subclass of `MonaiDentalError`. Errors hold only their
message, so that they survive pickling in data-loading workers, and never a patient's name, ID or
birth date.
"""

from __future__ import annotations

import traceback
from pathlib import Path

_PACKAGE = Path(__file__).parent


class MonaiDentalError(Exception):
    """Base of every error that this package raises for a condition outside the program."""


class UnsupportedImageError(MonaiDentalError):
    """The file is not a grayscale image in a format that this package reads."""


class ColourImageError(UnsupportedImageError):
    """The image has colours; only its pixels tell that it is not grey in three channels."""


class CorruptImageError(MonaiDentalError):
    """The file is in a known format, but broken: truncated, undecodable or inconsistent."""


class DatasetError(MonaiDentalError):
    """A folder of images does not exist, is empty, or cannot be split as asked."""


class OutputError(MonaiDentalError):
    """The output folder or file cannot be written, or holds something already."""


class BundleError(MonaiDentalError):
    """A bundle is missing, incomplete, without weights, or does not know an override."""


class RulesError(MonaiDentalError):
    """The rules of selection cannot be read."""


class WorkerError(MonaiDentalError):
    """Worker processes cannot be started, or one ended while it worked."""


class PacsError(MonaiDentalError):
    """A PACS does not answer, answers wrongly, or refuses an instance."""


class PacsUnavailableError(PacsError, OutputError):
    """A PACS cannot be reached, lets us in no more, or has no room: nothing goes on with it."""


class AddressError(MonaiDentalError):
    """The address of a PACS is none, or asks for what there is not."""


class ServerError(MonaiDentalError):
    """A server cannot start."""


class MissingPackageError(MonaiDentalError):
    """A package that only an extra of this package installs is not there."""


class TuningError(MonaiDentalError):
    """The best parameter of a method lies at an end of all that were tried."""


def extra_needed(extra: str) -> str:
    """Return how to get the packages of an extra, wherever this package was installed from."""
    return f"install monai-dental with its extra '{extra}'; README.md says how"


def unforeseen(error: BaseException) -> str:
    """Return what may be told of an error that nobody expected: its text could quote patient data.

    Args:
        error: An error that was raised in this process; pickled ones have lost their place.

    Returns:
        Its kind, and the last line of this package that it passed: "unforeseen TypeError at
        denoiser.py:88".
    """
    places = [
        f" at {path.relative_to(_PACKAGE).as_posix()}:{line}"
        for frame, line in traceback.walk_tb(error.__traceback__)
        if (path := Path(frame.f_code.co_filename)).is_relative_to(_PACKAGE)
    ]
    return f"unforeseen {type(error).__name__}{places[-1] if places else ''}"


def plain_cause(error: BaseException | None) -> MonaiDentalError | None:
    """Return the error of this package behind one that MONAI raised from it, if there is one."""
    while error is not None and not isinstance(error, MonaiDentalError):
        error = error.__cause__
    return error
