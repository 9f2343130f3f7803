"""The command `benchmark`; what it measures is tested in tests/benchmark."""

from __future__ import annotations

import csv
import sys

import cv2
import numpy as np
import pytest

from monai_dental.benchmark import accuracy, references
from monai_dental.benchmark.noises import Noise
from monai_dental.cli import main
from monai_dental.phantom import simulate_exposure


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "clean"
    folder.mkdir()
    for index in range(1, 6):
        clean = simulate_exposure(index, size=(96, 96), bits_stored=16).clean
        cv2.imwrite(str(folder / f"{index}.png"), clean.astype(np.uint16))
    return folder


def test_scores_tables_and_report_are_written(images, tmp_path, capsys, monkeypatch):
    # Read by this process only: the others are given what to do, and do nothing else.
    monkeypatch.setattr(references, "NOISES", (Noise(0.05),))
    monkeypatch.setattr(accuracy, "PEERS", {"median": accuracy.PEERS["median"]})
    output = tmp_path / "out"

    code = main(
        ["benchmark", str(images), "--output", str(output), "--bundle", "unet", "--jobs", "1"]
    )

    assert code == 0
    printed = capsys.readouterr().out
    assert "| PSNR dB, data range 1 | white 0.05 |" in printed
    with (output / "scores.csv").open() as file:
        methods = {row["method"] for row in csv.DictReader(file)}
    assert methods == {"noisy", "unet", "unet, strength tuned", "median"}
    assert "white 0.05.png" in (output / "report" / "index.html").read_text()
    assert "| PSNR dB minus that of unet | white 0.05 |" in printed
    with (output / "differences.csv").open() as file:
        differences = list(csv.DictReader(file))
    assert {row["method"] for row in differences} == {"noisy", "unet, strength tuned", "median"}
    assert {row["metric"] for row in differences} == {"psnr", "ssim"}
    for row in differences:  # of one image
        assert float(row["low"]) == pytest.approx(float(row["mean"]))
        assert float(row["high"]) == pytest.approx(float(row["mean"]))


def test_output_among_the_images_is_none_of_them(images, capsys, monkeypatch):
    monkeypatch.setattr(references, "NOISES", (Noise(0.05),))
    monkeypatch.setattr(accuracy, "PEERS", {"median": accuracy.PEERS["median"]})
    command = ["benchmark", str(images), "--output", str(images / "out"), "--bundle", "unet"]

    assert main(command) == 0
    printed = capsys.readouterr().out
    assert main(command) == 0
    assert capsys.readouterr().out == printed


@pytest.mark.parametrize(
    "option",
    [
        ["folder"], ["--output", "out"], ["--seed", "1"], ["--count", "5"],
        ["--references", "phantoms"], ["--program", "peer=true"],
    ],
)  # fmt: skip
def test_speed_refuses_what_it_has_no_use_for(option, capsys):
    assert main(["benchmark", "--speed", *option]) == 2
    assert "--speed takes --bundle, --without and --jobs alone" in capsys.readouterr().err


@pytest.mark.parametrize("is_speed", [False, True])
def test_missing_package_is_told_before_anything_is_measured(
    is_speed, images, tmp_path, capsys, monkeypatch
):
    monkeypatch.setitem(sys.modules, "bm3d", None)
    for function in ("accuracy.measure_accuracy", "speed.measure_speed"):
        monkeypatch.setattr(f"monai_dental.benchmark.{function}", None)
    scoring = [str(images), "--output", str(tmp_path / "out")]

    assert main(["benchmark", *(["--speed"] if is_speed else scoring)]) == 2
    assert "error: bm3d needs the package bm3d" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_filter_that_may_not_be_installed_can_be_left_out(images, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "bm3d", None)
    peers = {name: accuracy.PEERS[name] for name in ("median", "bm3d")}
    monkeypatch.setattr(references, "NOISES", (Noise(0.05),))
    monkeypatch.setattr(accuracy, "PEERS", peers)
    options = ["--output", str(tmp_path / "out"), "--bundle", "unet", "--jobs", "1"]

    assert main(["benchmark", str(images), *options, "--without", "bm3d"]) == 0
    assert "| median |" in capsys.readouterr().out


def test_set_is_made_of_the_images_and_gets_weak_noise(images, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(references, "NOISES", ())
    monkeypatch.setattr(references, "WEAK_NOISES", (Noise(0.01),))
    monkeypatch.setattr(accuracy, "PEERS", {"median": accuracy.PEERS["median"]})
    output = tmp_path / "out"
    options = ["--references", "half", "--bundle", "dae", "--jobs", "1"]

    assert main(["benchmark", str(images), "--output", str(output), *options]) == 0

    assert "| PSNR dB, data range 1 | white 0.01 |" in capsys.readouterr().out
    made = sorted((output / "references").iterdir())
    assert [path.name for path in made] == [f"{index}.png" for index in range(1, 6)]
    assert cv2.imread(str(made[0]), -1).shape == (48, 48)


def test_set_that_is_none_is_refused(images, tmp_path, capsys):
    options = ["--output", str(tmp_path / "out"), "--references", "quarter"]

    assert main(["benchmark", str(images), *options]) == 2
    assert "--references quarter: no such set; need images, half" in capsys.readouterr().err


def test_phantoms_take_no_folder(images, tmp_path, capsys):
    options = ["--output", str(tmp_path / "out"), "--references", "phantoms"]

    assert main(["benchmark", str(images), *options]) == 2
    assert "--references phantoms and --output alone" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("learned", "--program 'learned' is not a program; need NAME=COMMAND"),
        ("median=true", "--program median: a filter has this name; need another"),
        ("learned=no-such-program", "learned: no-such-program cannot be started"),
    ],
)
def test_program_that_cannot_run_is_told_first(program, said, images, tmp_path, capsys):
    options = ["--output", str(tmp_path / "out"), "--program", program]

    assert main(["benchmark", str(images), *options]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_filter_that_is_none_cannot_be_left_out(images, tmp_path, capsys):
    options = ["--output", str(tmp_path / "out"), "--without", "bmw"]

    assert main(["benchmark", str(images), *options]) == 2
    assert "error: --without bmw: no such filter; need median, gaussian" in capsys.readouterr().err


def test_speed_of_all_bundles_is_measured(capsys, monkeypatch):
    asked = {}
    monkeypatch.setattr(
        "monai_dental.benchmark.speed.measure_speed",
        lambda bundles, **options: asked.update(options, bundles=bundles) or [],
    )
    monkeypatch.setattr("monai_dental.benchmark.peers.require_packages", list)

    assert main(["benchmark", "--speed", "--without", "fast_non_local_means"]) == 0

    assert asked["bundles"] == ["blind", "dae", "unet"]
    assert asked["peers"] == list(accuracy.PEERS)


@pytest.mark.parametrize("missing", [["--output", "out"], ["folder"], []])
def test_images_and_output_are_needed(missing, capsys):
    assert main(["benchmark", *missing]) == 2
    assert "need a folder of clean images and --output" in capsys.readouterr().err
