"""`--tracking mlflow` for real: what is in MLflow's store after it."""

from __future__ import annotations

import importlib.util

import pytest

BUNDLE = "dental_xray_denoising_blind"
SMALL = [
    "--val_interval", 1, "--patch_size", 64, "--validation_size", 64, "--images_per_epoch", 4,
    "--validation_count", 2,
]  # fmt: skip


@pytest.fixture
def tracked(missing, monai_bundle, tmp_path):
    """Run a bundle with tracking: tracked("training", name, …) returns the finished runs."""
    if importlib.util.find_spec("mlflow") is None:
        missing("no MLflow; pip install -c constraints.txt -e '.[tracking]'")
    from mlflow import MlflowClient

    store = f"sqlite:///{tmp_path}/store.db"

    def run(what, name, config, *arguments):
        monai_bundle(
            BUNDLE, "run", what, "--config_file", config, *arguments, "--tracking", "mlflow",
            "--tracking_uri", store, "--experiment_name", "dental", "--run_name", name,
        )  # fmt: skip
        client = MlflowClient(store)
        experiment = client.get_experiment_by_name("dental")
        runs = client.search_runs([experiment.experiment_id])
        (found,) = [each for each in runs if each.info.run_name == name]
        return client, found

    return run


def files(client, run, folder=None):
    listed = client.list_artifacts(run.info.run_id, folder)
    return {entry.path for entry in listed if not entry.is_dir}


def curve(client, run, name):
    return [point.step for point in client.get_metric_history(run.info.run_id, name)]


def test_resumed_training_is_one_run_with_all_that_is_of_it(
    tracked, killed_monai_bundle, phantoms, tmp_path
):
    folders = ["--dataset_dir", phantoms / "clean", "--ckpt_dir", tmp_path / "models",
               "--output_dir", tmp_path / "eval", "--max_epochs", 3, *SMALL]  # fmt: skip
    store = ["--tracking", "mlflow", "--tracking_uri", f"sqlite:///{tmp_path}/store.db",
             "--experiment_name", "dental", "--run_name", "first"]  # fmt: skip
    killed_monai_bundle(
        tmp_path / "models" / "checkpoint_model.pt", BUNDLE, "run", "training",
        "--config_file", "configs/train.json", *folders, *store,
    )  # fmt: skip

    client, run = tracked("training", "first", "configs/train.json", *folders)

    assert run.info.status == "FINISHED"
    assert run.data.params["learning_rate"] == "0.001"
    assert run.data.params["max_epochs"] == "3"
    assert sorted(set(curve(client, run, "val_loss"))) == [1, 2, 3]
    assert sorted(set(curve(client, run, "train_loss"))) == [1, 2, 3]
    assert {"model.pt", "history.csv"} <= files(client, run)
    assert any(name.startswith("config_") for name in files(client, run))
    assert files(client, run, "pictures") == {
        "pictures/noisy.png", "pictures/denoised.png", "pictures/residual.png",
    }  # fmt: skip


def test_evaluation_and_inference_end_their_runs(tracked, phantoms, tmp_path):
    noisy, clean = phantoms / "noisy", phantoms / "clean"

    client, evaluation = tracked(
        "evaluating", "scores", "['configs/train.json','configs/evaluate.json']",
        "--dataset_dir", noisy, "--label_dir", clean, "--validation_count", 2,
        "--output_dir", tmp_path / "eval",
    )  # fmt: skip
    _, inference = tracked(
        "inference", "pictures", "configs/inference.json",
        "--dataset_dir", noisy, "--output_dir", tmp_path / "out",
    )  # fmt: skip

    assert evaluation.info.status == inference.info.status == "FINISHED"
    assert evaluation.data.metrics["honest.model.psnr"] > 10
    assert {"scores.csv", "metrics.csv", "comparison.png"} <= files(client, evaluation)
