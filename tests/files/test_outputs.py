"""The folder that results go to."""

import pytest

from monai_dental.errors import OutputError
from monai_dental.files.outputs import output_folder, prepare_output_folder


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


def test_folders_that_nothing_went_into_are_removed_again(tmp_path):
    with output_folder(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b").is_dir()

    assert list(tmp_path.iterdir()) == []


def test_folder_that_was_there_or_holds_something_stays(tmp_path):
    with output_folder(tmp_path):
        pass
    with output_folder(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b" / "1.png").touch()

    assert (tmp_path / "a" / "b" / "1.png").is_file()
