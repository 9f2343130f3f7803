"""The command `scores`."""

from __future__ import annotations

import pytest

from monai_dental.benchmark.scores import write_scores
from monai_dental.cli import main


def test_scores_of_a_folder_without_any_are_an_error(tmp_path, capsys):
    assert main(["scores", str(tmp_path)]) == 2
    assert "no scores here" in capsys.readouterr().err


FIELDS = "protocol,method,image,psnr,psnr_data_range,ssim,digest"


@pytest.mark.parametrize(
    "content",
    [
        b"noise,method\n1,2\n",
        f"{FIELDS}\nhonest,dae,1.png,high,1,0.8,\n".encode(),
        f"{FIELDS}\nhonest\n".encode(),
        b"\xff\xfe",
    ],
    ids=["other columns", "no number", "half a row", "no text"],
)
def test_file_that_holds_no_scores_is_named(tmp_path, capsys, content):
    path = tmp_path / "scores.csv"
    path.write_bytes(content)

    assert main(["scores", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith(f"error: {path}: ")


@pytest.mark.parametrize("output", ["file/scores.csv", "folder"])
def test_output_that_cannot_be_written_is_named(tmp_path, capsys, output):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    write_scores([], tmp_path / "scores.csv")

    assert main(["scores", str(tmp_path), "--output", str(tmp_path / output)]) == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / output.split('/')[0]}: cannot")
