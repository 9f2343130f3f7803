"""Convolutions that also apply the activation or the sum."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from monai_dental.inference.precision import fastest_dtype
from monai_dental.networks import DenoisingUNet, fused
from monai_dental.networks.fused import (
    can_fuse,
    convolve_and_activate,
    convolve_and_add,
    separate_operators,
)

needs_onednn = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN"
)


@pytest.fixture
def network():
    """A small network with random weights."""
    torch.manual_seed(0)
    network = DenoisingUNet([8, 8], noise_channels=0, negative_slope=0.1, mean_size=5)
    nn.init.normal_(network.last.weight, std=0.1)
    return network.to(memory_format=torch.channels_last)


@pytest.fixture
def image():
    """A random image."""
    return torch.rand(1, 1, 40, 52, generator=torch.Generator().manual_seed(0))


def calls_of_convolutions(network):
    """Return a list that grows at each call of a convolution's module."""
    calls = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_pre_hook(lambda module, inputs: calls.append(module))
    return calls


@needs_onednn
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_results_are_those_of_separate_operators(memory_format):
    random = torch.Generator().manual_seed(0)
    x, weight, addend = (
        torch.randn(shape, generator=random).to(memory_format=memory_format)
        for shape in ((2, 8, 20, 13), (6, 8, 3, 3), (2, 6, 20, 13))
    )
    convolved = functional.conv2d(x, weight, padding=1)

    for slope in (0.0, 0.1):
        activated = convolve_and_activate(x, weight, slope)
        torch.testing.assert_close(activated, functional.leaky_relu(convolved, slope))
    torch.testing.assert_close(convolve_and_add(x, weight, addend), convolved + addend)


@needs_onednn
def test_network_fuses_only_where_no_gradient_is_needed(network, image):
    calls = calls_of_convolutions(network)

    expected = network(image)
    every = len(calls)
    calls.clear()
    with torch.inference_mode():
        result = network(image)

    assert every - len(calls) == 12  # two blocks in encoder, bottom and decoder
    torch.testing.assert_close(result, expected.detach())
    expected.sum().backward()
    assert all(weight.grad is not None for weight in network.parameters())


@needs_onednn
def test_bfloat16_is_no_less_exact(network, image):
    if fastest_dtype(torch.device("cpu"), "auto") != torch.bfloat16:
        pytest.skip("this processor has no bfloat16 units")
    errors = []
    with torch.inference_mode():
        exact = network(image)
        for context in (separate_operators(), torch.inference_mode()):
            with context, torch.autocast("cpu", torch.bfloat16):
                errors.append(float((network(image) - exact).square().mean()))

    assert errors[1] < 1.5 * errors[0]


@needs_onednn
def test_separate_operators_take_the_rest(network, image, monkeypatch):
    with torch.inference_mode():
        assert can_fuse(image)
        assert not can_fuse(image.double())
        assert not can_fuse(image.to("meta"))
        with separate_operators():
            assert not can_fuse(image)
            calls = calls_of_convolutions(network)
            network(image)
        assert {id(module) for module in calls} >= {
            id(module) for module in network.modules() if isinstance(module, nn.Conv2d)
        }
        for owner, name in (
            (torch.jit, "is_tracing"), (torch.compiler, "is_compiling"),
            (torch, "is_grad_enabled"),
        ):  # fmt: skip
            with monkeypatch.context() as patch:
                patch.setattr(owner, name, lambda: True)
                assert not can_fuse(image), name
        with monkeypatch.context() as patch:
            patch.setattr(torch.backends.mkldnn, "enabled", False)
            assert not can_fuse(image)
        monkeypatch.setattr(fused, "_OPERATORS", object())
        assert not can_fuse(image)


def test_processor_without_bfloat16_takes_separate_operators(image, monkeypatch):
    monkeypatch.setattr(fused, "_has_bfloat16", lambda: False)

    with torch.inference_mode():
        assert not can_fuse(image.bfloat16())
