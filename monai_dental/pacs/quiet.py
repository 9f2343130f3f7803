"""What a program does, once, before it talks to a PACS."""

from __future__ import annotations

import logging
import warnings


def quiet_libraries() -> None:
    """Keep elements of instances, which libraries quote, out of the logs of this whole process.

    pydicom's warnings and pynetdicom's lines quote values, patients' names among them; urllib3's
    tell of each retry with the query. For a program's entry alone: a library does not change its
    process.
    """
    warnings.filterwarnings("ignore", module=r"(pydicom|pynetdicom)\b")
    for name in ("pydicom", "pynetdicom", "urllib3.connectionpool"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        from pynetdicom import _config  # its documented place for settings
    except ImportError:
        return
    _config.LOG_HANDLER_LEVEL = "none"
    _config.LOG_REQUEST_IDENTIFIERS = _config.LOG_RESPONSE_IDENTIFIERS = False
