"""Adapting a bundle to one's own noisy images."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import nibabel
import numpy as np
import pydicom
import pytest
import torch

from monai_dental.bundle.find import find_bundle, read_metadata
from monai_dental.cli import main
from monai_dental.dicom import Derivation
from monai_dental.errors import BundleError, DatasetError, MonaiDentalError, OutputError
from monai_dental.formats import read_radiograph, write_radiograph
from monai_dental.formats.find import find_images
from monai_dental.inference.denoiser import Denoiser
from monai_dental.networks import DenoisingUNet
from monai_dental.phantom import write_phantoms
from monai_dental.training.adapt import adapt, usable_images


@pytest.fixture(scope="module")
def noisy_images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("noisy")
    write_phantoms(folder, count=4, size=(96, 80))
    return folder / "noisy"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """The U-Net bundle with untrained weights and short epochs."""
    folder = tmp_path_factory.mktemp("bundle") / "small"
    shutil.copytree(
        find_bundle("unet"), folder, ignore=shutil.ignore_patterns("*.pt", "eval", "__pycache__")
    )
    changes = {
        "train.json": {"images_per_epoch": 24, "patch_size": 32, "validation_size": 64},
        "adapt.json": {"learning_rate": 0.003},
    }
    for name, values in changes.items():
        config = json.loads((folder / "configs" / name).read_text())
        assert values.keys() <= config.keys()
        (folder / "configs" / name).write_text(json.dumps({**config, **values}))
    (folder / "models").mkdir(exist_ok=True)
    torch.manual_seed(0)
    torch.save(DenoisingUNet().state_dict(), folder / "models" / "model.pt")
    return folder


@pytest.fixture(scope="module")
def adapted(tmp_path_factory, bundle, noisy_images):
    output = tmp_path_factory.mktemp("adapted") / "mine"
    images, _ = usable_images(find_images(noisy_images))
    epochs = []
    result = adapt(
        bundle, images, output, max_epochs=6, progress=lambda epoch, of: epochs.append((epoch, of))
    )
    return output, result, epochs


def test_adapted_bundle_denoises(adapted, noisy_images):
    output, _, _ = adapted

    pixels = np.random.default_rng(0).random((40, 50), dtype=np.float32)
    denoiser = Denoiser(output)

    assert denoiser.denoise(pixels).shape == pixels.shape
    assert denoiser.derivation.model_name == "mine"
    assert denoiser.derivation.model_version.endswith("+adapted")


def test_adapting_learns_and_says_so(adapted, bundle):
    output, result, epochs = adapted

    assert result.loss_after < result.loss_before
    assert result.image_count == 4
    assert epochs == [(epoch, 6) for epoch in range(1, 7)]
    weights, before = (
        torch.load(folder / "models" / "model.pt", weights_only=True) for folder in (output, bundle)
    )
    assert any(not torch.equal(weights[name], before[name]) for name in before)
    metadata = json.loads((output / "configs" / "metadata.json").read_text())
    assert "4 of the user's own noisy images" in metadata["changelog"][metadata["version"]]


def test_adapted_weights_are_never_worse_than_those_it_started_from(
    tmp_path, bundle, noisy_images, monkeypatch
):
    # A training that only does harm: every step makes all weights 1000.
    monkeypatch.setattr(
        torch.optim.Adam, "step", lambda self, *_: [
            parameter.data.fill_(1e3) for parameter in self.param_groups[0]["params"]
        ]
    )  # fmt: skip
    images, _ = usable_images(find_images(noisy_images))

    result = adapt(bundle, images, tmp_path / "mine", max_epochs=1)

    assert result.loss_after == result.loss_before
    weights, before = (
        torch.load(folder / "models" / "model.pt", weights_only=True)
        for folder in (tmp_path / "mine", bundle)
    )
    assert all(torch.equal(weights[name], before[name]) for name in before)


def test_command_adapts_and_leaves_out_what_it_cannot_use(tmp_path, bundle, noisy_images, capsys):
    images = tmp_path / "images $1 #2"
    shutil.copytree(noisy_images, images)
    (images / "broken.png").write_bytes(b"junk")
    cv2.imwrite(str(images / "thumb.png"), np.zeros((7, 30), np.uint8))
    nibabel.save(nibabel.Nifti1Image(np.zeros((20, 30, 5), np.uint8), np.eye(4)), images / "ct.nii")

    code = main(
        ["adapt", str(images), "--bundle", str(bundle), "--output", str(tmp_path / "mine"),
         "--epochs", "1"]
    )  # fmt: skip

    lines = capsys.readouterr().out.splitlines()
    assert code == 1
    reasons = {"broken.png": "not a PNG", "thumb.png": "7 x 30 pixels", "ct.nii": "5 frames"}
    for name, reason in reasons.items():
        (line,) = [line for line in lines if name in line]
        assert line.startswith("left out: ")
        assert reason in line
    assert lines[-1] == f"4 images, 3 left out: {tmp_path / 'mine'}"
    assert (tmp_path / "mine" / "models" / "model.pt").is_file()


def test_own_results_are_left_out(tmp_path, dicom_file, picture):
    source = dicom_file(stored=picture(12, rows=64, columns=64))
    radiograph = read_radiograph(source)
    derivation = Derivation("Noise reduction", "model", "1", "ab" * 32, 1.0)
    write_radiograph(radiograph, tmp_path / "own.dcm", derivation=derivation)

    images, reasons = usable_images(find_images(tmp_path))

    assert images == [source]
    assert reasons == [
        f"{tmp_path / 'own.dcm'}: made by monai_dental itself; need an image with its noise"
    ]


def test_file_name_is_never_run_as_a_config(tmp_path, bundle, noisy_images, monkeypatch):
    names = ["$open('run', 'w') if 1 else x.png", "@bundle_root.png", "%train.png", "scan #3.png"]
    for number, name in enumerate(names):
        shutil.copy(noisy_images / f"{number + 1}.png", tmp_path / name)
    monkeypatch.chdir(tmp_path)
    images, reasons = usable_images(find_images(Path()))

    result = adapt(bundle, images, Path("mine"), max_epochs=1)

    assert (result.image_count, reasons) == (4, [])
    assert not (tmp_path / "run").exists()


def test_path_that_a_config_cannot_hold_is_refused(tmp_path, bundle, noisy_images):
    images, _ = usable_images(find_images(noisy_images))

    with pytest.raises(OutputError, match="cannot hold a path with #"):
        adapt(bundle, images, tmp_path / "room #3" / "mine")


def test_images_of_one_patient_are_split_all_the_same(tmp_path, bundle):
    write_phantoms(tmp_path, count=3, size=(64, 64), image_format="dicom")
    for path in (tmp_path / "noisy").iterdir():
        dataset = pydicom.dcmread(path)
        dataset.PatientID = "ANON"
        dataset.save_as(path)
    images, _ = usable_images(find_images(tmp_path / "noisy"))

    assert adapt(bundle, images, tmp_path / "mine", max_epochs=1).image_count == 3


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_images_are_refused(count, tmp_path, bundle, noisy_images):
    images, _ = usable_images(find_images(noisy_images))

    with pytest.raises(DatasetError, match="need at least 2"):
        adapt(bundle, images[:count], tmp_path / "mine")

    assert not (tmp_path / "mine").exists()


def test_nothing_is_overwritten(tmp_path, bundle, noisy_images):
    images, _ = usable_images(find_images(noisy_images))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious").touch()

    with pytest.raises(OutputError, match="not empty"):
        adapt(bundle, images, tmp_path / "mine")


def test_bundle_that_cannot_be_adapted_is_named(tmp_path, noisy_images):
    images, _ = usable_images(find_images(noisy_images))

    with pytest.raises(BundleError, match=r"dae.*adapt\.json"):
        adapt(find_bundle("dae"), images, tmp_path / "mine")


def test_failed_adaptation_leaves_nothing(tmp_path, bundle, noisy_images):
    images, _ = usable_images(find_images(noisy_images))
    vanished = noisy_images / "vanished.png"

    with pytest.raises(MonaiDentalError, match=r"vanished\.png"):
        adapt(bundle, [*images, vanished], tmp_path / "mine")

    assert list(tmp_path.iterdir()) == []


def test_mounted_volume_is_refused_before_the_training(tmp_path, bundle, noisy_images, monkeypatch):
    monkeypatch.setattr(Path, "is_mount", lambda path: path == tmp_path / "volume")

    with pytest.raises(OutputError, match="volume: is a mounted volume; need a folder inside it"):
        adapt(bundle, usable_images(find_images(noisy_images))[0], tmp_path / "volume")


def test_bundle_that_did_not_get_better_does_not_claim_it(tmp_path, bundle, noisy_images):
    lazy = shutil.copytree(bundle, tmp_path / "lazy")
    config = json.loads((lazy / "configs" / "adapt.json").read_text())
    (lazy / "configs" / "adapt.json").write_text(json.dumps({**config, "learning_rate": 0.0}))

    result = adapt(
        lazy, usable_images(find_images(noisy_images))[0], tmp_path / "mine", max_epochs=1
    )

    assert result.loss_after == result.loss_before
    before, after = (read_metadata(folder) for folder in (bundle, tmp_path / "mine"))
    assert after == before


def test_images_without_noise_are_refused_before_the_training(tmp_path, bundle, capsys):
    (tmp_path / "images").mkdir()
    for name in ("1.png", "2.png"):
        cv2.imwrite(str(tmp_path / "images" / name), np.full((64, 64), 90, np.uint8))
    output = tmp_path / "mine"

    code = main(
        ["adapt", str(tmp_path / "images"), "--bundle", str(bundle), "--output", str(output)]
    )

    captured = capsys.readouterr()
    assert code == 2
    assert "2.png: no noise found; need an unprocessed detector image" in captured.out
    assert captured.err.splitlines()[-1].startswith("error: 0 images to adapt to; need at least 2")
    assert not output.exists()


def test_what_a_killed_run_left_is_removed_by_the_next(tmp_path, bundle, noisy_images):
    (tmp_path / ".adapt-mine" / "bundle").mkdir(parents=True)

    adapt(bundle, usable_images(find_images(noisy_images))[0], tmp_path / "mine", max_epochs=1)

    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
