import pickle

import numpy as np
import pytest
import torch

from monai_dental.transforms import FixedExposured, RandExposured, exposure


def exposures(count, level=0.5, size=96, **options):
    """Return noisy image, given sigma, given correlation and label of several exposures."""
    transform = RandExposured("image", **options)
    clean = torch.full((1, size, size), level)
    for seed in range(count):
        result = transform.expose({"image": clean}, seed)
        yield (*result["image"], result["label"][0])


@pytest.fixture(params=[0.0, 1.0], ids=["own pixels", "resampled"])
def resampled(request, monkeypatch):
    """Whether all or none of the noise comes from detectors with another pixel size."""
    monkeypatch.setattr(exposure, "_RESAMPLED", request.param)
    return bool(request.param)


def test_told_sigma_is_that_of_the_noise(resampled):
    ratios = [
        float((noisy - label).std() / sigma.mean())
        for noisy, sigma, _, label in exposures(200, sigma_range=(0.01, 0.08))
    ]

    assert np.median(ratios) == pytest.approx(1, abs=0.03)
    assert np.quantile(np.abs(np.log(ratios)), 0.9) < 0.25  # errors as an estimate has them


def test_told_correlation_is_that_of_the_noise(resampled):
    errors, told = [], []
    for noisy, sigma, correlated, label in exposures(200, sigma_range=(0.01, 0.08)):
        noise = noisy - label
        measured = (noise[:, 1:] * noise[:, :-1]).mean() / noise.square().mean()
        told.append(float(correlated.mean() / sigma.mean()))
        errors.append(float(measured) - told[-1])

    assert abs(np.median(errors)) < 0.02
    assert min(told) < 0.05 + 0.1 * resampled  # where it was drawn wide, it is white no more
    assert max(told) > 0.5


def test_resampled_noise_keeps_its_dependence_on_the_signal(monkeypatch):
    monkeypatch.setattr(exposure, "_RESAMPLED", 1.0)
    monkeypatch.setattr(exposure, "compress", lambda image, quality: image)
    clean = torch.full((1, 64, 128), 0.3)
    clean[..., 64:] = 0.7
    halves = (slice(0, 58), slice(70, 128))

    pairs = []
    for seed in range(100):
        result = RandExposured("image", sigma_range=(0.02, 0.02)).expose({"image": clean}, seed)
        noisy, sigma, _ = result["image"]
        noise = noisy - result["label"][0]
        pairs.append(
            [float(x[:, half].square().mean().sqrt()) for x in (noise, sigma) for half in halves]
        )

    drawn, told = np.array(pairs)[:, :2], np.array(pairs)[:, 2:]
    ratios = drawn[:, 1] / drawn[:, 0], told[:, 1] / told[:, 0]
    assert max(ratios[1]) / min(ratios[1]) > 1.5
    assert np.corrcoef(*np.log(ratios))[0, 1] > 0.9


def test_noise_is_spread_evenly_over_the_orders_of_magnitude():
    sigmas = [float(sigma.mean() / label.mean() * 0.5) for _, sigma, _, label in exposures(300)]

    below = [np.mean(np.array(sigmas) < limit) for limit in (0.003, 0.019, 0.12)]
    assert below[0] < 0.1
    assert below[1] == pytest.approx(0.5, abs=0.1)
    assert below[2] > 0.9


def test_weak_noise_is_scaled_up_and_strong_noise_down():
    weak, strong = (
        next(exposures(1, sigma_range=(sigma, sigma)))[-1].mean() for sigma in (0.003, 0.12)
    )

    assert weak > 1 > strong / 0.5


def test_seed_decides_everything():
    transform = RandExposured("image")
    data = {"image": torch.rand(1, 40, 40, generator=torch.Generator().manual_seed(0))}

    first, again, other = (transform.expose(data, seed) for seed in (1, 1, 2))

    assert torch.equal(first["image"], again["image"])
    assert not torch.allclose(first["image"], other["image"])
    transform.set_random_state(3)
    drawn = transform(data)["image"]
    transform.set_random_state(3)
    assert torch.equal(transform(data)["image"], drawn)


def test_validation_sees_the_same_exposure_at_every_epoch():
    images = torch.rand(2, 1, 40, 40, generator=torch.Generator().manual_seed(0))
    transform = FixedExposured("image")

    first, again, other = (transform({"image": images[i]})["image"] for i in (0, 0, 1))

    assert torch.equal(first, again)
    assert not torch.allclose(first[1], other[1])


def test_clean_image_is_not_written_to():
    image = torch.rand(1, 40, 40)
    before = image.clone()

    for seed in range(20):
        RandExposured("image").expose({"image": image}, seed)

    assert torch.equal(image, before)


@pytest.mark.parametrize("sigma_range", [(0, 0.1), (0.2, 0.1), (-1, 1)])
def test_range_that_is_none_is_refused(sigma_range):
    with pytest.raises(ValueError, match="need two positive numbers in order"):
        RandExposured("image", sigma_range=sigma_range)


def test_transform_goes_to_loader_processes():
    pickle.loads(pickle.dumps(RandExposured("image")))
