"""Names that come from a browser: for showing, and for files in a ZIP, never for the disk."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

from monai_dental.formats.registry import SUFFIXES
from monai_dental.process.terminal import printable

_LONGEST = 200
_UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"|?*]')


def shown_name(sent: str) -> str:
    """Return a name as the page shows it and a ZIP holds it.

    Args:
        sent: What the browser calls a file, its path in a dropped folder for instance.

    Returns:
        A relative path with slashes, without "..", control characters, or what a file system
        cannot hold.
    """
    parts = [_UNSAFE.sub("_", part).strip() for part in sent.replace("\\", "/").split("/")]
    parts = [part[-_LONGEST:] for part in parts if part.strip(". ")]
    return printable("/".join(parts[-8:])) or "image"


def suffix_of(name: str) -> str:
    """Return the ending by which formats are known; "" for none, as DICOM files may have."""
    lower = name.lower()
    return next((each for each in sorted(SUFFIXES, key=len)[::-1] if lower.endswith(each)), "")


def attachment(name: str) -> str:
    """Return the Content-Disposition of a download (RFC 6266), any letters in its name."""
    file = Path(name).name
    plain = re.sub(r"[^\w.-]", "_", file, flags=re.A)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(file, safe='')}"
