"""The command `report`."""

from __future__ import annotations

import pytest

from monai_dental.cli import main


def report(*arguments):
    return main(["report", *map(str, arguments)])


@pytest.fixture
def noisy_and_denoised(png, tmp_path):
    """A folder of two originals, one of them broken, and the folder of their denoised results."""
    (tmp_path / "noisy").mkdir()
    (tmp_path / "noisy" / "1.png").write_bytes(png.read_bytes())
    (tmp_path / "noisy" / "2.png").write_text("not an image")
    assert main(["denoise", str(tmp_path / "noisy"), "--output", str(tmp_path / "denoised")]) == 1
    return tmp_path / "noisy", tmp_path / "denoised"


def test_report_shows_what_denoise_made_and_what_it_could_not(noisy_and_denoised, tmp_path, capsys):
    assert report(*noisy_and_denoised, "--output", tmp_path / "r", "--page-size", 1) == 1

    lines = capsys.readouterr().out.splitlines()
    assert lines[-2].endswith("2.png: original: not a PNG file, although its name says so")
    assert lines[-1] == f"1 compared, 1 failed: {tmp_path}/r/index.html"
    assert sorted(p.name for p in (tmp_path / "r").iterdir()) == ["index.html", "page-2.html"]


def test_report_goes_beside_the_results_unless_told_otherwise(noisy_and_denoised):
    noisy, denoised = noisy_and_denoised

    assert report(noisy / "1.png", denoised) == 0

    assert (denoised / "report" / "index.html").is_file()


def test_report_of_a_file_with_its_reference_and_a_digest(noisy_and_denoised, tmp_path, capsys):
    noisy, denoised = noisy_and_denoised
    options = ["--output", tmp_path / "r", "--reference", noisy, "--hash-paths"]

    assert report(noisy / "1.png", denoised, *options) == 0

    page = (tmp_path / "r" / "index.html").read_text()
    assert "PSNR, dB (data range 1)" in page
    assert "1.png" not in page


def test_report_without_a_promised_reference_says_so(noisy_and_denoised, tmp_path, capsys):
    noisy, denoised = noisy_and_denoised
    options = ["--output", tmp_path / "r", "--reference", tmp_path / "empty", "--sample", 1]
    (tmp_path / "empty").mkdir()

    assert report(noisy, denoised, *options) == 1

    assert "1 without a usable reference" in capsys.readouterr().out
    assert "1 image, an even sample of 2" in (tmp_path / "r" / "index.html").read_text()


def test_report_on_wrong_usage_writes_nothing(noisy_and_denoised, tmp_path, capsys):
    noisy, denoised = noisy_and_denoised

    assert report(noisy, tmp_path / "nowhere", "--output", tmp_path / "r") == 2
    assert "nowhere: no such folder" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()
    assert report(noisy, denoised, "--output", denoised) == 2
    assert "is not empty" in capsys.readouterr().err
