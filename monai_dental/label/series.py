"""Keep a series that was fetched from a PACS as files."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from pydicom import Dataset

from monai_dental.dicom.identity import is_uid
from monai_dental.dicom.quiet import quiet_pydicom
from monai_dental.errors import PacsError


def keep_series(instances: Sequence[Dataset], folder: Path) -> None:
    """Write the instances of a series to a folder, which appears only when complete.

    If another request was faster, its folder stays.

    Args:
        instances: The instances, as the PACS sent them.
        folder: The folder; its parent exists.

    Raises:
        PacsError: An instance has no SOP Instance UID of the form that DICOM requires.
        OSError: They cannot be written.
    """
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".fetch-") as temporary:
        fetched = Path(temporary, "series")
        fetched.mkdir()
        for instance in instances:
            uid = str(instance.get("SOPInstanceUID", ""))
            if not is_uid(uid):  # it becomes a file name
                raise PacsError("the PACS sent an instance without a valid SOP Instance UID")
            with quiet_pydicom():
                instance.save_as(fetched / f"{uid}.dcm", enforce_file_format=True)
        try:
            fetched.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
