"""Logging set-up that a program makes once, before it talks to a PACS."""

from __future__ import annotations

import logging
import warnings


def quiet_libraries() -> None:
    """Keep patient data, which libraries quote, out of the logs of the whole process.

    pydicom's warnings and pynetdicom's log lines quote values, including patients' names; urllib3
    logs each retry with the query. Call this only at the start of a program: a library must not
    change its process.
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
