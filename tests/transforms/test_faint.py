import numpy as np
import pytest
import torch

from monai_dental.transforms import RandFaintd
from monai_dental.transforms.faint import draw_faint


def test_patterns_are_of_mean_zero_and_bounded():
    random = np.random.RandomState(0)
    for _ in range(40):
        pattern = draw_faint(random, 48)

        assert pattern.shape == (48, 48)
        assert pattern.dtype == np.float32
        assert abs(float(pattern.mean())) < 1e-6
        assert 0 < float(pattern.std()) < 1.5


def test_share_of_the_patches_is_drawn_over():
    image = torch.rand(1, 32, 32, generator=torch.Generator().manual_seed(0))
    transform = RandFaintd("image", prob=0.25)
    transform.set_random_state(seed=0)

    results = [transform({"image": image})["image"] for _ in range(200)]

    changed = sum(not torch.equal(result, image) for result in results)
    assert 30 <= changed <= 70  # binomial, 50 expected
    assert all(float(result.min()) >= 0 and float(result.max()) <= 1 for result in results)


def test_contrast_is_within_its_range():
    flat = {"image": torch.full((1, 64, 64), 0.5)}
    transform = RandFaintd("image", prob=1.0, contrast_range=(0.02, 0.02))
    transform.set_random_state(seed=0)

    deviations = [float((transform(flat)["image"] - 0.5).abs().max()) for _ in range(40)]

    assert min(deviations) > 0.001
    assert np.median(deviations) == pytest.approx(0.02, rel=0.5)


def test_draws_depend_on_the_random_state_alone():
    flat = {"image": torch.full((1, 64, 64), 0.5)}
    results = []
    for _ in range(2):
        transform = RandFaintd("image", prob=0.5)
        transform.set_random_state(seed=3)
        results.append(torch.stack([transform(flat)["image"] for _ in range(10)]))

    assert torch.equal(*results)
