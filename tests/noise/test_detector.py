import numpy as np
import pytest
import torch

from monai_dental.noise.detector import Detector, Odds, draw_detector, expose
from monai_dental.noise.model import CURVE_POINTS

SIGMA = 0.02


@pytest.fixture
def shoot():
    """Expose a grey image, or another, with a detector of given properties."""

    def shoot(clean=None, seed=0, **options):
        clean = torch.full((160, 160), 0.5) if clean is None else clean
        variances = torch.full((CURVE_POINTS,), SIGMA**2)
        detector = Detector(
            **{"quantum_variances": variances, "kernel": torch.ones(1, 1), **options}
        )
        random = np.random.RandomState(seed)
        return expose(clean, detector, random, torch.Generator().manual_seed(seed))

    return shoot


def test_noise_is_what_the_noisy_image_has_beyond_the_clean_one(shoot):
    noisy, shown, noise = shoot()

    torch.testing.assert_close(noisy - shown, noise)
    assert float(noise.std()) == pytest.approx(SIGMA, rel=0.05)


def test_programs_act_on_noisy_and_clean_image_alike(shoot):
    noisy, shown, noise = shoot(steps=(lambda image: 0.5 * image,))

    assert float(shown.mean()) == pytest.approx(0.25)
    assert float(noise.std()) == pytest.approx(SIGMA / 2, rel=0.05)


def test_pixels_of_another_pitch_correlate_and_keep_their_noise(shoot):
    _, _, noise = shoot(pitch=2.0)

    neighbours = (noise[:, 1:] * noise[:, :-1]).mean() / noise.square().mean()
    assert float(neighbours) > 0.6
    assert float(noise.std()) == pytest.approx(SIGMA, rel=0.1)


@pytest.mark.parametrize("is_line_vertical", [False, True])
def test_lines_have_offsets_of_their_own(shoot, is_line_vertical):
    _, _, noise = shoot(line_sigma=0.05, is_line_vertical=is_line_vertical)

    means = noise.mean(dim=0 if is_line_vertical else 1)
    assert float(means.std()) == pytest.approx(0.05, rel=0.2)


def test_uneven_noise_varies_smoothly_and_keeps_its_mean_square(shoot):
    powers = []
    for seed in range(20):
        _, _, noise = shoot(unevenness=0.3, seed=seed)
        tiles = noise.reshape(4, 40, 4, 40).square().mean(dim=(1, 3))
        powers.append(tiles.flatten())
        assert float(tiles.max() / tiles.min()) > 1.5  # 1.2 by chance alone

    assert float(torch.stack(powers).mean().sqrt()) == pytest.approx(SIGMA, rel=0.1)


def test_bad_pixels_are_in_the_image_and_not_in_the_noise(shoot):
    noisy, shown, noise = shoot(bad_share=0.01, bad_lines=1)

    is_bad = (noisy - shown - noise).abs() > 1e-6
    assert 0.005 < float(is_bad.float().mean()) < 0.03
    assert float(noise.abs().max()) < 6 * SIGMA


def test_files_round_and_compress(shoot):
    stored, _, _ = shoot(levels=255)
    compressed, _, _ = shoot(jpeg_quality=80)

    assert torch.equal((255 * stored).round(), 255 * stored)
    assert not torch.equal(stored, compressed)


@pytest.mark.parametrize(
    "odds", [Odds(), Odds(plain=0.0, uneven=1.0, resampled=1.0, smoothed=1.0, compressed=1.0)]
)
def test_the_same_seed_gives_the_same_exposure_of_any_drawn_detector(odds):
    clean = torch.rand(64, 64, generator=torch.Generator().manual_seed(1))
    for seed in range(60):
        first, second = (
            expose(
                clean, draw_detector(np.random.RandomState(seed), SIGMA, odds),
                np.random.RandomState(seed), torch.Generator().manual_seed(seed),
            )
            for _ in range(2)
        )  # fmt: skip
        for one, other in zip(first, second, strict=True):
            assert one.isfinite().all()
            assert one.shape == clean.shape
            assert torch.equal(one, other)


def test_plain_noise_is_all_that_a_plain_exposure_has():
    clean = torch.full((96, 96), 0.5)
    for seed in range(30):
        random = np.random.RandomState(seed)
        odds = Odds(plain=1.0, uneven=1.0, resampled=1.0, smoothed=1.0, compressed=1.0)
        detector = draw_detector(random, SIGMA, odds)
        noisy, shown, noise = expose(clean, detector, random, torch.Generator().manual_seed(seed))

        assert torch.equal(shown, clean)
        torch.testing.assert_close(noisy - clean, noise)
        assert noisy.unique().numel() > 5000  # neither rounded nor compressed
        assert float(noise.square().mean().sqrt()) == pytest.approx(SIGMA, rel=0.3)


@pytest.mark.parametrize("plain", [0.0, 1.0])
def test_white_noise_is_as_frequent_as_asked_for(plain):
    kernels = [
        draw_detector(np.random.RandomState(seed), SIGMA, Odds(plain=plain, white=0.6)).kernel
        for seed in range(400)
    ]

    assert sum(kernel.numel() == 1 for kernel in kernels) / 400 == pytest.approx(0.6, abs=0.07)


def test_draws_cover_coarse_and_fine_noise():
    clean = torch.full((128, 128), 0.5)
    correlations = []
    for seed in range(150):
        detector = draw_detector(np.random.RandomState(seed), SIGMA)
        _, _, noise = expose(
            clean, detector, np.random.RandomState(seed), torch.Generator().manual_seed(seed)
        )
        noise = noise - noise.mean()
        power = noise.square().mean().clamp_min(1e-12)
        correlations.append(float((noise[:, 1:] * noise[:, :-1]).mean() / power))

    assert np.quantile(correlations, 0.2) < 0.1
    assert np.quantile(correlations, 0.8) > 0.7
