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
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydicom import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError

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
"""What pydicom was seen to raise on broken files, and what its parsing can raise beside that."""

_LOCK = threading.RLock()
_UID = re.compile(r"[0-9.]{1,64}")


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Keep pydicom's warnings and log lines in while elements are read, converted or written.

    One thread at a time, decoding included: Python's warning filters belong to the whole process.
    Work in parallel takes processes.
    """
    logger = logging.getLogger("pydicom")
    with _LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.addFilter(_drop)
        try:
            yield
        finally:
            logger.removeFilter(_drop)


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
