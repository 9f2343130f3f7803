from copy import deepcopy

import pytest
import torch

from monai_dental.networks import DenoisingUNet
from monai_dental.training.muon import Muon, _orthogonalized


def network_with_gradients(scale=1.0):
    torch.manual_seed(0)
    network = DenoisingUNet((4, 8), blocks=1, noise_channels=3)
    for weight in network.parameters():
        weight.grad = scale * torch.randn_like(weight)
    return network


def step_of(network, learning_rate=0.01):
    before = [weight.detach().clone() for weight in network.parameters()]
    Muon(network.parameters(), lr=learning_rate).step()
    return [after.detach() - b for after, b in zip(network.parameters(), before, strict=True)]


def test_all_directions_of_an_inner_layer_move_about_equally():
    steps = step_of(network_with_gradients())

    for step in steps[1:-1]:
        matrix = step.flatten(1)
        values = torch.linalg.svdvals(matrix) / max(matrix.shape) ** 0.5
        assert float(values.min()) > 0.01 * 0.4 * 0.5
        assert float(values.max()) < 0.01 * 0.4 * 1.5


@pytest.mark.parametrize("shape", [(8, 30), (30, 8), (1, 9)])
def test_matrix_is_that_of_the_published_iteration(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    expected = matrix / matrix.norm()
    for _ in range(5):
        cube = expected @ expected.T @ expected
        expected = 3.4445 * expected - 4.775 * cube + 2.0315 * expected @ expected.T @ cube

    torch.testing.assert_close(_orthogonalized(matrix), expected, rtol=1e-3, atol=1e-4)


def test_the_first_and_the_last_layer_take_the_steps_of_adam():
    network = network_with_gradients()
    other = network_with_gradients()
    before = [weight.detach().clone() for weight in other.parameters()]
    adam = torch.optim.Adam(other.parameters(), lr=0.01)
    muon = Muon(network.parameters(), lr=0.01)
    for _ in range(3):
        for optimizer in (adam, muon):
            optimizer.step()

    pairs = list(zip(network.parameters(), other.parameters(), before, strict=True))
    for own, expected, start in (pairs[0], pairs[-1]):
        torch.testing.assert_close(own, expected)
        assert not torch.equal(own, start)


@pytest.mark.parametrize("scale", [1e-4, 1e4])
def test_steps_of_inner_layers_do_not_depend_on_the_scale_of_the_loss(scale):
    steps = [step_of(network_with_gradients(each))[1:-1] for each in (1.0, scale)]

    for one, other in zip(*steps, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


def test_a_restored_optimizer_goes_on_as_the_first_would_have():
    networks = [network_with_gradients(), network_with_gradients()]
    optimizers = [Muon(network.parameters()) for network in networks]
    optimizers[0].step()
    networks[1].load_state_dict(networks[0].state_dict())
    optimizers[1].load_state_dict(deepcopy(optimizers[0].state_dict()))

    for network, optimizer in zip(networks, optimizers, strict=True):
        generator = torch.Generator().manual_seed(1)
        for weight in network.parameters():
            weight.grad = torch.randn(weight.shape, generator=generator)
        optimizer.step()

    for one, other in zip(*(network.parameters() for network in networks), strict=True):
        assert torch.equal(one, other)


def test_layers_without_gradients_are_left_as_they_are():
    network = network_with_gradients()
    frozen = network.bottom[0].first.weight
    frozen.grad = None
    before = frozen.detach().clone()

    Muon(network.parameters()).step()

    assert torch.equal(frozen, before)
