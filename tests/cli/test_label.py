"""The command `label`, as far as it goes without MONAI Label; the rest is in tests/label."""

from __future__ import annotations

import sys
from types import ModuleType

from monai_dental.cli import main


def test_folder_of_the_app_that_cannot_be_made_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "monailabel", ModuleType("monailabel"))
    (tmp_path / "data").touch()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))

    assert main(["label", "--studies", str(tmp_path), "--port", "0"]) == 2
    folder = tmp_path / "data" / "monai_dental" / "label"
    assert capsys.readouterr().err.startswith(f"error: {folder}: cannot make this output folder: ")
