"""The bundle dental_xray_denoising_unet: its configs, and each of its commands once."""

from __future__ import annotations

import csv
import shutil

import cv2
import numpy as np
import pydicom
import pytest
import torch
from ignite.engine import Events
from monai.bundle import ConfigWorkflow

from monai_dental.bundle.find import find_bundle
from monai_dental.inference.denoiser import Denoiser
from monai_dental.networks import DenoisingUNet

BUNDLE = "dental_xray_denoising_unet"
ROOT = find_bundle("unet")
OBJECTIVES = ["identity_target", "neighbor2neighbor", "ssim_loss", "supervised"]
EPOCHS = 10  # so many that a training can be killed on its way
SMALL = {
    "validation_count": 2, "patch_size": 32, "validation_size": 64, "images_per_epoch": 8,
    "batch_size": 2, "max_epochs": 1,
}  # fmt: skip


def training_command(phantoms, folder):
    """The arguments of `monai_bundle` for a small training into a folder."""
    overrides = {
        **SMALL, "max_epochs": EPOCHS, "learning_rate": 0.005, "dataset_dir": phantoms / "noisy",
        "ckpt_dir": folder / "models", "output_dir": folder / "eval",
    }  # fmt: skip
    given = [part for key, value in overrides.items() for part in (f"--{key}", value)]
    return BUNDLE, "run", "training", "--config_file", "configs/train.json", *given


def history(folder):
    """The lines of a training's history, without the seconds."""
    with (folder / "eval" / "history.csv").open(newline="") as file:
        return [tuple(row)[:-1] for row in csv.reader(file)]


@pytest.fixture
def workflow(phantoms, tmp_path):
    """Factory of small trainings in this process."""

    def make(*overlays, **overrides):
        if "supervised" in overlays:
            overrides["label_dir"] = str(phantoms / "clean")
        return ConfigWorkflow(
            config_file=[str(ROOT / "configs" / f"{name}.json") for name in ("train", *overlays)],
            workflow_type="train", logging_file=False, bundle_root=str(ROOT),
            dataset_dir=str(phantoms / "noisy"), ckpt_dir=str(tmp_path / "models"),
            output_dir=str(tmp_path / "eval"), **{**SMALL, **overrides},
        )  # fmt: skip

    return make


@pytest.fixture
def initial_weights(tmp_path):
    path = tmp_path / "initial.pt"
    torch.save(DenoisingUNet().state_dict(), path)
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory, phantoms, monai_bundle):
    """The outcome of a few epochs on four phantoms: models/ and eval/."""
    folder = tmp_path_factory.mktemp("trained")
    monai_bundle(*training_command(phantoms, folder))
    return folder


@pytest.mark.parametrize("overlay", [None, *OBJECTIVES])
def test_training_has_all_properties(overlay, workflow):
    training = workflow(*([overlay] if overlay else []))
    training.initialize()

    assert training.check_properties() == []


def test_adaptation_has_all_properties(workflow, initial_weights):
    training = workflow("adapt", initial_weights=str(initial_weights))
    training.initialize()

    assert training.check_properties() == []


def test_inference_has_all_properties(trained, phantoms, tmp_path):
    inference = ConfigWorkflow(
        config_file=str(ROOT / "configs" / "inference.json"), workflow_type="infer",
        logging_file=False, bundle_root=str(ROOT), dataset_dir=str(phantoms / "noisy"),
        ckpt_dir=str(trained / "models"), output_dir=str(tmp_path / "out"),
    )  # fmt: skip
    inference.initialize()

    assert inference.check_properties() == []


def test_recipe_is_the_one_of_the_published_tables(parse):
    parser = parse("train")

    expected = {
        "seed": 0, "max_epochs": 100, "patience": 30, "batch_size": 4, "images_per_epoch": 100,
        "patches_per_image": 4, "patch_size": 64, "learning_rate": 1e-3, "tau": 0.25,
    }  # fmt: skip
    assert {key: parser[key] for key in expected} == expected
    assert parser["loss"] == {"_target_": "torch.nn.MSELoss"}
    assert parser["network_def"]["features"] == [32, 64, 128]


def test_halo_of_the_inference_covers_the_reach_of_the_network(parse):
    network, halo = DenoisingUNet(), parse("inference")["halo"]
    for parameter in network.parameters():  # each path from pixel to pixel counts, none cancels
        torch.nn.init.constant_(parameter, 0.01)
    image = torch.ones(1, 1, 512, 512, requires_grad=True)

    network(image)[0, 0, 256:258, 256:258].sum().backward()

    rows = image.grad[0, 0].abs().sum(dim=1).nonzero()
    assert 258 - halo <= rows.min()
    assert rows.max() < 256 + halo


def test_only_noisy_images_are_trained_on(parse, phantoms, monkeypatch):
    monkeypatch.setattr("monai_dental.training.datalists.phantom_folder", lambda: phantoms)

    for names in (("train",), ("train", "neighbor2neighbor"), ("inference",)):
        datalist = parse(*names).get_parsed_content("datalist")
        assert datalist[0] == {"image": str(phantoms / "noisy" / "1.png")}


def test_image_reaches_the_network_alike_in_training_and_inference(parse, loading, phantoms):
    item = {"image": str(phantoms / "noisy" / "1.png")}

    trained_on = loading(parse("train"), "train")(item)
    inferred = parse("inference").get_parsed_content("preprocessing")(item)

    torch.testing.assert_close(trained_on["image"].as_tensor(), inferred["image"].as_tensor())
    assert trained_on["image"].shape == (1, 96, 80)
    assert trained_on["image"].min() == 0
    assert trained_on["image"].max() == 1


def test_training_noise_is_new_each_time_and_validation_noise_is_not(parse, phantoms):
    parser = parse("train", **{**SMALL, "dataset_dir": str(phantoms / "noisy")})
    train, validation = (parser.get_parsed_content(f"{p}#dataset") for p in ("train", "validate"))

    patches = train[0]
    assert len(patches) == parser["patches_per_image"]
    assert set(patches[0]) == {"image", "label"}
    assert patches[0]["image"].shape == patches[0]["label"].shape == (2, 32, 32)
    assert not torch.equal(patches[0]["image"], train[0][0]["image"])
    first, second = validation[0], validation[0]
    assert first["image"].shape == first["label"].shape == (2, 64, 64)
    assert torch.equal(first["image"], second["image"])
    assert torch.equal(first["label"], second["label"])


def test_small_images_are_continued_to_the_size_of_a_patch(parse, phantoms):
    sizes = {"patch_size": 128, "validation_size": 160}
    parser = parse("train", **{**SMALL, **sizes, "dataset_dir": str(phantoms / "noisy")})

    assert parser.get_parsed_content("train#dataset")[0][0]["image"].shape == (2, 128, 128)
    assert parser.get_parsed_content("validate#dataset")[0]["image"].shape == (2, 160, 160)


@pytest.mark.parametrize("overlay", ["identity_target", "neighbor2neighbor"])
def test_image_without_new_noise_is_its_own_target(overlay, parse, phantoms):
    parser = parse("train", overlay, **{**SMALL, "dataset_dir": str(phantoms / "noisy")})

    patch = parser.get_parsed_content("train#dataset")[0][0]
    whole = parser.get_parsed_content("validate#dataset")[0]

    assert torch.equal(patch["image"], patch["label"])
    assert torch.equal(whole["image"], whole["label"])


def test_clean_target_is_scaled_as_the_noisy_image_is(parse, phantoms):
    folders = {"dataset_dir": str(phantoms / "noisy"), "label_dir": str(phantoms / "clean")}
    parser = parse("train", "supervised", **{**SMALL, **folders})

    item = parser.get_parsed_content("validate#dataset")[0]

    noisy, clean = (
        cv2.imread(str(phantoms / part / "3.png"), -1).astype(np.float32)[16:80, 8:72]
        for part in ("noisy", "clean")
    )
    whole = cv2.imread(str(phantoms / "noisy" / "3.png"), -1).astype(np.float32)
    low, span = whole.min(), whole.max() - whole.min()
    np.testing.assert_allclose(item["image"][0].numpy(), (noisy - low) / span, atol=1e-5)
    np.testing.assert_allclose(item["label"][0].numpy(), (clean - low) / span, atol=1e-5)


def test_neighbor2neighbor_is_validated_without_the_term_that_favours_noise(parse, phantoms):
    folder = {"dataset_dir": str(phantoms / "noisy")}
    parser = parse("train", "neighbor2neighbor", **{**SMALL, **folder})

    metric = parser.get_parsed_content("validate#key_metric")["val_loss"]

    assert metric.loss_fn.gamma == 0
    assert parser.get_parsed_content("loss").gamma == 1


def test_training_leaves_weights_history_and_figure(trained):
    weights = torch.load(trained / "models" / "model.pt", weights_only=True)
    DenoisingUNet().load_state_dict(weights)
    header, *rows = history(trained)

    assert header == ("epoch", "loss", "val_loss")
    assert [row[0] for row in rows] == [str(epoch + 1) for epoch in range(EPOCHS)]
    assert float(rows[-1][2]) < float(rows[0][2])
    assert cv2.imread(str(trained / "eval" / "figures" / "training.png")) is not None
    assert list((trained / "eval").glob("events.out.tfevents.*"))
    assert [path.name for path in (trained / "models").iterdir()] == ["model.pt"]


@pytest.mark.parametrize("overlay", OBJECTIVES)
def test_each_objective_trains(overlay, workflow, tmp_path):
    training = workflow(overlay, **{"network_def#features": [8, 16, 32]})
    training.initialize()
    before = {
        name: value.clone()
        for name, value in training.parser.get_parsed_content("network").state_dict().items()
    }

    training.run()
    training.finalize()

    (path,) = (tmp_path / "models").iterdir()
    assert path.name == f"model_{overlay}.pt"
    weights = torch.load(path, weights_only=True)
    for name, value in weights.items():
        assert value.isfinite().all()
        # The network begins as the identity, where that objective has its optimum.
        assert torch.equal(value, before[name]) == (overlay == "identity_target"), name
    assert [row[0] for row in history(tmp_path)] == ["epoch", "1"]


def test_checkpoint_is_of_the_very_contents_of_the_images(parse, phantoms, tmp_path):
    shutil.copytree(phantoms / "noisy", tmp_path / "noisy")

    def settings():
        parser = parse("train", **{**SMALL, "dataset_dir": str(tmp_path / "noisy")})
        return parser.get_parsed_content("train#checkpoint#settings")

    before = settings()
    shutil.copy(tmp_path / "noisy" / "1.png", tmp_path / "noisy" / "3.png")

    changed = [name for name, value in settings().items() if value != before[name]]
    assert changed == ["image_contents"]


def test_killed_training_goes_on_and_ends_with_the_very_same_weights(
    trained, tmp_path, phantoms, monai_bundle, killed_monai_bundle
):
    command = training_command(phantoms, tmp_path)
    checkpoint = tmp_path / "models" / "checkpoint_model.pt"

    killed_monai_bundle(checkpoint, *command)
    reached = torch.load(checkpoint, weights_only=True)["epoch"]
    resumed = monai_bundle(*command)

    assert 1 <= reached < EPOCHS
    assert f"continuing after epoch {reached}, from {checkpoint}" in resumed.stdout
    assert not checkpoint.exists()
    weights, expected = (
        torch.load(folder / "models" / "model.pt", weights_only=True)
        for folder in (tmp_path, trained)
    )
    assert weights.keys() == expected.keys()
    for name, value in weights.items():
        assert torch.equal(value, expected[name]), name
    assert history(tmp_path) == history(trained)


def test_resumed_adaptation_keeps_the_best_weights_of_its_earlier_run(
    workflow, initial_weights, tmp_path
):
    def adaptation():
        made = workflow("adapt", initial_weights=str(initial_weights), max_epochs=2)
        made.initialize()
        return made

    def kill():
        raise InterruptedError

    killed = adaptation()
    trainer = killed.parser.get_parsed_content("train#trainer")
    trainer.add_event_handler(Events.EPOCH_STARTED(once=2), kill)
    with pytest.raises((InterruptedError, RuntimeError)):
        killed.run()
    path = tmp_path / "models" / "checkpoint_model_adapt.pt"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["parts"]["best"]["best"] = -1.0  # better than any epoch to come
    torch.save(checkpoint, path)
    weights = tmp_path / "models" / "model_adapt.pt"
    weights.write_text("the best")

    adaptation().run()

    assert not path.exists()
    assert weights.read_text() == "the best"


def test_inference_keeps_name_format_and_size_and_draws_figures(
    trained, mixed_folder, tmp_path, monai_bundle
):
    out = tmp_path / "out"
    done = monai_bundle(
        BUNDLE, "run", "inference", "--config_file", "configs/inference.json",
        "--dataset_dir", mixed_folder, "--output_dir", out, "--ckpt_dir", trained / "models",
    )  # fmt: skip

    names = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert names == {"1.png", "below/2.jpg", "1.dcm"}
    for name in ("1.png", "below/2.jpg"):
        source, denoised = (cv2.imread(str(folder / name), -1) for folder in (mixed_folder, out))
        assert (denoised.shape, denoised.dtype) == (source.shape, source.dtype)
        assert np.corrcoef(source.ravel(), denoised.ravel())[0, 1] > 0.9
    source, derived = (pydicom.dcmread(folder / "1.dcm") for folder in (mixed_folder, out))
    assert derived.pixel_array.shape == source.pixel_array.shape
    assert derived.BitsStored == source.BitsStored
    assert derived.SOPInstanceUID != source.SOPInstanceUID
    assert derived.ImageType[:2] == ["DERIVED", "SECONDARY"]
    figures = sorted((tmp_path / "out_figures").iterdir())
    assert [path.name for path in figures] == ["1.png", "2.png", "3.png"]
    assert all(cv2.imread(str(path)).std() > 0 for path in figures)
    assert f"denoised images: {out}" in done.stdout
    assert f"figures of the first of them: {out}_figures" in done.stdout

    copy = shutil.copytree(ROOT, tmp_path / "bundle", ignore=shutil.ignore_patterns("*.pt"))
    (copy / "models").mkdir(exist_ok=True)
    shutil.copy(trained / "models" / "model.pt", copy / "models")
    pixels = cv2.imread(str(mixed_folder / "1.png"), -1)
    top = np.iinfo(pixels.dtype).max
    expected = Denoiser(copy).denoise(np.float32(pixels / top)) * top
    written = cv2.imread(str(out / "1.png"), -1)
    assert np.abs(written - np.rint(expected)).max() <= 1


def test_inference_without_weights_is_refused(tmp_path, mixed_folder, monai_bundle):
    done = monai_bundle(
        BUNDLE, "run", "inference", "--config_file", "configs/inference.json",
        "--dataset_dir", mixed_folder, "--output_dir", tmp_path / "out", "--ckpt_dir", tmp_path,
        expect=1,
    )  # fmt: skip

    assert done.stderr.splitlines()[-1].startswith(f"error: {tmp_path}/model.pt: no weights here")
    assert not (tmp_path / "out").exists()
