"""A batch's results beside their sources, as the report shows them."""

from __future__ import annotations

import pytest

from monai_dental.batch import BatchResults
from monai_dental.cli import main
from monai_dental.errors import DatasetError
from monai_dental.report import write_report


@pytest.fixture
def sources(add_file, tmp_path):
    add_file("sub/a")
    add_file("b.dcm")
    add_file("chest.dcm", modality="CR", BodyPartExamined="CHEST", AnatomicRegionSequence=None)
    (tmp_path / "in" / "notes.txt").write_text("junk")


@pytest.mark.parametrize("options", [(), ("--hash-paths",)])
def test_report_shows_what_was_denoised(sources, batch, tmp_path, options) -> None:
    assert batch(*options) == 0
    (tmp_path / "pages").mkdir()

    results = BatchResults(tmp_path / "out", tmp_path / "in")
    entries = list(
        write_report(
            list(results), tmp_path / "out", tmp_path / "pages", hash_paths=results.is_hashed
        )
    )

    assert [entry.reason for entry in entries] == [None, None]
    page = (tmp_path / "pages" / "index.html").read_text()
    assert results.is_hashed == bool(options)
    assert ("sub/a" in page) != results.is_hashed


def test_input_folder_is_remembered(sources, batch, tmp_path) -> None:
    assert batch() == 0
    names = [instance.name.as_posix() for instance in BatchResults(tmp_path / "out")]
    assert names == ["b.dcm", "sub/a"]
    (tmp_path / "in").rename(tmp_path / "moved")
    with pytest.raises(DatasetError, match="in: no such folder"):
        BatchResults(tmp_path / "out")
    assert len(BatchResults(tmp_path / "out", tmp_path / "moved")) == 2


def test_input_folder_of_secret_paths_is_not_remembered(sources, batch, tmp_path) -> None:
    assert batch("--hash-paths") == 0
    for path in (tmp_path / "out").glob("manifest.sqlite*"):
        assert str(tmp_path / "in").encode() not in path.read_bytes()
    with pytest.raises(DatasetError, match="does not name its input folder; give that folder too"):
        BatchResults(tmp_path / "out")


def test_folder_of_other_files_has_no_results(sources, batch, tmp_path) -> None:
    assert batch() == 0
    (tmp_path / "other").mkdir()
    with pytest.raises(DatasetError, match="nothing in .*other was denoised into this folder"):
        BatchResults(tmp_path / "out", tmp_path / "other")


@pytest.mark.parametrize("options", [(), ("--hash-paths",)])
def test_report_command_takes_the_output_folder_of_a_batch(sources, batch, tmp_path, options):
    assert batch(*options) == 0
    inputs = [str(tmp_path / "in")] if options else []  # a manifest of digests does not tell it

    assert main(["report", *inputs, str(tmp_path / "out")]) == 0

    page = tmp_path / "out" / "report" / "index.html"
    assert ("sub/a" in page.read_text()) == (not options)
    assert batch(*options) == 0  # the pages are nothing to the next run
    assert page.is_file()


def test_report_command_wants_the_originals_of_other_folders(tmp_path, capsys):
    (tmp_path / "denoised").mkdir()

    assert main(["report", str(tmp_path / "denoised")]) == 2
    assert "is not the output of a batch; name the originals before it" in capsys.readouterr().err
