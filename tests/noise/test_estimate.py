from functools import cache

import cv2
import numpy as np
import pytest
import torch
from octaves import split_octaves

from monai_dental.formats import read_radiograph
from monai_dental.noise import (
    NoiseModel,
    add_gaussian_noise,
    add_poisson_gaussian_noise,
    correlated_noise,
    estimate_noise,
)
from monai_dental.noise.model import interpolate_variance
from monai_dental.phantom import simulate_exposure

PHANTOMS = (0, 7, 12)

missed = pytest.mark.xfail(strict=True, reason="an aim that the estimate does not reach yet")
"""Once it is reached the test fails, and the mark goes."""

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
        correlations.append(abs(model.lag_one))
        assert model.gain * 0.5 < 0.2 * sigma**2
        assert model.electronic_variance == pytest.approx(sigma**2, rel=0.2)
    # Fine anatomy, where the noise is weak, passes for some correlation.
    assert np.median(correlations) < (0.13 if sigma < 0.01 else 0.05)
    assert max(correlations) < 0.15


@pytest.mark.parametrize(
    ("blur", "sigma"),
    [(0.76, 0.02), (0.76, 0.04), (1.1, 0.02), (1.1, 0.04)],
)
def test_blurred_quantum_noise_is_found(blur, sigma, generator):
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
        assert model.lag_one == pytest.approx(truth.lag_one, rel=0.1)


def test_noise_behind_a_display_curve_is_found():
    """A phantom's own noise: clipped, saturated, with nonlinear variance."""
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
    assert model.lag_one == pytest.approx(truth.lag_one, rel=0.1)


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
    assert again.lag_one == pytest.approx(model.lag_one, rel=0.1)


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


def octaves_at(model, clean):
    """Return the standard deviation in each octave, over the pixels of an image."""
    variances = [interpolate_variance(clean, octave).mean() for octave in model.octaves]
    return torch.stack(variances).sqrt()


def processed(program, clean, noisy):
    """Return both images after a vendor's processing."""
    return [torch.from_numpy(np.asarray(program(i.numpy()), np.float32)) for i in (clean, noisy)]


def compressed(quality):
    def compress(image):
        stored = np.rint(image.clip(0, 1) * 255).astype(np.uint8)
        _, content = cv2.imencode(".jpg", stored, [cv2.IMWRITE_JPEG_QUALITY, quality])
        return cv2.imdecode(content, cv2.IMREAD_GRAYSCALE) / 255

    return compress


PROGRAMS = {
    "none": lambda image: image,
    "median": lambda image: cv2.medianBlur(image, 3),
    "twice the size": lambda image: cv2.resize(image, None, fx=2, fy=2),
    "JPEG 70": compressed(70),
    "JPEG 95": compressed(95),
    "unsharp mask": lambda image: image + 0.8 * (image - cv2.GaussianBlur(image, (0, 0), 2.0)),
}


MISSED = {
    (0.0, "twice the size"), (0.0, "JPEG 70"), (0.0, "JPEG 95"), (2.5, "twice the size"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("blur", "program"),
    [
        pytest.param(blur, program, marks=missed if (blur, program) in MISSED else ())
        for blur in (0.0, 0.76, 1.4, 1.8, 2.5)
        for program in PROGRAMS
    ],
)
def test_noise_is_found_in_each_octave_whatever_a_program_did(blur, program, generator):
    """The mean over phantoms is tested; the estimate of one image is a little off, but not far."""
    ratios = []
    for clean in clean_phantoms():
        sigma, electronic = 0.03, 0.003
        noisy = add_poisson_gaussian_noise(
            clean, gain=(sigma**2 - electronic**2) / 0.5, electronic_sigma=electronic, blur=blur,
            generator=generator,
        )  # fmt: skip
        shown, noisy = processed(PROGRAMS[program], clean, noisy)
        truth = torch.stack([o.square().mean() for o in split_octaves(noisy - shown)]).sqrt()
        ratios.append((octaves_at(estimate_noise(noisy), shown) / truth).numpy())

    assert np.mean(ratios, axis=0) == pytest.approx(1, abs=0.15)
    assert np.array(ratios) == pytest.approx(1, abs=0.3)


def test_bone_is_not_taken_for_noise():
    """Simulated panoramics have fine trabecular bone almost everywhere, and here no noise."""
    exposure = simulate_exposure(3, size=(717, 1471), bits_stored=16, view="panoramic")
    clean = torch.from_numpy(exposure.clean.astype(np.float32) / 65535)
    generator = torch.Generator().manual_seed(0)
    for sigma in (0.003, 0.01):
        truth = add_gaussian_noise(torch.zeros_like(clean), sigma, generator)

        found = octaves_at(estimate_noise(clean + truth), clean)

        total = float(found.square().sum().sqrt())
        assert total < 1.1 * sigma
    assert float(octaves_at(estimate_noise(clean), clean).square().sum().sqrt()) < 0.001


BY_HAND = {
    # file: intensity and standard deviation, trend of degree 5 taken out
    "iox_2": (0.042, 0.0183),  # air, rows 30 to 250, columns 460 to 590
    "iox_3": (0.109, 0.0251),  # air, 20 to 200, 370 to 530
    "jpg_5": (0.062, 0.0089),  # air, 20 to 220, 60 to 330
    "rvg_1": (0.983, 0.0017),  # dentin, 0 to 130, 0 to 150
    "rvg_2": (0.899, 0.0027),  # dentin, 0 to 120, 600 to 740
    "rvg_3": (0.871, 0.0030),  # dentin, 150 to 290, 470 to 600
}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=missed if n == "jpg_5" else ()) for n in BY_HAND]
)
def test_noise_of_real_sensors_is_what_was_measured_by_hand(name, shared_data):
    intensity, sigma = BY_HAND[name]
    image = read_radiograph(shared_data / "real_noise" / f"{name}.png").pixels
    if image.max() < 0.1:
        image = image * np.float32(65535 / 4095)

    model = estimate_noise(image)

    assert model.variance(torch.tensor(intensity)).sqrt().item() == pytest.approx(sigma, rel=0.15)


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
