"""Use of pydicom without patient data in logs.

pydicom's warnings, log lines and exceptions quote element values, including patients' names. All
code that uses the elements of a dataset runs inside `quiet_pydicom`, and only the class of an
exception is reported. Errors are raised again `from None`, because a chained traceback would quote
the values.
"""

from __future__ import annotations

import logging
import re
import struct
import threading
import traceback
import warnings
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pydicom
from pydicom import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError

import monai_dental
from monai_dental.errors import CorruptImageError, UnsupportedImageError

PYDICOM_ERRORS: tuple[type[Exception], ...] = (
    BytesLengthException,
    InvalidDicomError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
"""Errors that pydicom raises on broken files. Catch them only around calls of pydicom; if our own
code runs in between, use `parsing`, which distinguishes its errors from pydicom's."""

VALUE_ERRORS: tuple[type[Exception], ...] = (TypeError, ValueError, OverflowError)
"""Errors that `int` and `float` raise on a value that is not a number."""

_PYDICOM, _PACKAGE = Path(pydicom.__file__).parent, Path(monai_dental.__file__).parent
_UID = re.compile(r"[0-9.]{1,64}")


class _Silence:
    """Suppresses pydicom's messages while at least one thread is inside.

    Python's warning filters belong to the whole process: the first thread to enter adds one for
    pydicom's warnings, and the last to leave removes it. No thread waits for another.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._held = ExitStack()

    def enter(self) -> None:
        with self._lock:
            if not self._inside:
                logger = logging.getLogger("pydicom")
                self._held.enter_context(warnings.catch_warnings())
                warnings.filterwarnings("ignore", module=r"pydicom(\.|$)")
                logger.addFilter(_drop)
                self._held.callback(logger.removeFilter, _drop)
            self._inside += 1

    def leave(self) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._held.close()


_SILENCE = _Silence()


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Suppress pydicom's warnings and log lines while elements are read, converted or written."""
    _SILENCE.enter()
    try:
        yield
    finally:
        _SILENCE.leave()


@contextmanager
def parsing(dataset: Dataset, fault: str, source: Path | None = None) -> Iterator[None]:
    """Suppress pydicom's messages, and put the name of an instance in front of every error.

    Args:
        dataset: The instance.
        fault: Message for errors of pydicom, such as "broken DICOM".
        source: Its file.

    Raises:
        UnsupportedImageError: Raised inside; the instance's name is put before its message.
        CorruptImageError: Likewise, or pydicom failed on an element; only the class of its error is
            reported. Errors of any other code are program faults and pass through.
    """
    with quiet_pydicom():
        name = instance_name(dataset, source)
        try:
            yield
        except (CorruptImageError, UnsupportedImageError) as error:
            raise type(error)(f"{name}: {error}") from None
        except PYDICOM_ERRORS as error:
            if not is_from_pydicom(error):
                raise
            raise CorruptImageError(f"{name}: {fault}: {type(error).__name__}") from None


def is_from_pydicom(error: BaseException) -> bool:
    """Return whether an error came from pydicom or code called by it, not from this package."""
    for frame, _ in reversed(list(traceback.walk_tb(error.__traceback__))):
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(_PYDICOM):
            return True
        if path.is_relative_to(_PACKAGE):
            return False
    return False


def instance_name(dataset: Dataset, source: Path | None = None) -> str:
    """Return the name of an instance for messages: its UID, or its file if the UID is not valid.

    Args:
        dataset: The instance; within `quiet_pydicom`.
        source: Its file.

    Returns:
        "instance 1.2.3", "file PATH", or "an instance without UID" if there is no file.
    """
    try:
        uid = str(dataset.get("SOPInstanceUID", ""))
    except PYDICOM_ERRORS:
        uid = ""
    # A broken file may hold anything here, even a name.
    if _UID.fullmatch(uid):
        return f"instance {uid}"
    return "an instance without UID" if source is None else f"file {source}"


def _drop(record: logging.LogRecord) -> bool:
    return False
