"""The folder that results go to."""

import pytest

from monai_dental.errors import OutputError
from monai_dental.outputs import prepare_output_folder


def test_folder_and_its_parents_are_made(tmp_path):
    prepare_output_folder(tmp_path / "a" / "b")

    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_nothing_is_mixed_with_what_is_there(tmp_path):
    (tmp_path / "1.png").touch()

    with pytest.raises(OutputError, match="the output folder is not empty"):
        prepare_output_folder(tmp_path)
    prepare_output_folder(tmp_path, overwrite=True)

    assert [path.name for path in tmp_path.iterdir()] == ["1.png"]


@pytest.mark.parametrize(("folder", "verb"), [("/proc", "write into"), ("/proc/new", "make")])
def test_folder_that_cannot_be_written_is_named(folder, verb):
    with pytest.raises(OutputError, match=f"{folder}: cannot {verb} this output folder"):
        prepare_output_folder(folder, overwrite=True)
