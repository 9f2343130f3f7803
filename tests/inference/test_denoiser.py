import json
import shutil

import numpy as np
import pytest

from monai_dental.bundle.find import find_bundle
from monai_dental.errors import BundleError
from monai_dental.filters import blend
from monai_dental.inference.denoiser import Denoiser


@pytest.fixture(scope="module")
def denoiser():
    return Denoiser(find_bundle("dae"))


@pytest.fixture
def pixels():
    generator = np.random.default_rng(0)
    return generator.random((70, 45), dtype=np.float32)


@pytest.fixture
def bundle_copy(tmp_path):
    return shutil.copytree(find_bundle("dae"), tmp_path / "bundle")


@pytest.mark.parametrize("shape", [(33, 47), (5, 6), (600, 530), (3, 40, 41)])
def test_result_has_the_shape_and_range_of_an_image(denoiser, shape):
    pixels = np.random.default_rng(0).random(shape, dtype=np.float32)

    denoised = denoiser.denoise(pixels)

    assert denoised.shape == shape
    assert denoised.dtype == np.float32
    assert 0 <= denoised.min() <= denoised.max() <= 1


def test_strength_zero_is_identity(denoiser, pixels):
    assert np.array_equal(denoiser.denoise(pixels, strength=0), pixels)


@pytest.mark.parametrize("strength", [0, 0.5, 1])
def test_values_beyond_the_range_are_clipped_at_any_strength(denoiser, pixels, strength):
    denoised = denoiser.denoise(pixels * 3 - 1, strength)

    assert 0 <= denoised.min() <= denoised.max() <= 1
    assert denoised.dtype == np.float32


def test_strength_is_the_share_of_the_correction(denoiser, pixels):
    half, whole = (denoiser.denoise(pixels, strength) for strength in (0.5, 1.0))

    np.testing.assert_allclose(half - pixels, (whole - pixels) / 2, atol=1e-6)


def test_noise_of_the_trained_kind_is_reduced(denoiser):
    rows = np.linspace(0, 1, 64, dtype=np.float32)
    clean = np.tile(0.2 + 0.5 * rows[:, None] ** 2, (1, 64)).astype(np.float32)
    noise = np.random.default_rng(0).normal(0, 0.07, clean.shape).astype(np.float32)

    denoised = denoiser.denoise((clean + noise).clip(0, 1))

    roughness = [np.diff(image, axis=1).std() for image in (clean + noise, denoised)]
    assert roughness[1] < roughness[0] / 3


def test_flat_image_stays_as_it_is(denoiser):
    flat = np.full((20, 20), 0.4, dtype=np.float32)

    np.testing.assert_allclose(denoiser.denoise(flat), flat, atol=1e-6)


def test_frames_are_scaled_each_by_itself(denoiser, pixels):
    frames = np.stack([pixels, 0.1 * pixels])

    together = denoiser.denoise(frames)

    np.testing.assert_allclose(together[1], denoiser.denoise(frames[1]), atol=1e-6)


def test_median_variant_runs_without_weights(pixels):
    denoised = Denoiser(find_bundle("dae"), "inference_median").denoise(pixels)

    assert denoised.std() < pixels.std()


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_strength_outside_its_range_is_refused(denoiser, pixels, strength):
    with pytest.raises(ValueError, match="strength is .*; need 0 to 1"):
        denoiser.denoise(pixels, strength)


def test_other_number_of_axes_is_refused(denoiser):
    with pytest.raises(ValueError, match=r"need \(H, W\) or \(frames, H, W\)"):
        denoiser.denoise(np.zeros((1, 1, 4, 4), dtype=np.float32))


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.dtype(">f4")])
def test_pixels_of_any_precision_are_denoised_in_float32(denoiser, pixels, dtype):
    given = pixels.astype(dtype)

    denoised = denoiser.denoise(given)

    assert denoised.dtype == np.float32
    assert np.array_equal(denoised, denoiser.denoise(given.astype(np.float32)))


@pytest.mark.parametrize("name", ["dae", "unet", "blind"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_pixels_that_are_not_finite_are_refused(pixels, name, value):
    pixels[3, 4] = value

    with pytest.raises(ValueError, match="pixels have values that are not finite"):
        Denoiser(find_bundle(name)).denoise(pixels)


@pytest.mark.parametrize("dtype", [np.uint8, np.bool_])
def test_stored_values_are_refused(denoiser, pixels, dtype):
    with pytest.raises(ValueError, match="need floating-point numbers in"):
        denoiser.denoise(pixels.astype(dtype))


def test_missing_device_is_named():
    with pytest.raises(BundleError, match="cuda:99: no such device here"):
        Denoiser(find_bundle("dae"), device="cuda:99")


def test_missing_weights_are_never_replaced_by_random_ones(bundle_copy):
    (bundle_copy / "models" / "model.pt").unlink()

    with pytest.raises(BundleError, match=r"model\.pt: no weights here"):
        Denoiser(bundle_copy)


def test_other_weights_are_refused(bundle_copy):
    (bundle_copy / "models" / "model.pt").write_bytes(b"no weights")

    with pytest.raises(BundleError, match="these are not weights of this bundle's network"):
        Denoiser(bundle_copy)


def test_bundle_that_always_runs_at_native_size_needs_no_flag_for_it(bundle_copy, pixels):
    config = {
        "bundle_root": ".",
        "device": "$torch.device('cpu')",
        "network": {"_target_": "monai_dental.networks.MedianFilter", "kernel_size": 3},
        "inferer": {"_target_": "monai_dental.inference.inferers.TiledInferer"},
        "array_transforms": [],
        "restore_transforms": [],
        "derivation": "none",
    }
    (bundle_copy / "configs" / "plain.json").write_text(json.dumps(config))

    denoised = Denoiser(bundle_copy, "plain").denoise(pixels)

    assert denoised.shape == pixels.shape
    expected = np.median(np.lib.stride_tricks.sliding_window_view(pixels, (3, 3)), axis=(-2, -1))
    np.testing.assert_allclose(denoised[1:-1, 1:-1], expected, atol=1e-6)


def test_network_result_blends_to_what_denoise_returns(denoiser, pixels):
    result = denoiser.network_result(pixels)

    assert np.array_equal(blend(pixels, result, 0.3), denoiser.denoise(pixels, 0.3))
