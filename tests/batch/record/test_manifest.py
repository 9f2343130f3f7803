"""The rows of a manifest, one for each file."""

import os
from pathlib import Path

import pytest

from monai_dental.batch.record.manifest import Manifest

NAMES = [b"a\xff", b"a\\xff", b"a\\\xff", b"a\\\\xff", b"\xc3\xa9", b"\xe9", b"\\xe9", b"\\"]


@pytest.mark.parametrize("is_hashed", [False, True])
def test_each_file_name_has_a_row_of_its_own(tmp_path, is_hashed):
    manifest = Manifest(tmp_path, is_hashed=is_hashed, is_new=True)

    keys = [manifest.key(Path(os.fsdecode(name))) for name in NAMES]

    assert len(set(keys)) == len(NAMES)
    for key in keys:
        key.encode()  # SQLite takes nothing else
    manifest.close()


def test_name_that_is_text_is_its_own_key(tmp_path):
    manifest = Manifest(tmp_path, is_new=True)

    assert manifest.key(Path("sub", "é 1.dcm")) == "sub/é 1.dcm"
    manifest.close()
