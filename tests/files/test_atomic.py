"""Files that are written completely or not at all."""

import os
import subprocess
import sys

import pytest

from monai_dental.errors import OutputError
from monai_dental.files.atomic import open_atomically, write_atomically


def test_file_is_replaced_only_when_all_is_written(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"old")

    with open_atomically(path) as stream:
        stream.write(b"new")
        stream.flush()
        assert path.read_bytes() == b"old"

    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, ValueError])
def test_exception_removes_the_temporary_file(tmp_path, kind):
    writing = open_atomically(tmp_path / "a")
    writing.__enter__().write(b"half")
    assert len(list(tmp_path.iterdir())) == 1

    assert not writing.__exit__(kind, kind(), None)

    assert list(tmp_path.iterdir()) == []


def test_file_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(OutputError, match=r"none/a: cannot be written: No such file"):
        write_atomically(tmp_path / "none" / "a", b"new")


def test_what_a_kill_left_is_replaced_by_the_next_writing(tmp_path):
    code = (
        "import os, pathlib, sys; from monai_dental.files.atomic import open_atomically\n"
        "with open_atomically(pathlib.Path(sys.argv[1])) as stream: os.kill(os.getpid(), 9)"
    )
    for _ in range(2):
        subprocess.run([sys.executable, "-c", code, tmp_path / "a"], check=False)
        assert len(list(tmp_path.iterdir())) == 1

    write_atomically(tmp_path / "a", b"new")

    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_second_writer_of_a_file_never_makes_it_half(tmp_path):
    path = tmp_path / "a"
    first, second = open_atomically(path), open_atomically(path)
    first.__enter__().write(b"first")
    second.__enter__().write(b"half of the sec")

    with pytest.raises(OutputError, match="a: cannot be written: another process writes it"):
        first.__exit__(None, None, None)

    assert not path.exists()


def test_name_may_be_as_long_as_a_name_can_be(tmp_path):
    write_atomically(tmp_path / ("a" * os.pathconf(tmp_path, "PC_NAME_MAX")), b"new")
