"""The networks that are compared with the blind bundle's."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch

from monai_dental.transforms.detector import MARGIN

_SCRIPT = Path(__file__).parents[2] / "scripts" / "benchmarks" / "networks.py"


@pytest.fixture(scope="module")
def script():
    """The script, as a module."""
    spec = importlib.util.spec_from_file_location("networks", _SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["networks"] = module  # where the candidates' definitions look
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(_SCRIPT.parent)
        spec.loader.exec_module(module)
        yield module
    del sys.modules["networks"]


def test_networks_take_images_of_any_size(script):
    for candidate in script.CANDIDATES:
        images = torch.rand(1, 4, 37, 50)
        with torch.inference_mode():
            denoised = candidate.make()(images)

        assert torch.equal(denoised, images[:, :1]), candidate.name  # untrained: the identity


def test_first_network_is_that_of_the_bundle(script):
    config = json.loads((script.BUNDLE / "configs" / "train.json").read_text())

    assert json.loads(json.dumps(script.CANDIDATES[0].definition)) == config["network_def"]


def test_steps_are_those_of_the_recipe(script):
    config = json.loads((script.BUNDLE / "configs" / "train.json").read_text())

    assert config["batch_size"] * config["patches_per_image"] == script.PATCHES
    assert script.STEPS * config["batch_size"] == script.IMAGES
    assert config["patch_size"] - 2 * MARGIN == script.PATCH_SIZE


def test_copy_of_the_bundle_has_the_other_network_and_no_weights(script, tmp_path):
    candidate = script.CANDIDATES[4]

    script.write_bundle(candidate, tmp_path / "copy", 40)

    for name in ("train", "inference"):
        config = json.loads((tmp_path / "copy" / "configs" / f"{name}.json").read_text())
        assert config["network_def"] == candidate.definition
    assert (config["tile_size"], config["halo"]) == candidate.tile
    assert not (tmp_path / "copy" / "models").exists()
    assert (tmp_path / "copy" / "epochs.txt").read_text() == "40"
