"""The exceptions that callers can tell apart.

A caller's mistake in code is a `ValueError` or `TypeError`; what the world does wrong (a broken
file, a missing bundle, a full disk) is a subclass of `MonaiDentalError`. Errors hold only their
message, so that they survive pickling in data-loading workers, and never a patient's name, ID or
birth date.
"""

from __future__ import annotations


class MonaiDentalError(Exception):
    """Base of every error that this package raises for a condition outside the program."""


class UnsupportedImageError(MonaiDentalError):
    """The file is not a grayscale image in a format that this package reads."""


class CorruptImageError(MonaiDentalError):
    """The file is in a known format, but broken: truncated, undecodable or inconsistent."""


class DatasetError(MonaiDentalError):
    """A folder of images does not exist, is empty, or cannot be split as asked."""


class OutputError(MonaiDentalError):
    """The output folder or file cannot be written, or holds something already."""


class BundleError(MonaiDentalError):
    """A bundle is missing, incomplete, without weights, or does not know an override."""
