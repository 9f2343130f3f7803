"""Which bundles a server offers, and in which state."""

from __future__ import annotations

import shutil

import pytest

from monai_dental.bundle.find import find_bundle, shipped_bundles
from monai_dental.errors import BundleError
from monai_dental.label.model import find_models


def test_all_bundles_of_the_package_are_offered_by_default(tmp_path):
    assert sorted(find_models(None, tmp_path)) == shipped_bundles()


def test_names_and_folders_are_taken_with_commas_between(tmp_path):
    own = tmp_path / "own"
    shutil.copytree(find_bundle("unet") / "configs", own / "configs")

    models = find_models(f"dae, {own}", tmp_path / "trained")

    assert list(models) == ["dae", "own"]
    assert models["own"].original == own


def test_bundle_is_called_after_its_folder_however_that_is_named(tmp_path, monkeypatch):
    own = tmp_path / "own"
    shutil.copytree(find_bundle("unet") / "configs", own / "configs")
    monkeypatch.chdir(own / "configs")

    assert list(find_models("../", tmp_path / "trained")) == ["own"]


def test_two_bundles_of_one_name_are_refused(tmp_path):
    owns = [tmp_path / parent / "own" for parent in "ab"]
    for own in owns:
        shutil.copytree(find_bundle("unet") / "configs", own / "configs")

    with pytest.raises(BundleError, match=r"b/own and .*a/own: both are called own; rename"):
        find_models(",".join(map(str, owns)), tmp_path / "trained")
    assert list(find_models(f"{owns[0]},{owns[0]}", tmp_path / "trained")) == ["own"]


def test_what_was_trained_from_a_namesake_is_not_taken(tmp_path):
    owns = [tmp_path / parent / "own" for parent in "ab"]
    for own in owns:
        shutil.copytree(find_bundle("unet") / "configs", own / "configs")
    first = find_models(str(owns[0]), tmp_path / "trained")["own"]
    shutil.copytree(owns[0], first.trained)
    first.note_origin(first.trained)

    assert find_models(str(owns[0]), tmp_path / "trained")["own"].folder == first.trained
    with pytest.raises(BundleError, match=r"trained/own: adapted from .*a/own, not from .*b/own"):
        find_models(str(owns[1]), tmp_path / "trained")


def test_unknown_bundle_is_refused(tmp_path):
    with pytest.raises(BundleError, match="mean: no such bundle"):
        find_models("dae,mean", tmp_path)


def test_trained_bundle_is_preferred(tmp_path):
    model = find_models("unet", tmp_path)["unet"]
    assert model.folder == find_bundle("unet")

    shutil.copytree(find_bundle("unet") / "configs", tmp_path / "unet" / "configs")
    assert model.folder == tmp_path / "unet"
    assert model.weights == tmp_path / "unet" / "models" / "model.pt"


def test_variants_are_the_inference_configs(tmp_path):
    models = find_models("dae,unet", tmp_path)

    assert models["dae"].variants == ["network", "median"]
    assert models["unet"].variants == ["network"]
    assert models["dae"].config_name("network") == "inference"
    assert models["dae"].config_name("median") == "inference_median"
    with pytest.raises(ValueError, match="variant is 'median'; need one of network"):
        models["unet"].config_name("median")


def test_only_what_learns_from_noisy_images_can_be_adapted(tmp_path):
    models = find_models("dae,unet", tmp_path)

    assert (models["dae"].is_adaptable, models["unet"].is_adaptable) == (False, True)
