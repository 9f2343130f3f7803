"""Using pydicom without a word of a patient reaching a log.

pydicom's warnings, log lines and exceptions quote element values, patients' names among them. Every
use of a dataset's elements stands inside `quiet_pydicom`, and of an exception only the class is
told. What is caught is raised again `from None`: a chained traceback would quote the values after
all.
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
"""What pydicom raises on broken files. Catch these around calls of pydicom alone; where code of
ours stands between them, use `parsing`, which tells its faults from pydicom's."""

VALUE_ERRORS: tuple[type[Exception], ...] = (TypeError, ValueError, OverflowError)
"""What `int` and `float` raise on a value that is no number."""

_PYDICOM, _PACKAGE = Path(pydicom.__file__).parent, Path(monai_dental.__file__).parent
_UID = re.compile(r"[0-9.]{1,64}")


class _Silence:
    """Holds pydicom's messages back while at least one thread is inside.

    Python's warning filters belong to the whole process: the first thread that enters adds one for
    pydicom's warnings, the last that leaves takes it away, and no thread waits for another.
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
    """Hold back pydicom's warnings and log lines while elements are read, converted or written."""
    _SILENCE.enter()
    try:
        yield
    finally:
        _SILENCE.leave()


@contextmanager
def parsing(dataset: Dataset, fault: str, source: Path | None = None) -> Iterator[None]:
    """Work with the elements of an instance: quietly, and with its name in every error.

    Args:
        dataset: The instance.
        fault: What an error of pydicom means: "broken DICOM".
        source: Its file.

    Raises:
        UnsupportedImageError: As it was raised inside, after the instance's name.
        CorruptImageError: Likewise, or pydicom failed over an element; of its error only the class
            is told. An error of any other code passes through: it is a fault of the program.
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
    """Whether pydicom raised an error, or called what raised it; not code of this package."""
    for frame, _ in reversed(list(traceback.walk_tb(error.__traceback__))):
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(_PYDICOM):
            return True
        if path.is_relative_to(_PACKAGE):
            return False
    return False


def instance_name(dataset: Dataset, source: Path | None = None) -> str:
    """How messages name an instance: by its UID, or by the file where the UID is none.

    Args:
        dataset: The instance; within `quiet_pydicom`.
        source: Its file.

    Returns:
        "instance 1.2.3", or "file PATH".
    """
    try:
        uid = str(dataset.get("SOPInstanceUID", ""))
    except PYDICOM_ERRORS:
        uid = ""
    # A broken file may hold anything here, a name among them.
    if _UID.fullmatch(uid):
        return f"instance {uid}"
    return "an instance without UID" if source is None else f"file {source}"


def _drop(record: logging.LogRecord) -> bool:
    return False
