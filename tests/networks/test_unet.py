import copy
import warnings

import numpy as np
import onnxruntime
import pytest
import torch

from monai_dental.inference.inferers import TiledInferer
from monai_dental.networks import DenoisingUNet


def woken(*features, **options):
    """Return a network that is no longer the identity, its initial state."""
    torch.manual_seed(0)
    network = DenoisingUNet(features, **options).eval()
    torch.nn.init.normal_(network.last.weight, std=0.3)
    return network


@pytest.fixture
def network():
    return woken(8, 16, 32)


@pytest.fixture
def image():
    return torch.rand(2, 1, 33, 47, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size", [(33, 47), (64, 64), (8, 17), (1, 1), (65, 130)])
def test_unet_keeps_any_size(network, size):
    image = torch.rand(2, 1, *size)

    with torch.no_grad():
        assert network(image).shape == image.shape


@pytest.mark.parametrize("features", [(4,), (4, 6), (4, 6, 8, 10)])
def test_unet_of_another_depth_keeps_any_size(image, features):
    with torch.no_grad():
        assert DenoisingUNet(features, blocks=1)(image).shape == image.shape


def test_what_is_told_of_the_noise_counts(image):
    network = DenoisingUNet((8, 16), blocks=1, noise_channels=2)
    torch.nn.init.normal_(network.last.weight, std=0.3)
    weak, strong = (torch.cat([image, level * torch.ones(2, 2, 33, 47)], 1) for level in (0.1, 0.2))

    with torch.no_grad():
        results = network(weak), network(strong)

    assert results[0].shape == image.shape
    assert not torch.allclose(*results)


def test_unet_has_no_biases(network):
    assert [name for name, _ in network.named_parameters() if name.endswith("bias")] == []


@pytest.mark.parametrize("factor", [2.0, 0.25])
def test_result_scales_with_the_image(network, image, factor):
    with torch.no_grad():
        scaled, result = network(factor * image), network(image)

    torch.testing.assert_close(scaled, factor * result, atol=1e-6, rtol=1e-5)


def test_unet_begins_as_the_identity_and_can_leave_it(image):
    network = DenoisingUNet(features=(8, 16, 32))
    result = network(image)
    result.square().mean().backward()

    assert torch.equal(result, image)
    assert network.last.weight.grad.abs().sum() > 0


def test_default_unet_has_the_documented_size():
    assert sum(parameter.numel() for parameter in DenoisingUNet().parameters()) == 1_042_688


def test_every_weight_learns_and_the_image_is_not_written_to(image):
    network = woken(8, 16, 32)
    before = image.clone()

    network(image).square().mean().backward()

    assert torch.equal(image, before)
    for name, parameter in network.named_parameters():
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("slope", [0.0, 0.1])
def test_channel_that_is_negative_learns_only_with_a_slope(image, slope):
    network = DenoisingUNet((8, 16), blocks=1, negative_slope=slope)
    torch.nn.init.normal_(network.last.weight, std=0.3)
    torch.nn.init.constant_(network.first.weight, 0.1)  # all features positive
    block = network.encoders[0][0]
    torch.nn.init.constant_(block.first.weight, -0.1)

    network(image).square().mean().backward()

    assert bool(block.first.weight.grad.abs().sum() > 0) == (slope > 0)


def test_only_the_result_has_the_mean_of_the_image(image):
    network = DenoisingUNet((8, 16), blocks=1, mean_size=5)
    torch.nn.init.normal_(network.last.weight, std=0.3)

    with torch.no_grad():
        correction, brighter = (network(each) - each for each in (image, image + 0.5))

    torch.testing.assert_close(brighter, correction, atol=1e-6, rtol=0)
    assert correction.abs().max() > 0.01


def test_mean_is_that_of_the_cells_of_the_image_around_each_cell():
    network = DenoisingUNet((4,), blocks=1, mean_size=3)
    seen = []
    network.first.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    image = torch.rand(1, 1, 12, 16)

    with torch.no_grad():
        network(image)

    expected = torch.stack([
        image[0, 0, 4 + row, 6 + column] - image[0, 0, 2:8, 4:10].mean()
        for row in (0, 1) for column in (0, 1)
    ])  # fmt: skip
    torch.testing.assert_close(seen[0][0, :, 2, 3], expected, atol=1e-6, rtol=0)
    corner = image[0, 0, :4, :4].mean()
    assert seen[0][0, 0, 0, 0].item() == pytest.approx(
        (image[0, 0, 0, 0] - corner).item(), abs=1e-6
    )


def test_square_that_is_not_around_a_cell_is_refused():
    with pytest.raises(ValueError, match="mean_size is 4; need an odd number"):
        DenoisingUNet(mean_size=4)


def test_gradient_is_that_of_the_function(network, image):
    precise = copy.deepcopy(network).double()
    start, step = image[:1].double(), torch.rand_like(image[:1], dtype=torch.float64)
    start.requires_grad_()

    precise(start).square().sum().backward()

    with torch.no_grad():
        ends = [precise(start + sign * 1e-6 * step).square().sum() for sign in (1, -1)]
    slope = (ends[0] - ends[1]).item() / 2e-6
    assert (start.grad * step).sum().item() == pytest.approx(slope, rel=1e-4)


@pytest.mark.parametrize("size", [(200, 170), (131, 257)])
def test_result_does_not_depend_on_the_tiles(size):
    network = woken(4, 8, 16)  # as deep, and thus as far-reaching, as the default
    for parameter in network.parameters():
        parameter.data *= 1.5  # what lies far away counts more than in a fresh network
    image = torch.rand(1, 1, *size, generator=torch.Generator().manual_seed(0))

    with torch.no_grad():
        tiled = TiledInferer(tile_size=256, halo=96, precision="float32")(image, network)
        whole = TiledInferer(tile_size=512, halo=96, precision="float32")(image, network)

    scale = (whole - image).abs().max().item()
    assert scale > 0.1
    torch.testing.assert_close(tiled, whole, atol=1e-5 * scale, rtol=0)


@pytest.mark.parametrize("options", [{}, {"negative_slope": 0.1, "mean_size": 5}])
def test_torchscript_agrees_at_any_size(options, image):
    network = woken(8, 16, 32, **options)
    scripted = torch.jit.script(network)

    with torch.no_grad():
        for crop in (image, image[..., :16, :24]):
            torch.testing.assert_close(scripted(crop), network(crop), atol=1e-6, rtol=0)


@pytest.mark.parametrize("options", [{}, {"negative_slope": 0.1, "mean_size": 5}])
def test_onnx_agrees(options, tmp_path):
    network = woken(8, 16, 32, **options)
    image = torch.rand(1, 1, 64, 48)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (image,), tmp_path / "unet.onnx", verbose=False)

    session = onnxruntime.InferenceSession(tmp_path / "unet.onnx")
    (exported,) = session.run(None, {session.get_inputs()[0].name: image.numpy()})

    np.testing.assert_allclose(exported, network(image).detach().numpy(), atol=1e-5)
