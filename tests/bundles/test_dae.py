"""The bundle dental_xray_denoising_dae: its configs, and each of its commands once."""

from __future__ import annotations

import csv

import cv2
import numpy as np
import pydicom
import pytest
import torch
from ignite.engine import Events
from monai.bundle import ConfigWorkflow
from monai.transforms import Compose

from monai_dental.bundle.find import find_bundle
from monai_dental.inference.denoiser import Denoiser
from monai_dental.networks import DenoisingAutoencoder

BUNDLE = "dental_xray_denoising_dae"
ROOT = find_bundle("dae")
CONFIGS = ROOT / "configs"
TRAIN, EVALUATE, NOISY_TARGET = (
    str(CONFIGS / f"{name}.json") for name in ("train", "evaluate", "noisy_target")
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, phantoms, monai_bundle):
    """The outcome of two epochs on four phantoms: models/ and eval/."""
    folder = tmp_path_factory.mktemp("trained")
    monai_bundle(
        BUNDLE, "run", "training", "--config_file", "configs/train.json",
        "--dataset_dir", phantoms / "clean", "--validation_count", 2, "--max_epochs", 2,
        "--ckpt_dir", folder / "models", "--output_dir", folder / "eval",
    )  # fmt: skip
    return folder


@pytest.mark.parametrize(
    ("files", "workflow_type"),
    [
        ([TRAIN], "train"),
        ([TRAIN, NOISY_TARGET], "train"),
        ([str(CONFIGS / "inference.json")], "infer"),
        ([str(CONFIGS / "inference_median.json")], "infer"),
    ],
)
def test_configs_have_all_properties(files, workflow_type, phantoms, tmp_path):
    workflow = ConfigWorkflow(
        config_file=files, workflow_type=workflow_type, logging_file=False,
        bundle_root=str(ROOT), dataset_dir=str(phantoms / "clean"), validation_count=2,
        output_dir=str(tmp_path),
    )  # fmt: skip
    workflow.initialize()

    assert workflow.check_properties() == []


def test_recipe_is_the_published_one(parse):
    parser = parse("train")

    expected = {
        "sigma": 0.07, "learning_rate": 1e-3, "batch_size": 10, "max_epochs": 40, "patience": 10,
        "image_size": 64, "validation_count": 20,
    }  # fmt: skip
    assert {key: parser[key] for key in expected} == expected
    noise = parser["train#random_transforms"][0]
    assert noise["sample_std"] is False
    assert noise["prob"] == 1.0


def test_image_reaches_the_network_alike_in_training_and_inference(phantoms, parse):
    item = {"image": str(phantoms / "clean" / "1.png")}

    trained_on = Compose(parse("train").get_parsed_content("train#deterministic_transforms"))(item)
    inferred = parse("inference").get_parsed_content("preprocessing")(item)

    torch.testing.assert_close(trained_on["image"], inferred["image"].as_tensor())
    assert trained_on["image"].shape == (1, 64, 64)
    assert trained_on["image"].min() == 0
    assert trained_on["image"].max() == 1
    assert torch.equal(trained_on["image"], trained_on["label"])


def test_whole_config_trains_once(phantoms, tmp_path, monkeypatch, parse):
    # MONAI Label's train button evaluates the whole config, where `run` and `training` both stand.
    parser = parse(
        "train", dataset_dir=str(phantoms / "clean"), validation_count=2,
        ckpt_dir=str(tmp_path / "models"), output_dir=str(tmp_path / "eval"), max_epochs=1,
    )  # fmt: skip
    runs = []
    monkeypatch.setattr("monai.engines.Trainer.run", lambda self: runs.append(self))
    monkeypatch.setattr("monai_dental.benchmark.plots.plot_training", lambda output_dir: None)
    monkeypatch.setattr("monai_dental.training.resume.BestWeights.require", lambda self: None)

    parser.get_parsed_content()

    assert len(runs) == 1


@pytest.mark.parametrize("names", [("train", "evaluate"), ("train", "evaluate", "noisy_target")])
def test_evaluation_scores_against_the_clean_image(names, phantoms, parse):
    parser = parse(*names, dataset_dir=str(phantoms / "clean"), validation_count=2)

    item = parser.get_parsed_content("validate#dataset")[0]

    assert item["label"].min() == 0
    assert item["label"].max() == 1
    noise = (item["image"] - item["label"]).std().item()
    assert noise == pytest.approx(0.07, rel=0.05)


def test_noisy_target_is_the_noisy_image(phantoms, parse):
    parser = parse("train", "noisy_target", dataset_dir=str(phantoms / "clean"), validation_count=2)

    for part in ("train", "validate"):
        item = parser.get_parsed_content(f"{part}#dataset")[0]
        assert torch.equal(item["image"], item["label"])
        assert item["label"].min() < 0


def test_training_noise_is_new_each_time_and_validation_noise_is_not(phantoms, parse):
    parser = parse("train", dataset_dir=str(phantoms / "clean"), validation_count=2)
    train, validation = (parser.get_parsed_content(f"{p}#dataset") for p in ("train", "validate"))

    assert not torch.equal(train[0]["image"], train[0]["image"])
    assert torch.equal(train[0]["label"], train[0]["label"])
    assert torch.equal(validation[0]["image"], validation[0]["image"])


def test_training_leaves_weights_history_and_figure(trained):
    weights = torch.load(trained / "models" / "model.pt", weights_only=True)
    DenoisingAutoencoder().load_state_dict(weights)
    with (trained / "eval" / "history.csv").open() as file:
        rows = list(csv.DictReader(file))

    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert float(rows[1]["loss"]) < float(rows[0]["loss"])
    assert cv2.imread(str(trained / "eval" / "figures" / "training.png")) is not None
    assert list((trained / "eval").glob("events.out.tfevents.*"))


def test_killed_training_goes_on_and_ends_with_the_very_same_weights(phantoms, tmp_path):
    def train(folder, killed_in=None):
        workflow = ConfigWorkflow(
            config_file=TRAIN, workflow_type="train", logging_file=False, bundle_root=str(ROOT),
            dataset_dir=str(phantoms / "clean"), validation_count=2, batch_size=1, max_epochs=4,
            ckpt_dir=str(folder / "models"), output_dir=str(folder / "eval"),
        )  # fmt: skip
        workflow.initialize()
        trainer = workflow.parser.get_parsed_content("train#trainer")
        if killed_in is not None:
            trainer.add_event_handler(Events.ITERATION_STARTED(once=2 * killed_in), kill)
        workflow.run()
        return (folder / "eval" / "history.csv").read_text()

    def kill():
        raise KeyboardInterrupt

    def losses(history):
        return [line.split(",")[:4] for line in history.splitlines()]

    whole = train(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "killed", killed_in=3)
    resumed = train(tmp_path / "killed")

    assert losses(resumed) == losses(whole)
    weights, expected = (
        torch.load(tmp_path / name / "models" / "model.pt", weights_only=True)
        for name in ("killed", "whole")
    )
    for name, value in weights.items():
        assert torch.equal(value, expected[name]), name
    assert [path.name for path in (tmp_path / "killed" / "models").iterdir()] == ["model.pt"]


def test_evaluating_prints_both_protocols(trained, phantoms, monai_bundle):
    done = monai_bundle(
        BUNDLE, "run", "evaluating",
        "--config_file", "['configs/train.json','configs/evaluate.json']",
        "--dataset_dir", phantoms / "clean", "--validation_count", 2,
        "--ckpt_dir", trained / "models", "--output_dir", trained / "eval",
    )  # fmt: skip

    assert "Honest protocol: scored against the clean image" in done.stdout
    assert "Published protocol: scored against the noisy image" in done.stdout
    with (trained / "eval" / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {(row["protocol"], row["method"]) for row in rows} == {
        ("honest", "noisy"), ("honest", "dae"), ("honest", "median"),
        ("published", "dae"), ("published", "median"),
    }  # fmt: skip
    assert {row["image"] for row in rows} == {"3.png", "4.png"}
    noisy = [float(row["psnr"]) for row in rows if row["method"] == "noisy"]
    assert noisy == pytest.approx([23.1] * 2, abs=0.3)  # sigma 0.07 at data range 1
    metrics = (trained / "eval" / "metrics.csv").read_text()
    assert "honest.model.psnr" in metrics
    figure = cv2.imread(str(trained / "eval" / "figures" / "comparison.png"))
    assert figure.std() > 0


def test_evaluating_without_weights_is_refused(tmp_path, phantoms, monai_bundle):
    done = monai_bundle(
        BUNDLE, "run", "evaluating",
        "--config_file", "['configs/train.json','configs/evaluate.json']",
        "--dataset_dir", phantoms / "clean", "--ckpt_dir", tmp_path, expect=1,
    )  # fmt: skip

    assert done.stderr.splitlines()[-1].startswith(f"error: {tmp_path}/model.pt: no weights here")


def test_unknown_override_ends_the_run(tmp_path, monai_bundle):
    done = monai_bundle(
        BUNDLE, "run", "training", "--config_file", "configs/train.json", "--max_epoch", 1,
        "--output_dir", tmp_path / "eval", expect=1,
    )  # fmt: skip

    expected = "error: configs/train.json: no max_epoch in the config to override"
    assert done.stderr.splitlines()[-1] == expected
    assert not (tmp_path / "eval").exists()


def test_wrong_dataset_dir_is_named(tmp_path, monai_bundle):
    done = monai_bundle(
        BUNDLE, "run", "inference", "--config_file", "configs/inference.json",
        "--dataset_dir", tmp_path / "nowhere", "--output_dir", tmp_path / "eval", expect=1,
    )  # fmt: skip

    assert f"error: {tmp_path}/nowhere: need a folder of images (.png" in done.stderr
    assert not (tmp_path / "eval").exists()


@pytest.mark.parametrize("config", ["inference", "inference_median"])
def test_inference_denoises_at_64_pixels_as_published(config, mixed_folder, tmp_path, monai_bundle):
    monai_bundle(
        BUNDLE, "run", "inference", "--config_file", f"configs/{config}.json",
        "--dataset_dir", mixed_folder, "--output_dir", tmp_path / "out",
    )  # fmt: skip

    names = ("1.png", "below/2.jpg")
    for name in names:
        source, denoised = (cv2.imread(str(d / name), -1) for d in (mixed_folder, tmp_path / "out"))
        assert denoised.shape == (64, 64)
        small = cv2.resize(source, (64, 64), interpolation=cv2.INTER_AREA).astype(float)
        assert np.corrcoef(small.ravel(), denoised.ravel())[0, 1] > 0.9
    source, derived = (pydicom.dcmread(d / "1.dcm") for d in (mixed_folder, tmp_path / "out"))
    assert (derived.Rows, derived.Columns) == (64, 64)
    assert derived.pixel_array.shape == (64, 64)
    assert derived.SOPInstanceUID != source.SOPInstanceUID
    row, column = source.ImagerPixelSpacing
    assert derived.ImagerPixelSpacing == pytest.approx([row * 96 / 64, column * 80 / 64], rel=1e-4)
    assert not [path for path in (tmp_path / "out").rglob("*") if path.suffix == ".part"]


def test_native_inference_equals_the_denoiser(mixed_folder, tmp_path, monai_bundle):
    monai_bundle(
        BUNDLE, "run", "inference", "--config_file", "configs/inference.json", "--native", "true",
        "--dataset_dir", mixed_folder, "--output_dir", tmp_path / "out",
    )  # fmt: skip

    source, written = (cv2.imread(str(d / "1.png"), 0) for d in (mixed_folder, tmp_path / "out"))
    pixels = np.float32(source) / np.float32(255)
    expected = np.rint(Denoiser(ROOT).denoise(pixels) * 255)
    assert np.abs(written - expected).max() <= 1
    derived = pydicom.dcmread(tmp_path / "out" / "1.dcm")
    assert derived.ImageType[:2] == ["DERIVED", "SECONDARY"]
    assert (derived.Rows, derived.Columns, derived.BitsStored) == (96, 80, 12)


def test_inference_does_not_write_over_what_is_there(mixed_folder, tmp_path, monai_bundle):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "1.png").write_text("kept")

    done = monai_bundle(
        BUNDLE, "run", "inference", "--config_file", "configs/inference_median.json",
        "--dataset_dir", mixed_folder, "--output_dir", tmp_path / "out", expect=1,
    )  # fmt: skip

    assert f"error: {tmp_path}/out: the output folder is not empty" in done.stderr
    assert (tmp_path / "out" / "1.png").read_text() == "kept"


@pytest.mark.parametrize("native", ["false", False])
def test_native_off_resizes_and_does_not_tile(native, phantoms, parse):
    parser = parse("inference", native=native, dataset_dir=str(phantoms / "noisy"))

    assert parser.get_parsed_content("dataset")[0]["image"].shape == (1, 64, 64)
    assert parser.get_parsed_content("evaluator").inferer.halo == 0
    assert len(parser.get_parsed_content("restore_transforms")) == 1


def test_median_config_differs_from_inference_in_the_network_alone(parse):
    inference, median = parse("inference").get(), parse("inference_median").get()
    own = {
        "_desc_", "imports", "ckpt_dir", "ckpt_path", "output_dir", "low_frequency_sigma",
        "network_def", "network", "restore_transforms", "derivation", "handlers", "initialize",
        "run", "native_restore_transforms", "displayable_configs", "label_transforms",
        "pre_transforms", "post_transforms",
    }  # fmt: skip

    assert {k: v for k, v in inference.items() if k not in own} == {
        k: v for k, v in median.items() if k not in own
    }
