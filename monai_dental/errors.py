"""Exceptions of this package.

Programming errors of the caller are `ValueError` or `TypeError`; external errors (a broken file, a
missing bundle, a full disk) are subclasses of `MonaiDentalError`. Errors hold only their message,
so that they can be pickled in data-loading workers, and never a patient's name, ID or birth date.
"""

from __future__ import annotations

import traceback
from pathlib import Path

_PACKAGE = Path(__file__).parent


class MonaiDentalError(Exception):
    """Base class of all errors of this package for conditions outside the program."""


class UnsupportedImageError(MonaiDentalError):
    """The file is not a greyscale image in a supported format."""


class ColourImageError(UnsupportedImageError):
    """The image has colours: the pixels of its three channels are not grey."""


class CorruptImageError(MonaiDentalError):
    """The file is in a known format, but broken: truncated, undecodable or inconsistent."""


class DatasetError(MonaiDentalError):
    """A folder of images does not exist, is empty, or cannot be split as requested."""


class OutputError(MonaiDentalError):
    """The output folder or file cannot be written, or already has content."""


class BundleError(MonaiDentalError):
    """A bundle is missing, incomplete, without weights, or does not know an override."""


class RulesError(MonaiDentalError):
    """The selection rules cannot be read."""


class WorkerError(MonaiDentalError):
    """Worker processes cannot be started, or one ended while it worked."""


class PacsError(MonaiDentalError):
    """A PACS does not answer, answers wrongly, or refuses an instance."""


class PacsUnavailableError(PacsError, OutputError):
    """A PACS cannot be reached, denies access, or has no room: work with it cannot go on."""


class AddressError(MonaiDentalError):
    """The address of a PACS is malformed, or its query is not supported."""


class ServerError(MonaiDentalError):
    """A server cannot start."""


class MissingPackageError(MonaiDentalError):
    """A package from an extra of this package is not installed."""


class UnsupportedSystemError(MonaiDentalError):
    """The operating system lacks what a command needs."""


class TuningError(MonaiDentalError):
    """The best parameter of a method lies at an end of the range that was tried."""


def extra_needed(extra: str) -> str:
    """Return how to install an extra, wherever this package was installed from."""
    return f"install monai-dental with its extra '{extra}'; README.md says how"


def opencv_needed() -> str:
    """Return how to get OpenCV back: opencv-python and its headless twin own the same files."""
    return (
        "OpenCV (cv2) is not installed in this environment; run pip install --force-reinstall "
        "opencv-python-headless"
    )


def unexpected(error: BaseException) -> str:
    """Return a safe description of an unexpected error, whose own text could quote patient data.

    Args:
        error: An error that was raised in this process; pickled ones have lost their place.

    Returns:
        Its class, and the last line of this package in its traceback: "unexpected TypeError at
        denoiser.py:88".
    """
    places = [
        f" at {path.relative_to(_PACKAGE).as_posix()}:{line}"
        for frame, line in traceback.walk_tb(error.__traceback__)
        if (path := Path(frame.f_code.co_filename)).is_relative_to(_PACKAGE)
    ]
    return f"unexpected {type(error).__name__}{places[-1] if places else ''}"


def without_path(error: object, path: Path, name: str = "the file") -> str:
    """Return a message about a file without the file's path.

    Args:
        error: The error or its message.
        path: The file.
        name: Name of the file within the message.
    """
    text = str(error).removeprefix(f"file {path}: ").removeprefix(f"{path}: ")
    return text.replace(str(path), name)


def plain_cause(error: BaseException | None) -> MonaiDentalError | None:
    """Return the error of this package that caused an error of MONAI, or None."""
    while error is not None and not isinstance(error, MonaiDentalError):
        error = error.__cause__
    return error
