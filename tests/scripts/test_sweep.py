"""scripts/sweep.py: trials are trainings, and the study continues where it stopped."""

import json
import sys
from pathlib import Path

import pytest

from monai_dental.phantom import write_phantoms

CHECKOUT = Path(__file__).parents[2]

pytest.importorskip("optuna", reason="no Optuna; pip install -c constraints.txt -e '.[sweep]'")


@pytest.fixture(scope="module")
def script(load_script):
    return load_script("sweep")


def study(script, bundle, folder, trials, *rest):
    return script.main([
        str(bundle), "--output", str(folder / "out"), "--trials", str(trials),
        "--vary", "learning_rate=1e-4:1e-2:log", "--vary", "batch_size=1:2", "--", *rest,
    ])  # fmt: skip


def test_two_trials_train_and_the_study_goes_on(script, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")
    write_phantoms(tmp_path / "images", count=4, size=(96, 80))
    settings = ("--dataset_dir", str(tmp_path / "images" / "clean"), "--max_epochs", "1")
    settings += ("--validation_count", "2")
    bundle = CHECKOUT / "bundles" / "dental_xray_denoising_dae"

    assert study(script, bundle, tmp_path, 1, *settings) == 0
    assert study(script, bundle, tmp_path, 2, *settings) == 0
    assert study(script, bundle, tmp_path, 2, *settings) == 0  # has its trials: none is added

    assert "best of 2 trials" in capsys.readouterr().out
    trials = sorted(path.name for path in (tmp_path / "out").glob("trial_*"))
    assert trials == ["trial_0", "trial_1"]
    rates = []
    for trial in trials:
        assert (tmp_path / "out" / trial / "models" / "model.pt").is_file()
        assert (tmp_path / "out" / trial / "eval" / "history.csv").is_file()
        log = (tmp_path / "out" / trial / "log.txt").read_text(encoding="utf-8")
        rates.append(log)
    assert rates[0] != rates[1]


def test_failed_training_ends_the_study_with_one_line(script, tmp_path, capsys, monkeypatch):
    failing = [sys.executable, "-c", "import sys; sys.exit('error: no such folder')"]
    run = script.subprocess.run
    monkeypatch.setattr(
        script.subprocess, "run", lambda command, **options: run(failing, **options)
    )

    assert study(script, tmp_path, tmp_path, 2) == 2

    error = capsys.readouterr().err.strip()
    assert error.endswith("log.txt: training failed: error: no such folder")
    assert len(error.splitlines()) == 1


def test_metric_that_is_not_there_is_named(script, tmp_path):
    path = tmp_path / "history.csv"
    path.write_text("epoch,loss,val_loss\n1,0.5,0.3\n2,0.4,\n3,0.3,0.2\n")

    assert script.best_in(path, "val_loss", "minimize") == 0.2
    assert script.best_in(path, "val_loss", "maximize") == 0.3
    with pytest.raises(script.DatasetError, match="no val_psnr; it has epoch, loss, val_loss"):
        script.best_in(path, "val_psnr", "maximize")


@pytest.mark.parametrize("wrong", ["tau", "tau=", "tau=1:x", "tau=2:1", "tau=1:2:lin", "=1,2"])
def test_spaces_that_are_none_are_refused(script, tmp_path, capsys, wrong):
    with pytest.raises(SystemExit):
        script.main([str(tmp_path), "--output", "out", "--trials", "1", "--vary", wrong])

    assert "need ID=LOW:HIGH" in capsys.readouterr().err


def test_values_are_of_the_space(script):
    import optuna

    trial = optuna.create_study().ask()
    drawn = [
        script.suggest(trial, *script.setting(text))
        for text in ("rate=1e-4:1e-2:log", "size=2:8", "kind=a,b")
    ]

    assert json.loads(json.dumps(drawn)) == drawn
    assert 1e-4 <= drawn[0] <= 1e-2
    assert drawn[1] in range(2, 9)
    assert isinstance(drawn[1], int)
    assert drawn[2] in "ab"
