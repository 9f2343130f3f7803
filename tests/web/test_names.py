"""Names sent by a browser cannot lead to other paths."""

import pytest

from monai_dental.web.names import attachment, ending_on_disk, shown_name


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("scan.dcm", "scan.dcm"),
        ("folder/scan.dcm", "folder/scan.dcm"),
        ("../../etc/passwd", "etc/passwd"),
        ("/etc/passwd", "etc/passwd"),
        ("C:\\x\\scan.png", "C_/x/scan.png"),
        ("a\nb\x00.png", "a_b_.png"),
        ("", "image"),
        ("../..", "image"),
        ("Zähne.png", "Zähne.png"),
    ],
)
def test_shown_name_is_a_path_below(sent, shown):
    assert shown_name(sent) == shown


@pytest.mark.parametrize(
    ("name", "ending"),
    [
        ("a.PNG", ".png"), ("a.nii.gz", ".nii.gz"), ("a.exe", ".unknown"),
        ("1.2.840.1", ""), ("old.folder/IM0001", ""),
    ],
)  # fmt: skip
def test_only_known_endings_reach_the_disk(name, ending):
    assert ending_on_disk(name) == ending


def test_attachment_keeps_letters_and_cannot_be_broken_out_of():
    header = attachment('Zähne"; x=y\r\nSet-Cookie: a.png')

    assert "\r" not in header
    assert header.count('"') == 2
    assert "filename*=UTF-8''Z%C3%A4hne" in header
    header.encode("latin-1")
