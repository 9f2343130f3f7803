"""The command `scores`."""

from __future__ import annotations

from monai_dental.cli import main


def test_scores_of_a_folder_without_any_are_an_error(tmp_path, capsys):
    assert main(["scores", str(tmp_path)]) == 2
    assert "no scores here" in capsys.readouterr().err
