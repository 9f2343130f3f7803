"""The form of UIDs, and this package's implementation UID and name (PS3.7 D.3.3.2)."""

import re

from pydicom.uid import UID

import monai_dental

IMPLEMENTATION_CLASS_UID = UID("2.25.302043790172249692526321623266752743501")
IMPLEMENTATION_VERSION_NAME = f"MONAIDENTAL{monai_dental.__version__}"[:16]

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")


def is_uid(text: str) -> bool:
    """Return whether a text has the form of a UID: at most 64 digits and single dots."""
    return len(text) <= 64 and _UID.fullmatch(text) is not None
