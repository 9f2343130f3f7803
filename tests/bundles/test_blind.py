"""The bundle dental_xray_denoising_blind: its configs, and each of its commands once."""

from __future__ import annotations

import csv
import shutil

import cv2
import numpy as np
import pytest
import torch
from ignite.engine import Events
from monai.bundle import ConfigWorkflow

from monai_dental.bundle.find import find_bundle, load_config
from monai_dental.errors import BundleError
from monai_dental.formats.find import find_images
from monai_dental.inference.denoiser import Denoiser
from monai_dental.networks import DenoisingUNet
from monai_dental.noise import add_gaussian_noise
from monai_dental.synthetic import write_images
from monai_dental.training.adapt import adapt, usable_images
from monai_dental.training.resume import BestWeights

BUNDLE = "dental_xray_denoising_blind"
ROOT = find_bundle("blind")
FEATURES = load_config(ROOT, "inference", {})["network_def"]["features"]
SMALL = {
    "validation_count": 2, "patch_size": 64, "validation_size": 64, "images_per_epoch": 8,
    "batch_size": 2, "max_epochs": 1, "patience": 9, "val_interval": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Four small synthetic images."""
    folder = tmp_path_factory.mktemp("images")
    write_images(folder, count=8, side=80)
    for index in (1, 2, 3, 4):  # parts of panoramics; the leaves are faster to draw, and as good
        (folder / f"{index}.png").unlink()
    return folder


@pytest.fixture
def workflow(images, tmp_path):
    """Factory of small trainings in this process."""

    def make(*overlays, **overrides):
        return ConfigWorkflow(
            config_file=[str(ROOT / "configs" / f"{name}.json") for name in ("train", *overlays)],
            workflow_type="train", logging_file=False, bundle_root=str(ROOT),
            dataset_dir=str(images), ckpt_dir=str(tmp_path / "models"),
            output_dir=str(tmp_path / "eval"), **{**SMALL, **overrides},
        )  # fmt: skip

    return make


def test_recipe_is_the_one_that_the_weights_were_made_with(parse):
    parser = parse("train", "../../../training/fine_tune")

    expected = {
        "dataset_dir": None, "synthetic_count": 1440, "validation_count": 48, "seed": 0,
        "max_epochs": 140, "patience": 3, "val_interval": 2, "batch_size": 4,
        "images_per_epoch": 1000, "patches_per_image": 4, "patch_size": 128, "learning_rate": 4e-4,
        "sigma_range": [0.002, 0.12], "photograph_share": 0.5, "faint_share": 0.25,
        "average_momentum": 5e-4,
    }  # fmt: skip
    assert {key: parser[key] for key in expected} == expected
    assert parser["loss"] == {"_target_": "monai_dental.training.losses.GridAwareLoss"}
    assert parser["network_def"]["features"] == [16, 32, 64]


def test_killed_adaptation_is_not_taken_up_with_other_settings(workflow, tmp_path):
    other = tmp_path / "other.pt"
    torch.save(DenoisingUNet(FEATURES, noise_channels=3).state_dict(), other)
    shipped = str(ROOT / "models" / "model.pt")

    def make(**changes):
        overrides = {"initial_weights": shipped, "max_epochs": 2, **changes}
        run = workflow("adapt", **overrides)
        run.initialize()
        return run

    def kill(engine):
        raise KeyboardInterrupt

    killed = make()
    trainer = killed.parser.get_parsed_content("train#trainer")
    trainer.add_event_handler(Events.EPOCH_COMPLETED(once=1), kill)
    with pytest.raises(KeyboardInterrupt):
        killed.run()

    for name, value in {"tau": 0.5, "initial_weights": str(other)}.items():
        with pytest.raises(RuntimeError) as raised:  # MONAI's, of our error
            make(**{name: value}).run()
        assert f"with other {name};" in str(raised.value.__cause__)
    make().run()


def test_folder_of_dark_images_is_trained_on_at_full_range(
    parse, loading, images, tmp_path, monkeypatch
):
    monkeypatch.setattr("monai_dental.training.datalists.synthetic_folder", lambda count: images)
    # 12 bits in 16, as sensors' exports often are
    stored = np.random.default_rng(0).integers(100, 4000, (40, 40)).astype(np.uint16)
    cv2.imwrite(str(tmp_path / "1.png"), stored)

    ranges = []
    for dataset_dir in (str(tmp_path), None):
        parser = parse("train", dataset_dir=dataset_dir)
        for part in ("train", "validate"):
            load = loading(parser, part)
            image = load({"image": str(tmp_path / "1.png")})["image"]
            ranges.append((float(image.min()), float(image.max())))

    assert ranges[:2] == [(0, 1)] * 2
    assert ranges[2:] == [pytest.approx((stored.min() / 65535, stored.max() / 65535))] * 2


def test_halo_of_the_inference_covers_the_reach_of_the_network(parse):
    inferer = parse("inference").get_parsed_content("inferer")
    network = DenoisingUNet(FEATURES, noise_channels=3)
    for parameter in network.parameters():  # each path from pixel to pixel counts, none cancels
        torch.nn.init.constant_(parameter, 0.01)
    image = torch.zeros(1, 4, 512, 512, requires_grad=True)

    network(image)[0, 0, 256:258, 256:258].sum().backward()

    rows = image.grad[0, 0].abs().sum(dim=1).nonzero()
    assert 258 - inferer.halo <= rows.min()
    assert rows.max() < 256 + inferer.halo


@pytest.mark.parametrize("overlay", [None, "adapt"])
def test_training_has_all_properties(overlay, workflow):
    training = workflow(*([overlay] if overlay else []))
    training.initialize()

    assert training.check_properties() == []


def test_inference_has_all_properties(images, tmp_path):
    inference = ConfigWorkflow(
        config_file=str(ROOT / "configs" / "inference.json"), workflow_type="infer",
        logging_file=False, bundle_root=str(ROOT), dataset_dir=str(images),
        output_dir=str(tmp_path / "out"),
    )  # fmt: skip
    inference.initialize()

    assert inference.check_properties() == []


def test_training_learns(workflow, tmp_path):
    training = workflow(max_epochs=4)
    training.initialize()
    training.run()
    training.finalize()

    rows = (tmp_path / "eval" / "history.csv").read_text().splitlines()
    losses = [float(row.split(",")[2]) for row in rows[1:]]
    assert losses[-1] < losses[0]
    weights = torch.load(tmp_path / "models" / "model.pt", weights_only=True)
    DenoisingUNet(FEATURES, noise_channels=3).load_state_dict(weights)


def test_killed_training_goes_on_and_ends_with_the_very_same_weights(
    images, tmp_path, monai_bundle, killed_monai_bundle
):
    # The exposures are drawn in a worker process, whose random numbers must be the same as well.
    def command(folder):
        options = {
            **SMALL, "max_epochs": 6, "dataset_dir": images,
            "ckpt_dir": folder / "models", "output_dir": folder / "eval",
        }  # fmt: skip
        given = [part for key, value in options.items() for part in (f"--{key}", value)]
        return BUNDLE, "run", "training", "--config_file", "configs/train.json", *given

    checkpoint = tmp_path / "killed" / "models" / "checkpoint_model.pt"
    monai_bundle(*command(tmp_path / "whole"))
    killed_monai_bundle(checkpoint, *command(tmp_path / "killed"))
    resumed = monai_bundle(*command(tmp_path / "killed"))

    assert "continuing after epoch" in resumed.stdout
    histories = []
    for name in ("whole", "killed"):
        with (tmp_path / name / "eval" / "history.csv").open(newline="") as file:
            histories.append([row[:-1] for row in csv.reader(file)])  # without the seconds
    assert len(histories[0]) == 7
    assert histories[0] == histories[1]
    weights, expected = (
        torch.load(tmp_path / name / "models" / "model.pt", weights_only=True)
        for name in ("killed", "whole")
    )
    for name, value in weights.items():
        assert torch.equal(value, expected[name]), name


def test_training_does_not_go_on_with_other_workers_or_another_precision(workflow):
    training = workflow()
    training.initialize()
    checkpoint = training.parser.get_parsed_content("train#checkpoint")
    settings = {**checkpoint.settings, "precision": "auto"}  # as before version 0.1.2
    assert settings.pop("num_workers") == 1
    checkpoint.path.parent.mkdir()
    torch.save({"settings": settings}, checkpoint.path)

    with pytest.raises(BundleError, match=r"training with other num_workers, precision; remove it"):
        checkpoint.resume(training.parser.get_parsed_content("train#trainer"))


def test_network_is_told_the_noise_alike_in_training_and_adaptation(workflow):
    for overlay, side in ((None, 32), ("adapt", 64)):  # the exposure cuts margins off
        training = workflow(*([overlay] if overlay else []))
        training.initialize()
        patch = training.parser.get_parsed_content("train#dataset")[0][0]
        whole = training.parser.get_parsed_content("validate#dataset")[0]

        assert patch["image"].shape == (4, side, side), overlay
        assert patch["label"].shape == (1, side, side), overlay
        assert whole["image"].shape == (4, side, side), overlay
        assert (patch["image"][1] >= 0).all(), overlay


def test_synthetic_images_are_the_default(parse, images, monkeypatch):
    monkeypatch.setattr("monai_dental.training.datalists.synthetic_folder", lambda count: images)

    datalist = parse("train").get_parsed_content("datalist")

    assert datalist[0] == {"image": str(images / "5.png")}


def test_inference_is_what_denoise_does(tmp_path, images, monai_bundle):
    source = tmp_path / "noisy"
    source.mkdir()
    shutil.copy(images / "5.png", source / "1.png")
    monai_bundle(
        BUNDLE, "run", "inference", "--config_file", "configs/inference.json",
        "--dataset_dir", source, "--output_dir", tmp_path / "out",
    )  # fmt: skip

    pixels = cv2.imread(str(source / "1.png"), -1)
    top = np.iinfo(pixels.dtype).max
    expected = Denoiser(ROOT).denoise(np.float32(pixels / top)) * top
    written = cv2.imread(str(tmp_path / "out" / "1.png"), -1)
    assert written.dtype == pixels.dtype
    assert np.abs(written - expected).max() < 1.5


def test_image_in_which_no_noise_is_found_stays_as_it_is():
    drawing = np.full((300, 300), 51, np.uint8)  # burned-in text, and nothing of a radiograph
    cv2.putText(drawing, "R 2", (40, 120), cv2.FONT_HERSHEY_SIMPLEX, 3, 255, 8)
    drawing[200:260, 30:150] = 128
    pixels = drawing / np.float32(255)

    denoised = Denoiser(ROOT).denoise(pixels)

    np.testing.assert_array_equal(np.rint(denoised * 255), drawing)


def test_shipped_weights_denoise_what_they_never_saw(images):
    clean = np.float32(cv2.imread(str(images / "8.png"), -1) / 65535)
    noisy = add_gaussian_noise(torch.from_numpy(clean), 0.05, torch.Generator().manual_seed(0))

    denoised = Denoiser(ROOT).denoise(noisy.numpy())

    assert np.square(denoised - clean).mean() < 0.3 * 0.05**2


def test_adapted_bundle_denoises(tmp_path, phantoms, monkeypatch):
    noisy, _ = usable_images(find_images(phantoms / "noisy"))
    losses = []
    keep_best = BestWeights.__call__

    def look(self, engine):
        losses.append(engine.state.metrics["val_loss"])
        keep_best(self, engine)

    monkeypatch.setattr(BestWeights, "__call__", look)

    result = adapt(ROOT, noisy, tmp_path / "mine", max_epochs=1)

    before, after = losses  # the epoch was validated, and made the weights others
    assert before != after
    assert (result.loss_before, result.loss_after) == (before, min(losses))
    image = np.random.default_rng(0).random((40, 50), dtype=np.float32)
    assert Denoiser(tmp_path / "mine").denoise(image).shape == (40, 50)
