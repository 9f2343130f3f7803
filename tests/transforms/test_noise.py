from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from monai.data import MetaTensor

from monai_dental.errors import UnsupportedImageError
from monai_dental.noise import NoiseModel, correlated_noise, estimate_noise
from monai_dental.transforms import (
    EstimateNoised,
    FixedGaussianNoised,
    FixedRecorruptd,
    NoiseMapd,
    Recorruptd,
)


@pytest.fixture
def image():
    return MetaTensor(5 * torch.rand(2, 9, 7, generator=torch.Generator().manual_seed(0)) - 1)


@pytest.fixture
def model():
    """Noise that depends on the signal and is correlated."""
    return NoiseModel.poisson_gaussian(0.004, 1e-4, blur=0.8)


@pytest.fixture
def clean():
    """A slope, which the guide of the noise follows."""
    return (0.1 + 0.8 * torch.linspace(0, 1, 400)).expand(1, 400, 400).contiguous()


@pytest.fixture
def noisy(clean, model):
    """The slope with noise, and the ideal estimate of `EstimateNoised` for it."""
    generator = torch.Generator().manual_seed(0)
    noise = correlated_noise(clean, model.variances, model.kernel, generator)
    return {
        "image": MetaTensor(clean + noise),
        "noise_variances": model.variances,
        "noise_kernel": model.kernel,
        "noise_octaves": model.octaves,
    }


def test_fixed_noise_is_the_same_at_every_call(image):
    add_noise = FixedGaussianNoised("image", sigma=0.07, seed=3)

    first, second = (add_noise({"image": image})["image"] for _ in range(2))

    assert torch.equal(first, second)
    assert not torch.equal(first, image)


def test_fixed_noise_differs_between_images_and_seeds(image):
    def noise(data, seed):
        return FixedGaussianNoised("image", sigma=1.0, seed=seed)({"image": data})["image"] - data

    assert not torch.allclose(noise(image, 0), noise(image + 1, 0), atol=0.01)
    assert not torch.allclose(noise(image, 0), noise(image, 1), atol=0.01)


def test_equal_images_under_two_keys_get_equal_noise(image):
    data = FixedGaussianNoised(["image", "label"], sigma=0.07)({"image": image, "label": image})

    assert torch.equal(data["image"], data["label"])


def test_estimate_is_kept_beside_the_image(noisy):
    image = noisy["image"][:, :128, :128]

    data = EstimateNoised("image")({"image": image})

    expected = estimate_noise(image.as_tensor()[0])
    assert torch.equal(data["noise_variances"], expected.variances)
    assert torch.equal(data["noise_kernel"], expected.kernel)
    assert data["image"] is image


@pytest.mark.parametrize("tau", [0.5, 1.0])
def test_noise_of_input_and_target_is_uncorrelated_and_of_known_strength(noisy, clean, model, tau):
    data = Recorruptd("image", tau=tau).set_random_state(seed=0)(noisy)

    whitened = model.variance(clean).sqrt()
    first, second = ((data[key] - clean) / whitened for key in ("image", "label"))
    for columns in torch.arange(400).chunk(2):  # the dark and the bright half
        x, y = first[..., columns].flatten(), second[..., columns].flatten()
        assert x.var().item() == pytest.approx(1 + tau**2, rel=0.05)
        assert y.var().item() == pytest.approx(1 + 1 / tau**2, rel=0.05)
        assert torch.corrcoef(torch.stack([x, y]))[0, 1].item() == pytest.approx(0, abs=0.02)
    # Not even with each other's neighbours, though each image's own are correlated.
    assert (first[..., 1:] * second[..., :-1]).mean().item() == pytest.approx(0, abs=0.03)
    assert (first[..., 1:] * first[..., :-1]).mean().item() > 0.3


def test_drawn_noise_that_is_too_weak_leaves_a_correlation(noisy, clean):
    # What the test above would see if the noise were not drawn from that of the image.
    weak = {**noisy, "noise_variances": noisy["noise_variances"] / 2}

    data = Recorruptd("image").set_random_state(seed=0)(weak)

    pair = torch.stack([(data[key] - clean).flatten() for key in ("image", "label")])
    assert torch.corrcoef(pair)[0, 1] > 0.1


@pytest.mark.parametrize("tau", [0.5, 2.0])
def test_noisy_image_is_the_weighted_mean_of_input_and_target(noisy, tau):
    data = Recorruptd("image", tau=tau)(noisy)

    mean = (data["image"] + tau**2 * data["label"]) / (1 + tau**2)
    torch.testing.assert_close(mean, noisy["image"].as_tensor(), atol=1e-6, rtol=0)
    assert not torch.equal(data["image"], data["label"])


@pytest.mark.parametrize("transform", [Recorruptd, FixedRecorruptd])
def test_pair_has_the_same_noise_with_either_sign(noisy, transform):
    data = transform("image", tau=0.25, is_paired=True)(noisy)

    image = noisy["image"].as_tensor()
    (plus, minus), (target, other) = (data[key] - image for key in ("image", "label"))
    assert plus.std() > 0.001
    for half, opposite in ((plus, minus), (target, other), (plus, target / 16)):
        torch.testing.assert_close(half, -opposite, atol=1e-6, rtol=0)


def test_pairs_take_most_of_the_chance_out_of_the_gradient(noisy, clean):
    # Of the best factor that shrinks the image towards its mean, a network of one weight.
    def gradients(is_paired):
        recorrupt = Recorruptd("image", tau=0.25, is_paired=is_paired).set_random_state(seed=0)
        mean = clean.mean()
        for _ in range(8):
            data = recorrupt(noisy)
            x, y = data["image"] - mean, data["label"] - mean
            yield float((2 * (0.9 * x - y) * x).mean())

    single, paired = (torch.tensor(list(gradients(is_paired))) for is_paired in (False, True))
    assert paired.std() < 0.5 * single.std()
    assert float(paired.mean()) == pytest.approx(float(single.mean()), abs=float(single.std()))


def test_estimate_is_used_up(noisy):
    data = Recorruptd("image", label_key="target")({**noisy, "name": "a"})

    assert set(data) == {"image", "target", "name"}
    assert "noise_kernel" in noisy


@pytest.mark.parametrize("tau", [0, -0.5])
@pytest.mark.parametrize("transform", [Recorruptd, FixedRecorruptd])
def test_tau_that_is_not_positive_is_refused(transform, tau):
    with pytest.raises(ValueError, match=f"tau must be positive, got {tau}"):
        transform("image", tau=tau)


def test_recorruption_is_new_at_each_call_and_determined_by_the_seed(noisy):
    recorrupt = Recorruptd("image")

    def inputs(seed):
        recorrupt.set_random_state(seed=seed)
        return [recorrupt(noisy)["image"] for _ in range(2)]

    first, second = inputs(1)
    assert not torch.equal(first, second)
    assert torch.equal(first, inputs(1)[0])
    assert torch.equal(second, inputs(1)[1])
    assert not torch.equal(first, inputs(2)[0])


def test_fixed_recorruption_is_the_same_at_every_call(noisy):
    recorrupt = FixedRecorruptd("image", label_key="target", tau=0.7)

    first, second = recorrupt(noisy), recorrupt(noisy)

    for key in ("image", "target"):
        assert torch.equal(first[key], second[key])
    mean = (first["image"] + 0.49 * first["target"]) / 1.49
    torch.testing.assert_close(mean, noisy["image"].as_tensor(), atol=1e-6, rtol=0)


def test_fixed_recorruption_differs_between_images_and_seeds(noisy):
    def drawn(data, seed=0):
        return FixedRecorruptd("image", seed=seed)(data)["image"] - data["image"].as_tensor()

    turned = {**noisy, "image": noisy["image"].flip(-2)}
    assert not torch.allclose(drawn(noisy), drawn(turned), atol=0.01)
    assert not torch.allclose(drawn(noisy), drawn(noisy, seed=1), atol=0.01)


def test_fixed_recorruption_is_the_same_in_threads_side_by_side(noisy):
    recorrupt = FixedRecorruptd("image")
    crop = noisy["image"][:, :128, :128]
    images = [{**noisy, "image": crop + offset / 100} for offset in range(8)] * 4
    expected = [recorrupt(data)["image"] for data in images]

    with ThreadPoolExecutor(4) as threads:  # as `CacheDataset` has them
        drawn = list(threads.map(lambda data: recorrupt(data)["image"], images))

    assert all(torch.equal(a, b) for a, b in zip(drawn, expected, strict=True))


def test_image_that_is_too_small_to_estimate_is_named():
    image = MetaTensor(torch.rand(1, 7, 30), meta={"filename_or_obj": "thumb.png"})

    with pytest.raises(UnsupportedImageError, match=r"thumb\.png: .*7.*8 pixels"):
        EstimateNoised("image")({"image": image})


def test_image_without_noise_is_named_in_a_warning():
    image = MetaTensor(torch.zeros(1, 64, 64), meta={"filename_or_obj": "blank.png"})

    with pytest.warns(UserWarning, match=r"blank\.png: no noise found"):
        EstimateNoised("image")({"image": image})


def test_clipped_pixels_get_no_noise(noisy):
    noisy["image"] = noisy["image"].clamp(0.3, 0.6)
    noisy["image"] = (noisy["image"] - 0.3) / 0.3
    clipped = (noisy["image"] == 0) | (noisy["image"] == 1)

    result = Recorruptd("image").set_random_state(seed=0)(noisy)

    assert 0.1 < clipped.float().mean() < 0.9
    assert torch.equal(result["image"][clipped], noisy["image"][clipped])
    assert torch.equal(result["label"][clipped], noisy["image"][clipped])
    assert not (result["image"] == noisy["image"])[~clipped].any()


def test_noise_map_tells_the_noise_at_each_pixel_and_its_correlation(noisy, clean, model):
    told = NoiseMapd("image", "noise_map", excess=1.25)(noisy)["noise_map"]

    expected = (1.25 * model.variance(clean[0])).sqrt()
    inside = (slice(None), slice(8, -8))  # the guide repeats the edge
    means = told[0][inside].mean(dim=0), expected[inside].mean(dim=0)
    torch.testing.assert_close(*means, rtol=0.03, atol=0)
    torch.testing.assert_close(told[1], told[0] * model.lag_one)
