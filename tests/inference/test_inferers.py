import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from torch.nn import functional

from monai_dental.bundle.find import find_bundle
from monai_dental.errors import UnsupportedImageError
from monai_dental.inference.inferers import (
    AutocastInferer,
    ChannelwiseInferer,
    NoiseAwareInferer,
    TiledInferer,
)
from monai_dental.inference.precision import fastest_dtype
from monai_dental.networks import DenoisingAutoencoder, DenoisingUNet, MedianFilter
from monai_dental.noise import NoiseModel, add_gaussian_noise
from monai_dental.noise.model import CURVE_POINTS


@pytest.fixture
def network():
    torch.manual_seed(0)
    return DenoisingAutoencoder().eval()


@pytest.mark.parametrize("size", [(33, 47), (64, 64), (20, 300), (150, 130), (131, 257)])
def test_tiles_keep_any_size(network, size):
    image = torch.rand(1, 1, *size)

    assert TiledInferer(tile_size=64, halo=16)(image, network).shape == image.shape


@pytest.mark.parametrize("size", [(256, 256), (231, 345), (97, 500)])
def test_result_does_not_depend_on_the_tiles(size):
    network = DenoisingAutoencoder().eval()
    weights = find_bundle("dae") / "models" / "model.pt"
    network.load_state_dict(torch.load(weights, weights_only=True))
    image = torch.rand(1, 1, *size, generator=torch.Generator().manual_seed(0))

    with torch.no_grad():
        tiled = TiledInferer(tile_size=128, halo=32, precision="float32")(image, network)
        whole = TiledInferer(tile_size=1024, halo=32, precision="float32")(image, network)

    torch.testing.assert_close(tiled, whole, atol=2e-6, rtol=0)


@pytest.mark.parametrize("size", [(96, 128), (97, 150)])
def test_mirrored_result_does_not_depend_on_the_tiles_nor_on_the_side(size):
    torch.manual_seed(0)
    network = DenoisingUNet(features=[4, 8], blocks=1).eval()
    torch.nn.init.normal_(network.last.weight, std=0.1)
    image = torch.rand(1, 1, *size)

    with torch.no_grad():
        plain = TiledInferer(256, 48, "float32")(image, network)
        whole = TiledInferer(256, 48, "float32", mirrored=True)(image, network)
        tiled = TiledInferer(128, 48, "float32", mirrored=True)(image, network)
        turned = TiledInferer(256, 48, "float32", mirrored=True)(image.flip(-1), network)

    assert (whole - plain).abs().max() > 0.01
    torch.testing.assert_close(tiled, whole, atol=2e-6, rtol=0)
    if size == (96, 128):  # else the 2 × 2 pixels of the network begin elsewhere
        torch.testing.assert_close(turned.flip(-1), whole, atol=2e-6, rtol=0)


def test_median_of_tiles_is_that_of_the_image():
    image = torch.rand(1, 1, 200, 150, generator=torch.Generator().manual_seed(0))

    tiled = TiledInferer(tile_size=64, halo=16)(image, MedianFilter(5))

    mirrored = functional.pad(image, [2, 2, 2, 2], mode="reflect")
    assert torch.equal(tiled, MedianFilter(5)(mirrored)[..., 2:-2, 2:-2])


class LeftNeighbor(torch.nn.Module):
    """Each pixel becomes the one `shift` to its left; pixels outside the tile are 0."""

    def __init__(self, shift):
        super().__init__()
        self.shift = shift

    def forward(self, image):
        return functional.pad(image, [self.shift, -self.shift])


@pytest.mark.parametrize(("size", "shift"), [((40, 70), 10), ((5, 70), 10), ((3, 4), 10)])
def test_image_goes_on_beyond_its_border_as_its_mirror_image(size, shift):
    image = torch.rand(1, 1, *size, generator=torch.Generator().manual_seed(0))

    shifted = TiledInferer(tile_size=64, halo=16)(image, LeftNeighbor(shift))

    mirrored = np.pad(image.numpy(), [(0, 0)] * 3 + [(shift, 0)], mode="reflect")
    np.testing.assert_array_equal(shifted.numpy(), mirrored[..., : size[1]])


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (7, 3), (100, 90)])
def test_mean_of_neighbors_leaves_a_flat_image_alone_up_to_its_border(size):
    image = torch.full((1, 1, *size), 0.3)

    blurred = TiledInferer(tile_size=64, halo=16)(image, torch.nn.AvgPool2d(5, 1, padding=2))

    torch.testing.assert_close(blurred, image)


def test_without_halo_the_network_pads(network):
    image = torch.rand(1, 1, 200, 150)

    with torch.no_grad():
        plain = TiledInferer(tile_size=64, halo=0, precision="float32")(image, network)
        torch.testing.assert_close(plain, network(image))


@pytest.mark.parametrize(("tile_size", "halo"), [(100, 16), (64, 8), (64, 32), (64, -16)])
def test_tiles_off_the_grid_are_refused(tile_size, halo):
    with pytest.raises(
        ValueError, match=f"tile_size {tile_size} and halo {halo} must be multiples"
    ):
        TiledInferer(tile_size, halo)


@pytest.mark.parametrize("halo", [0, 16])
@pytest.mark.parametrize(("tile_size", "batches"), [(64, [1, 1, 1, 1, 1]), (128, [3, 2])])
def test_small_frames_go_through_the_network_together_and_do_not_mix(
    network, halo, tile_size, batches
):
    frames = torch.rand(1, 5, 40, 40)
    inferer = TiledInferer(tile_size, halo, precision="float32")
    seen = []

    def count(images):
        seen.append(len(images))
        return network(images)

    with torch.no_grad():
        together = inferer(frames, count)
        alone = torch.cat([inferer(frames[:, i : i + 1], network) for i in range(5)], dim=1)

    torch.testing.assert_close(together, alone)
    assert seen[:: len(seen) // len(batches)] == batches


def test_bfloat16_is_close_and_comes_back_as_float32(network):
    image = MetaTensor(torch.rand(2, 1, 32, 32))

    with torch.no_grad():
        fast = AutocastInferer("bfloat16")(image, network)
        exact = AutocastInferer("float32")(image, network)

    assert fast.dtype == exact.dtype == torch.float32
    torch.testing.assert_close(fast, exact, atol=0.01, rtol=0)
    assert not torch.equal(fast, exact)


@pytest.fixture
def convolutions():
    """Torch's settings for convolutions on GPUs, restored afterwards."""
    settings = torch.backends.cudnn.conv
    before = settings.fp32_precision
    yield settings
    settings.fp32_precision = before


@pytest.mark.parametrize("before", ["tf32", "ieee", "none"])
@pytest.mark.parametrize("precision", ["float32", "auto"])
def test_only_float32_keeps_gpus_from_tf32(network, convolutions, before, precision):
    convolutions.fp32_precision = before
    seen = []

    def run(images):
        seen.append(convolutions.fp32_precision)
        return network(images)

    AutocastInferer(precision)(torch.rand(1, 1, 8, 8), run)

    assert seen == ["ieee" if precision == "float32" else before]
    assert convolutions.fp32_precision == before


def test_channels_go_through_the_network_one_by_one(network):
    images = torch.rand(2, 3, 16, 24)

    with torch.no_grad():
        result = ChannelwiseInferer("float32")(images, network)
        one = network(images[1:, 2:])

    torch.testing.assert_close(result[1:, 2:], one)
    assert result.shape == images.shape


def test_precision_of_another_name_is_refused():
    with pytest.raises(
        ValueError, match="precision is 'half'; need one of auto, float32, bfloat16"
    ):
        fastest_dtype(torch.device("cpu"), "half")


def test_automatic_precision_follows_the_processor(monkeypatch):
    for units, dtype in [({"amx_bf16": True}, torch.bfloat16), ({"avx2": True}, torch.float32)]:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda units=units: units)
        assert fastest_dtype(torch.device("cpu")) == dtype


class Told(torch.nn.Module):
    """Returns the noise channels of its input, and nothing of the image."""

    def __init__(self, channel):
        super().__init__()
        self.channel = channel

    def forward(self, image):
        return image[:, self.channel : self.channel + 1]


@pytest.fixture
def frames():
    """Two frames with white noise of different strength."""
    generator = torch.Generator().manual_seed(0)
    frames = torch.full((2, 150, 130), 0.5)
    return torch.stack(
        [add_gaussian_noise(frames[i], s, generator) for i, s in ((0, 0.02), (1, 0.06))]
    )


def test_network_is_told_the_noise_of_each_frame(frames):
    inferer = NoiseAwareInferer(tile_size=64, halo=16)

    sigma, correlated = (inferer(frames[None], Told(channel))[0] for channel in (1, 2))

    assert sigma.mean(dim=(1, 2)).tolist() == pytest.approx([0.02, 0.06], rel=0.05)
    assert (correlated / sigma).abs().max() < 0.1


def test_noise_that_is_known_is_not_estimated(frames):
    inferer = NoiseAwareInferer(
        tile_size=64, halo=16, noise=NoiseModel.poisson_gaussian(0.02, 0.0, blur=0.76)
    )

    sigma, correlated = (inferer(frames[None], Told(channel)) for channel in (1, 2))

    assert float(sigma.median()) == pytest.approx(0.1, rel=0.1)
    assert float((correlated / sigma).mean()) == pytest.approx(inferer.noise.lag_one)
    assert inferer.noise.lag_one > 0.5


def test_pixels_without_noise_stay_as_they_are():
    image = 0.2 * torch.rand(1, 1, 60, 80, generator=torch.Generator().manual_seed(0))
    image[..., 40:] += 0.8
    dark = torch.linspace(-1, 1, CURVE_POINTS).clamp_min(0)  # variances from mid-grey on

    noise = NoiseModel(0.0, 0.0, dark, torch.ones(1, 1))
    inferer = NoiseAwareInferer(48, 16, noise=noise, mirrored=True)
    result = inferer(image, Told(1))

    assert torch.equal(result[..., :30], image[..., :30])
    assert (result[..., 50:] - dark[-1].sqrt()).abs().max() < 0.3
    assert not torch.isclose(result[..., 50:], image[..., 50:]).any()


@pytest.mark.parametrize("noise", [0.05, "$NoiseModel"])
def test_noise_that_is_no_model_is_refused(noise):
    with pytest.raises(TypeError, match="need null, or a component of the config"):
        NoiseAwareInferer(noise=noise)


@pytest.mark.parametrize("image", [torch.zeros(1, 1, 7, 20), torch.full((1, 1, 20, 20), torch.nan)])
def test_image_whose_noise_cannot_be_estimated_is_refused(image):
    with pytest.raises(UnsupportedImageError, match="its noise cannot be estimated: image has"):
        NoiseAwareInferer()(image, Told(1))


def test_noise_is_estimated_on_one_thread_and_the_network_runs_on_all(monkeypatch):
    threads = {}

    def estimate(frame):
        threads["estimate"] = torch.get_num_threads()
        return NoiseModel.poisson_gaussian(0, 0.01)

    def network(channels):
        threads["network"] = torch.get_num_threads()
        return channels[:, :1]

    monkeypatch.setattr("monai_dental.inference.inferers.estimate_noise", estimate)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        NoiseAwareInferer()(torch.rand(1, 1, 40, 40), network)
        after = torch.get_num_threads()
    finally:
        torch.set_num_threads(before)

    assert threads == {"estimate": 1, "network": 2}
    assert after == 2
