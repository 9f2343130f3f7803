"""Which files count as input, and what is reported of the others."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from monai_dental.batch import InventorySource
from monai_dental.batch.record.status import group_reasons
from monai_dental.cli import main
from monai_dental.errors import DatasetError


@pytest.fixture
def unreadable(monkeypatch):
    """Make folders of this name unreadable, even for root, who runs tests in containers."""
    scandir, listdir = os.scandir, os.listdir

    def refuse(path: str | Path) -> None:
        if Path(path).name == "lost+found":
            raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", lambda path: refuse(path) or scandir(path))
    monkeypatch.setattr(os, "listdir", lambda path: refuse(path) or listdir(path))


def names(source: InventorySource) -> list[str]:
    return [each.name.as_posix() for each in source]


def test_folder_that_cannot_be_read_is_named(tmp_path, add_file, unreadable) -> None:
    add_file("a.dcm")
    add_file("lost+found/b.dcm")
    source = InventorySource(tmp_path / "in", tmp_path / "out")
    assert names(source) == ["a.dcm", "lost+found"]


def test_batch_goes_on_beside_a_folder_that_cannot_be_read(
    tmp_path, add_file, batch, rows, monkeypatch
) -> None:
    add_file("a.dcm")
    (tmp_path / "in" / "lost+found").mkdir()
    monkeypatch.setattr(
        InventorySource, "_is_excluded", lambda self, path: path.name == "lost+found" and note(self)
    )

    def note(source: InventorySource) -> bool:
        error = PermissionError(13, "Permission denied")
        error.filename = str(tmp_path / "in" / "lost+found")
        source._note(error)
        return True

    assert batch() == 1
    assert rows()["a.dcm"].outcome == "derived"
    assert rows()["lost+found"].outcome == "failed"
    assert "folder that could not be read" in rows()["lost+found"].reason


def test_input_that_cannot_be_read_itself_ends_the_run(tmp_path, add_file, unreadable) -> None:
    add_file("lost+found/a.dcm")
    with pytest.raises(DatasetError, match="cannot read this folder: Permission denied"):
        InventorySource(tmp_path / "in" / "lost+found", tmp_path / "out")


@pytest.mark.parametrize(
    ("patterns", "left"),
    [
        (["lost+found"], ["a.dcm", "b/a.dcm", "b/c.pdf"]),
        (["*.pdf"], ["a.dcm", "b/a.dcm", "lost+found/d.dcm"]),
        (["a.dcm", "lost*"], ["b/c.pdf"]),
        (["b/a.dcm"], ["a.dcm", "b/c.pdf", "lost+found/d.dcm"]),
        (["b/"], ["a.dcm", "lost+found/d.dcm"]),
        (["B"], ["a.dcm", "b/a.dcm", "b/c.pdf", "lost+found/d.dcm"]),
    ],
)
def test_excluded_names_are_passed_over(tmp_path, patterns, left) -> None:
    for name in ("a.dcm", "b/a.dcm", "b/c.pdf", "lost+found/d.dcm"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).touch()
    source = InventorySource(tmp_path / "in", tmp_path / "out", patterns=patterns)
    assert names(source) == left


def test_excluded_folder_need_not_be_readable(tmp_path, add_file, unreadable) -> None:
    add_file("a.dcm")
    add_file("lost+found/b.dcm")
    source = InventorySource(tmp_path / "in", tmp_path / "out", patterns=["lost+found"])
    assert names(source) == ["a.dcm"]


def test_links_to_folders_are_named_and_followed_on_request(
    tmp_path, add_file, batch, rows
) -> None:
    add_file("a.dcm")
    outside = tmp_path / "elsewhere"
    outside.mkdir()
    add_file("b.dcm").rename(outside / "b.dcm")
    (tmp_path / "in" / "link").symlink_to(outside)
    (tmp_path / "in" / "round").symlink_to(tmp_path / "in")

    assert batch() == 0
    assert {name: row.outcome for name, row in rows().items()} == {
        "a.dcm": "derived", "link": "skipped", "round": "skipped",
    }  # fmt: skip
    assert rows()["link"].reason == "a link to a folder; --follow-links follows it"
    source = InventorySource(tmp_path / "in", tmp_path / "out", is_following_links=True)
    assert names(source) == ["a.dcm", "link/b.dcm"]


def test_options_of_folders_are_none_of_a_pacs(tmp_path, capsys) -> None:
    command = ["batch", "dimse://A@localhost:1", "--output", str(tmp_path / "out")]
    assert main([*command, "--exclude", "x"]) == 2
    assert "--exclude and --follow-links need an input folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "outcome"),
    [("a.dcm", "failed"), ("A.DCM", "failed"), ("1.2.840.5", "failed"), ("readme", "skipped")],
)
@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "the file is empty"), (bytes(999), "the file begins with nothing but zeros")],
)
def test_empty_file_fails_where_its_name_is_that_of_dicom(
    tmp_path, batch, rows, name, outcome, content, reason
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_bytes(content)
    batch()
    assert rows()[name].outcome == outcome
    assert rows()[name].reason.startswith(reason if outcome == "failed" else "not a DICOM file")


def test_folder_that_holds_nothing_is_told_and_no_end_of_the_work(
    tmp_path, add_file, batch, rows, capsys
) -> None:
    """A share that is not mounted looks like an empty folder."""
    path = add_file("a.dcm")
    assert batch() == 0
    before = rows()
    path.unlink()
    assert batch() == 2
    assert "in: holds no file to look at; is it the right one?" in capsys.readouterr().err
    assert rows() == before


def test_file_in_the_place_of_the_folder_is_told(tmp_path, batch, capsys) -> None:
    (tmp_path / "in").touch()
    assert batch() == 2
    assert "in: a file; need a folder" in capsys.readouterr().err


def test_grey_in_three_channels_is_derived_with_a_note_and_colour_skipped(
    tmp_path, add_file, batch, rows, picture, capsys
) -> None:
    grey = np.dstack([picture(8)] * 3)
    colour = grey.copy()
    colour[0, 0, 0] ^= 1
    for name, pixels in (("grey.dcm", grey), ("colour.dcm", colour)):
        add_file(
            name, stored=picture(8), modality="PX", SamplesPerPixel=3, PlanarConfiguration=0,
            PhotometricInterpretation="RGB", PixelData=pixels.tobytes(),
        )  # fmt: skip

    assert batch("--dry-run") == 0
    assert "1 would be denoised, 1 skipped, 0 failed" in capsys.readouterr().out
    assert batch() == 0
    note = "three channels of RGB without colour, taken as grey"
    assert (rows()["grey.dcm"].outcome, rows()["grey.dcm"].reason) == ("derived", note)
    assert rows()["colour.dcm"].outcome == "skipped"
    assert rows()["colour.dcm"].reason == "colour; need greyscale"
    main(["batch-status", str(tmp_path / "out")])
    assert f"derived 1: {note}" in capsys.readouterr().out


def test_reasons_are_grouped_by_all_but_what_differs() -> None:
    assert group_reasons(
        [
            "Pixel Data has 10 bytes; need 99",
            "need MONOCHROME1 or MONOCHROME2",
            "Pixel Data has 12 bytes; need 99",
            "(0002,0010) Transfer Syntax UID is 1.2.840.113619.5.2; need native",
            "(0002,0010) Transfer Syntax UID is 1.2.840.113619.5.3; need native",
            "(0028,0100) Bits Allocated is 32; need 8 or 16",
            "unexpected TypeError at dicom/read.py:88",
            "unexpected TypeError at dicom/read.py:99",
        ]
    ) == [
        ("Pixel Data has N bytes; need 99", 2),
        ("need MONOCHROME1 or MONOCHROME2", 1),
        ("(0002,0010) Transfer Syntax UID is 1.2.840.113619.5.2; need native", 1),
        ("(0002,0010) Transfer Syntax UID is 1.2.840.113619.5.3; need native", 1),
        ("(0028,0100) Bits Allocated is 32; need 8 or 16", 1),
        ("unexpected TypeError at dicom/read.py:88", 1),
        ("unexpected TypeError at dicom/read.py:99", 1),
    ]
