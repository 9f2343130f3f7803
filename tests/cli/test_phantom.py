"""The command `phantom`."""

from __future__ import annotations

from monai_dental.cli import main


def test_phantoms_are_written_and_counted(tmp_path, capsys):
    assert main(["phantom", "--count", "2", "--first", "7", "--output", str(tmp_path / "p")]) == 0

    assert sorted(p.name for p in (tmp_path / "p" / "clean").iterdir()) == ["7.png", "8.png"]
    assert capsys.readouterr().out.startswith("2 radiographs")
    assert main(["phantom", "--count", "2", "--output", str(tmp_path / "p")]) == 2
    assert "is not empty" in capsys.readouterr().err
