import pickle

import numpy as np
import pytest
import torch
from octaves import split_octaves

from monai_dental.transforms import FixedDetectord, RandDetectord
from monai_dental.transforms.detector import MARGIN

SIDE = 128


def exposures(count, level=0.5):
    """Return input and target of several exposures of a grey image."""
    clean = torch.full((1, SIDE, SIDE), level)
    for seed in range(count):
        result = RandDetectord("image", sigma_range=(0.01, 0.05)).expose({"image": clean}, seed)
        yield result["image"], result["label"]


def test_input_is_the_inner_part_with_its_noise_in_octaves():
    image, label = next(exposures(1))

    inner = SIDE - 2 * MARGIN
    assert image.shape == (4, inner, inner)
    assert label.shape == (1, inner, inner)


def test_told_noise_is_that_of_the_image_in_each_octave():
    ratios = []
    for image, label in exposures(150):
        noise = image[0] - label[0]
        measured = torch.stack([o.square().mean() for o in split_octaves(noise)]).sqrt()
        ratios.append((image[1:].mean(dim=(1, 2)) / measured.clamp_min(1e-6)).numpy())

    assert np.median(ratios, axis=0) == pytest.approx(1, abs=0.06)
    # Errors as an estimate has them, and those of so small a part of the noise.
    assert (np.quantile(np.abs(np.log(ratios)), 0.8, axis=0) < 0.35).all()


def test_a_patch_that_is_all_margin_is_refused():
    with pytest.raises(ValueError, match="has 32 x 32 pixels; need more than 32"):
        RandDetectord("image").expose({"image": torch.zeros(1, 32, 32)}, 0)


def test_weak_noise_is_scaled_up():
    clean = {"image": torch.full((1, SIDE, SIDE), 0.5)}
    weak = RandDetectord("image", sigma_range=(0.005, 0.005)).expose(clean, 3)["label"]
    strong = RandDetectord("image", sigma_range=(0.1, 0.1)).expose(clean, 3)["label"]

    assert float(weak.mean()) > 2 * float(strong.mean())


def test_exposures_for_validation_are_fixed_by_the_image():
    image = torch.rand(1, 64, 64, generator=torch.Generator().manual_seed(0))
    transform = FixedDetectord("image")

    once, again, other = transform({"image": image}), transform({"image": image}), transform(
        {"image": image + 1e-3}
    )  # fmt: skip

    assert torch.equal(once["image"], again["image"])
    assert not torch.equal(once["image"], other["image"])


def test_a_worker_gets_the_transform():
    transform = pickle.loads(pickle.dumps(RandDetectord("image").set_random_state(0)))

    assert transform({"image": torch.full((1, 64, 64), 0.5)})["image"].isfinite().all()


@pytest.mark.parametrize("sigma_range", [(0.0, 0.1), (0.2, 0.1)])
def test_range_that_is_none_is_refused(sigma_range):
    with pytest.raises(ValueError, match="two positive numbers in order"):
        RandDetectord("image", sigma_range=sigma_range)
