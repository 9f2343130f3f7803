from functools import cache

import numpy as np
import pytest
import torch

from monai_dental.noise import (
    NoiseModel,
    add_gaussian_noise,
    add_poisson_gaussian_noise,
    correlated_noise,
    estimate_noise,
)
from monai_dental.phantom import simulate_exposure

PHANTOMS = (0, 7, 12)
ELECTRONIC_SIGMA = 0.005


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@cache
def exposures():
    """Return clean and noisy phantoms in [0, 1]."""
    drawn = [simulate_exposure(index, size=(512, 512), bits_stored=16) for index in PHANTOMS]
    return [
        tuple(torch.from_numpy(i.astype(np.float32) / 65535) for i in (e.clean, e.noisy))
        for e in drawn
    ]


def clean_phantoms():
    return [clean for clean, _ in exposures()]


def lag_1(model):
    middle = len(model.autocorrelation) // 2
    beside, below = model.autocorrelation[[middle, middle + 1], [middle + 1, middle]]
    return (beside + below).item() / 2


def common_levels(clean):
    """Return intensities at each of which at least 2 % of the pixels lie."""
    share = torch.histc(clean, 20, 0, 1) / clean.numel()
    return ((torch.arange(20) + 0.5) / 20)[share >= 0.02]


@pytest.mark.parametrize("sigma", [0.007, 0.02, 0.07])
def test_white_noise_is_found(sigma, generator):
    correlations = []
    for clean in clean_phantoms():
        model = estimate_noise(add_gaussian_noise(clean, sigma, generator))

        found = model.variance(common_levels(clean)).sqrt()
        assert found.mean().item() == pytest.approx(sigma, rel=0.1)
        assert found.numpy() == pytest.approx(sigma, rel=0.15)
        correlations.append(abs(lag_1(model)))
        assert model.gain * 0.5 < 0.2 * sigma**2
        assert model.electronic_variance == pytest.approx(sigma**2, rel=0.2)
    # Fine anatomy, where the noise is weak, passes for some correlation.
    assert np.median(correlations) < (0.13 if sigma < 0.01 else 0.05)
    assert max(correlations) < 0.15


@pytest.mark.parametrize("sigma", [0.02, 0.04])
@pytest.mark.parametrize("blur", [0.76, 1.1])
def test_blurred_quantum_noise_is_found(sigma, blur, generator):
    gain = (sigma**2 - ELECTRONIC_SIGMA**2) / 0.5
    truth = NoiseModel.poisson_gaussian(gain, ELECTRONIC_SIGMA**2, blur)
    for clean in clean_phantoms():
        model = estimate_noise(
            add_poisson_gaussian_noise(
                clean, gain=gain, electronic_sigma=ELECTRONIC_SIGMA, blur=blur, generator=generator
            )
        )

        levels = common_levels(clean)
        ratio = (model.variance(levels) / truth.variance(levels)).sqrt()
        assert ratio.mean().item() == pytest.approx(1, abs=0.1)
        assert ratio.median().item() == pytest.approx(1, abs=0.1)
        # In the dark the white electronic noise is the larger part: one correlation does not fit.
        assert ratio.numpy() == pytest.approx(1, abs=0.3)
        assert model.gain == pytest.approx(gain, rel=0.2)
        assert lag_1(model) == pytest.approx(lag_1(truth), rel=0.1)


def test_noise_behind_a_display_curve_is_found():
    """A phantom's own noise: clipped, saturated, its variance no line."""
    for clean, noisy in exposures():
        error, levels = noisy - clean, common_levels(clean)
        is_shown = (noisy > noisy.min()) & (noisy < noisy.max())
        levels = levels[(levels > 0.1) & (levels < 0.9)]
        truth = torch.stack(
            [error[((clean - level).abs() < 0.025) & is_shown].square().mean() for level in levels]
        )

        ratio = (estimate_noise(noisy).variance(levels) / truth).sqrt()

        assert ratio.mean().item() == pytest.approx(1, abs=0.1)
        assert ratio.median().item() == pytest.approx(1, abs=0.1)
        assert ratio.numpy() == pytest.approx(1, abs=0.2)


def test_images_with_the_same_noise_are_measured_together(generator):
    truth = NoiseModel.poisson_gaussian(8e-4, 2e-5, 0.76)
    noisy = [
        clean + correlated_noise(clean, truth.variances, truth.kernel, generator)
        for clean in clean_phantoms()
    ]

    model = estimate_noise([image.numpy() for image in noisy])

    levels = torch.linspace(0.2, 0.9, 15)
    ratio = (model.variance(levels) / truth.variance(levels)).sqrt()
    assert ratio.numpy() == pytest.approx(1, abs=0.1)
    assert model.gain == pytest.approx(truth.gain, rel=0.1)
    assert lag_1(model) == pytest.approx(lag_1(truth), rel=0.1)


def test_an_estimate_draws_the_noise_it_was_made_from(generator):
    truth = NoiseModel.poisson_gaussian(2e-3, 1e-5, 0.9)
    clean = torch.linspace(0.1, 0.9, 400).expand(400, 400)
    model = estimate_noise(
        clean + correlated_noise(clean, truth.variances, truth.kernel, generator)
    )

    noise = correlated_noise(clean, model.variances, model.kernel, generator)
    again = estimate_noise(clean + noise)

    assert noise.std().item() == pytest.approx(truth.variance(clean).mean().sqrt().item(), rel=0.05)
    levels = torch.tensor([0.2, 0.5, 0.8])
    ratio = (again.variance(levels) / model.variance(levels)).sqrt()
    assert ratio.numpy() == pytest.approx(1, abs=0.15)
    assert lag_1(again) == pytest.approx(lag_1(model), rel=0.1)


def test_more_noise_gives_a_larger_estimate(generator):
    clean = clean_phantoms()[0]

    found = [
        estimate_noise(add_gaussian_noise(clean, sigma, generator)).variances.mean()
        for sigma in (0.0, 0.005, 0.02, 0.1)
    ]

    assert found == sorted(found)


@pytest.mark.parametrize("shape", [(33, 47), (16, 300), (8, 8)])
def test_small_images_give_an_answer(shape, generator):
    model = estimate_noise(add_gaussian_noise(torch.full(shape, 0.5), 0.05, generator))

    assert model.variances.isfinite().all()
    assert model.kernel.isfinite().all()
    assert model.kernel.square().sum().item() == pytest.approx(1, rel=1e-4)
    assert 0.05 / 3 < model.variances.mean().sqrt() < 0.05 * 3


@pytest.mark.parametrize(
    "image",
    [
        torch.full((64, 64), 0.5),
        torch.zeros(200, 200),
        torch.linspace(0, 1, 200).expand(200, 200),
        (torch.arange(200) > 90).float().expand(200, 200),
    ],
    ids=["gray", "black", "ramp", "edge"],
)
def test_noiseless_images_have_no_noise(image):
    model = estimate_noise(image)

    assert model.variances.max() < 1e-8
    assert model.kernel.isfinite().all()
    assert 0 <= model.gain < 1e-8
    assert 0 <= model.electronic_variance < 1e-8


def test_clipped_parts_do_not_count(generator):
    clean = torch.linspace(-0.5, 1.5, 500).expand(500, 500)

    model = estimate_noise(add_gaussian_noise(clean, 0.05, generator).clamp(0, 1))

    assert model.variances.sqrt().numpy() == pytest.approx(0.05, rel=0.15)


def test_the_image_is_left_as_it_was(generator):
    noisy = add_gaussian_noise(torch.full((40, 40), 0.5), 0.05, generator)
    before = noisy.clone()

    estimate_noise(noisy)

    assert torch.equal(noisy, before)


@pytest.mark.parametrize(
    ("images", "match"),
    [
        (torch.zeros(1, 20, 20), r"shape \(1, 20, 20\); need \(H, W\) of at least 8"),
        (np.zeros((7, 30)), r"shape \(7, 30\); need"),
        (torch.full((20, 20), torch.nan), "not finite"),
        ([], "no image"),
    ],
)
def test_what_cannot_be_measured_is_refused(images, match):
    with pytest.raises(ValueError, match=match):
        estimate_noise(images)
