import os

import pydicom
import pytest

from monai_dental.errors import PacsError
from monai_dental.label.series import keep_series


@pytest.fixture
def instances(dicom_file):
    """Two instances of one series."""
    return [pydicom.dcmread(dicom_file(f"{number}.dcm", SOPInstanceUID=f"1.2.{number}"))
            for number in (1, 2)]  # fmt: skip


def test_series_is_kept_by_uid(instances, tmp_path):
    folder = tmp_path / "cache" / "1.2"
    folder.parent.mkdir()

    keep_series(instances, folder)
    keep_series(instances, folder)  # another request

    assert sorted(path.name for path in folder.iterdir()) == ["1.2.1.dcm", "1.2.2.dcm"]
    assert list(folder.parent.iterdir()) == [folder]


@pytest.mark.parametrize("uid", ["../../x", "..", ".", "", "1..2", "/x"])
def test_uid_that_is_none_becomes_no_path(instances, uid, tmp_path):
    cache = tmp_path / "deep" / "cache"
    cache.mkdir(parents=True)
    instances[1].SOPInstanceUID = uid
    before = set(tmp_path.rglob("*"))

    with pytest.raises(PacsError, match="without a valid SOP Instance UID"):
        keep_series(instances, cache / "1.2")

    assert set(tmp_path.rglob("*")) == before


def test_folder_that_cannot_be_made_is_an_error(instances, tmp_path):
    file = tmp_path / "1.2"
    file.write_bytes(b"a file, not a folder")

    with pytest.raises(OSError, match=os.strerror(20)):
        keep_series(instances, file)

    assert file.read_bytes() == b"a file, not a folder"
