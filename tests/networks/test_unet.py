import copy
import warnings

import numpy as np
import onnxruntime
import pytest
import torch

from monai_dental.inference.inferers import TiledInferer
from monai_dental.networks import DenoisingUNet


def woken(*features):
    """Return a network that is no longer the identity, its initial state."""
    torch.manual_seed(0)
    network = DenoisingUNet(features=features).eval()
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


def test_torchscript_agrees_at_any_size(network, image):
    scripted = torch.jit.script(network)

    with torch.no_grad():
        for crop in (image, image[..., :16, :24]):
            torch.testing.assert_close(scripted(crop), network(crop), atol=1e-6, rtol=0)


def test_onnx_agrees(network, tmp_path):
    image = torch.rand(1, 1, 64, 48)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (image,), tmp_path / "unet.onnx", verbose=False)

    session = onnxruntime.InferenceSession(tmp_path / "unet.onnx")
    (exported,) = session.run(None, {session.get_inputs()[0].name: image.numpy()})

    np.testing.assert_allclose(exported, network(image).detach().numpy(), atol=1e-5)
