import math
import sys

import numpy as np
import pytest

from monai_dental.benchmark.peers import PEERS, Peer, mean_psnr, tune, tuned
from monai_dental.errors import MissingPackageError, TuningError
from monai_dental.metrics import psnr
from monai_dental.phantom import simulate_exposure

SIGMA = 0.07
PARAMETERS = {
    "median": 5.0,
    "gaussian": 1.0,
    "non_local_means": 0.07,
    "total_variation": 0.1,
    "bilateral": 0.3,
    "wavelet": 0.07,
    "bm3d": 0.07,
}


@pytest.fixture(scope="module")
def clean():
    exposure = simulate_exposure(1, size=(128, 128), bits_stored=16)
    return (exposure.clean / 65535).astype(np.float32)


@pytest.fixture(scope="module")
def noisy(clean):
    noise = np.random.default_rng(0).normal(0, SIGMA, clean.shape)
    return (clean + noise).astype(np.float32)


@pytest.fixture(params=PEERS)
def peer(request):
    if request.param == "bm3d":
        pytest.importorskip("bm3d", reason="bm3d is for non-commercial use only, not a dependency")
    return PEERS[request.param]


def peak_at(optimum, grid=(0.25, 0.5, 1.0, 2.0)):
    """A filter that adds an error of |log(parameter / optimum)| + 1 to its image."""
    return Peer(
        "peak", lambda image, value: image + 1 + abs(math.log(value / optimum)), "value", grid
    )


def test_every_peer_has_a_test():
    assert set(PARAMETERS) == set(PEERS)


def test_peer_lowers_the_error_and_leaves_its_input_alone(peer, noisy, clean):
    before = noisy.copy()

    denoised = peer.denoise(noisy, PARAMETERS[peer.name])

    np.testing.assert_array_equal(noisy, before)
    assert denoised.shape == noisy.shape
    assert denoised.dtype == np.float32
    assert psnr(denoised, clean, 1.0) > psnr(noisy, clean, 1.0) + 3


def test_values_outside_of_the_unit_range_are_kept(peer, noisy):
    image, parameter = noisy[40:88, 40:104], PARAMETERS[peer.name]

    below, above = (peer.denoise(image + np.float32(shift), parameter) for shift in (-1, 1))

    np.testing.assert_allclose(above, below + 2, atol=2e-3)


def test_peer_refuses_integer_images(peer):
    with pytest.raises(ValueError, match=r"image is uint8 of shape \(8, 8\); need float32"):
        peer.denoise(np.zeros((8, 8), np.uint8), 5.0)


def test_peer_refuses_a_parameter_that_is_not_positive(peer, noisy):
    with pytest.raises(ValueError, match="must be positive, got 0"):
        peer.denoise(noisy, 0)


def test_median_has_the_kernels_that_opencv_has_for_float_images(noisy):
    with pytest.raises(ValueError, match="kernel size must be 3 or 5 for float images, got 7"):
        PEERS["median"].denoise(noisy, 7)


@pytest.mark.parametrize(
    ("name", "package"),
    [("bm3d", "bm3d"), ("non_local_means", "skimage"), ("total_variation", "skimage")],
)
def test_missing_package_names_the_extra(monkeypatch, noisy, name, package):
    monkeypatch.setitem(sys.modules, package, None)

    with pytest.raises(MissingPackageError, match=f"{name} needs .*extra 'benchmark'"):
        PEERS[name].denoise(noisy, 0.1)


@pytest.mark.parametrize("name", ["gaussian", "non_local_means", "total_variation"])
def test_tuning_beats_the_grid(name, noisy, clean):
    peer = PEERS[name]

    tuned = tune(peer, [noisy], [clean])

    def score(parameter):
        return mean_psnr(peer, parameter, [noisy], clean=[clean])

    best, least = score(tuned), max(score(parameter) for parameter in peer.grid)
    assert best >= least
    assert best > max(score(peer.grid[0]), score(peer.grid[-1]))
    assert best >= max(score(tuned / 1.1), score(tuned * 1.1)) - 0.02


@pytest.mark.parametrize("optimum", [0.03, 0.25, 0.4, 0.7, 1.0, 1.3, 2.0, 9.0])
def test_tuning_finds_the_optimum_within_the_grid_and_beyond(optimum, clean):
    tuned = tune(peak_at(optimum), [clean], [clean])

    assert tuned == pytest.approx(optimum, rel=0.1)


@pytest.mark.parametrize("optimum", [0.71, 0.9, 1.1, 1.4])
def test_tuning_is_not_misled_by_a_curve_that_falls_steeply(optimum, clean):
    def error(parameter):
        return 0.1 * (optimum / parameter if parameter < optimum else 8 * parameter / optimum)

    cliff = Peer("cliff", lambda image, p: image + error(p), "p", (0.25, 0.5, 1.0, 2.0))

    tuned = tune(cliff, [clean], [clean])

    assert 0.8 * optimum < tuned < optimum


@pytest.mark.parametrize("optimum", [1e-4, 1e4])
def test_tuning_refuses_to_stop_at_an_end(optimum, clean):
    with pytest.raises(TuningError, match="lies at an end; need training images"):
        tune(peak_at(optimum), [clean], [clean])


def test_tuning_on_images_that_no_filter_makes_better_is_refused(clean):
    blurred = PEERS["gaussian"].denoise(clean, 1.0)

    with pytest.raises(TuningError, match="gaussian: sigma in pixels: the best of 0.0125 to"):
        tune(PEERS["gaussian"], [blurred], [clean])


def test_filter_that_makes_the_images_worse_leaves_them_alone(clean):
    blurred = PEERS["gaussian"].denoise(clean, 1.0)

    denoise, parameter = tuned(PEERS["gaussian"], [blurred], [clean])

    np.testing.assert_array_equal(denoise(blurred), blurred)
    assert parameter == "none"


def test_filter_whose_best_parameter_is_not_reached_is_refused(clean):
    fade = Peer("fade", lambda image, value: image / (1 + value), "value", (0.25, 0.5, 1.0, 2.0))

    with pytest.raises(TuningError, match="fade: value: the best of 0.25 to 64 lies at an end"):
        tuned(fade, [clean + 1], [0 * clean])


def test_tuning_without_noise_is_refused(clean):
    with pytest.raises(ValueError, match="gaussian: mean PSNR at 0.1 is inf"):
        tune(PEERS["gaussian"], [clean], [clean])


def test_fixed_parameter_is_not_searched(noisy, clean):
    assert tune(PEERS["median"], [noisy], [clean]) == 5.0


def test_tuning_weighs_all_images(noisy, clean):
    cleaner = (noisy + 3 * clean) / np.float32(4)

    tuned = [
        tune(PEERS["gaussian"], images, [clean] * len(images))
        for images in ([cleaner], [cleaner, noisy], [noisy])
    ]

    assert tuned == sorted(tuned)
    assert len(set(tuned)) == 3


def test_images_without_a_partner_are_refused(noisy, clean):
    with pytest.raises(ValueError, match="got 1 noisy and 2 clean images; need pairs"):
        tune(PEERS["gaussian"], [noisy], [clean, clean])
