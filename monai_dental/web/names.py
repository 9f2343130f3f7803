"""Names sent by a browser: for display and for files in a ZIP, never for the disk."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

from monai_dental.formats.registry import is_supported_name, suffix_of
from monai_dental.process.terminal import printable

_LONGEST = 200
_UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"|?*]')


def shown_name(sent: str) -> str:
    """Return a name for display on the page and for a ZIP.

    Args:
        sent: The file's name as sent by the browser, for example its path in a dropped folder.

    Returns:
        A relative path with slashes, without "..", control characters, or characters that a file
        system cannot store.
    """
    parts = [_UNSAFE.sub("_", part).strip() for part in sent.replace("\\", "/").split("/")]
    parts = [part[-_LONGEST:] for part in parts if part.strip(". ")]
    return printable("/".join(parts[-8:])) or "image"


def ending_on_disk(name: str) -> str:
    """Return the extension for an upload: a known one, "" for none or a UID, or ".unknown".

    With ".unknown", the error for a text file says that it is not an image, instead of that it is
    not DICOM.
    """
    if suffix := suffix_of(name.lower()):
        return suffix
    return "" if is_supported_name(Path(name)) else ".unknown"


def attachment(name: str) -> str:
    """Return the Content-Disposition of a download (RFC 6266); its name may have any characters."""
    file = Path(name).name
    plain = re.sub(r"[^\w.-]", "_", file, flags=re.A)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(file, safe='')}"
