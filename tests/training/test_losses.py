import pytest
import torch
from torch.nn import functional

from monai_dental.training.losses import GridAwareLoss, NeighborLoss, UnboundedBCELoss


def test_unbounded_bce_equals_bce_inside_the_unit_range():
    generator = torch.Generator().manual_seed(0)
    prediction, target = torch.rand(2, 4, 1, 8, 8, generator=generator)

    expected = torch.nn.BCELoss()(prediction, target)

    torch.testing.assert_close(UnboundedBCELoss()(prediction, target), expected)


def test_unbounded_bce_takes_targets_outside_the_unit_range():
    prediction = torch.tensor([0.0, 0.5, 1.0], requires_grad=True)

    loss = UnboundedBCELoss()(prediction, torch.tensor([-0.1, 0.5, 1.1]))
    loss.backward()

    assert torch.isfinite(loss)
    assert torch.isfinite(prediction.grad).all()


def test_unbounded_bce_is_least_where_the_prediction_is_the_target():
    target = torch.tensor([0.3])
    losses = [UnboundedBCELoss()(torch.tensor([p / 100]), target).item() for p in range(1, 100)]

    assert losses.index(min(losses)) == 29


@pytest.mark.parametrize("pattern", [(1, 1, -1, -1), (1, -1, 1, -1), (1, -1, -1, 1)])
def test_an_error_that_alternates_counts_more(pattern):
    grid = 0.1 * torch.tensor(pattern, dtype=torch.float32).reshape(2, 2).tile(4, 4)[None, None]

    images = (0.5 + grid).expand(3, 2, 8, 8)

    loss = GridAwareLoss(weight=50.0, delta=1.0)(images, torch.full_like(images, 0.5))

    assert loss.item() == pytest.approx(51 * 0.1**2)


def test_grids_that_differ_from_image_to_image_are_noise_of_lines():
    lines = 0.1 * torch.tensor([1.0, -1.0]).repeat(4)[:, None].expand(8, 8)
    errors = torch.stack([lines, -lines])[:, None]

    loss = GridAwareLoss(weight=50.0, delta=1.0)(errors, torch.zeros_like(errors))

    assert loss.item() == pytest.approx(0.1**2)


def test_an_outlier_counts_linearly():
    target = torch.zeros(1, 1, 8, 8)
    losses = []
    for error in (0.5, 1.0):
        spoilt = target.clone()
        spoilt[0, 0, 2:4, 2:4] = error  # a cell: no grid
        losses.append(GridAwareLoss(delta=0.05)(spoilt, target).item())

    assert losses == pytest.approx([(2 * e - 0.05) * 0.05 / 16 for e in (0.5, 1.0)])


def test_an_error_of_the_mean_counts_as_in_the_squared_error():
    prediction = torch.full((2, 1, 8, 8), 0.6)

    loss = GridAwareLoss(weight=50.0, delta=1.0)(prediction, prediction - 0.1)

    assert loss.item() == pytest.approx(0.1**2)


class Blur(torch.nn.Module):
    """The mean of 3 × 3 pixels."""

    def forward(self, image):
        return functional.avg_pool2d(functional.pad(image, [1, 1, 1, 1], mode="reflect"), 3, 1)


class Gain(torch.nn.Module):
    """The image times a learned factor."""

    def __init__(self, weight=0.9):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(weight))

    def forward(self, image):
        return self.weight * image


@pytest.fixture
def noisy():
    """A slope under white noise of sigma 0.1."""
    noise = 0.1 * torch.randn(4, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    return torch.linspace(0, 1, 64) + noise


def neighbor_loss(network, target, gamma=1.0, prediction=None):
    torch.manual_seed(0)
    loss = NeighborLoss(network, lambda image, network: network(image), gamma)
    return loss(network(target) if prediction is None else prediction, target)


def test_neighbor_loss_prefers_a_smoother_to_what_keeps_the_noise(noisy):
    identity, blur = (neighbor_loss(n, noisy, 0.0) for n in (torch.nn.Identity(), Blur()))

    assert blur < 0.75 * identity


def test_neighbor_loss_ranks_by_the_noise_that_is_left_where_gamma_is_zero():
    # With gamma the value, unlike the gradient, is least where half of the noise is left.
    noise = 0.1 * torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))

    losses = [neighbor_loss(Gain(share), noise, gamma=0.0).item() for share in (0.0, 0.3, 0.6, 1.0)]

    assert losses == sorted(losses)


@pytest.mark.parametrize("gamma", [0.0, 1.0])
@pytest.mark.parametrize("share", [0.4, 1.0])
def test_neighbor_loss_teaches_to_leave_less_of_the_noise(gamma, share):
    noise = torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    network = Gain(share)

    neighbor_loss(network, noise, gamma).backward()

    assert network.weight.grad > 0.5 * share


def test_neighbor_loss_of_identity_is_twice_the_variance_of_white_noise(noisy):
    loss = neighbor_loss(torch.nn.Identity(), noisy, gamma=0.0)

    assert loss.item() == pytest.approx(2 * 0.1**2, rel=0.05)


def test_neighbor_loss_takes_back_what_the_image_itself_changes_between_neighbors():
    # Without noise, the identity is right: what neighbours differ by is what the denoised ones do.
    steep = torch.linspace(0, 8, 64).expand(1, 1, 64, 64)

    with_bias, without = (
        neighbor_loss(torch.nn.Identity(), steep, gamma).item() for gamma in (1.0, 0.0)
    )

    assert without > 0
    assert with_bias == pytest.approx(without)


def test_neighbor_loss_compares_each_pair_of_adjacent_pixels_and_no_other():
    places = torch.arange(64 * 64, dtype=torch.float32).reshape(1, 1, 64, 64)
    inputs = []
    output = torch.zeros(1, 1, 32, 32, requires_grad=True)

    def inferer(image, network):
        inputs.append(image)
        return output

    torch.manual_seed(0)
    NeighborLoss(torch.nn.Identity(), inferer, gamma=0.0)(places, places).backward()

    targets = -output.grad * output.numel() / 2  # of the mean of (output - target) squared
    pairs = set()
    corners = places[..., ::2, ::2]
    for place, target, corner in zip(
        inputs[0].flatten().tolist(), targets.flatten().tolist(), corners.flatten().tolist(),
        strict=True,
    ):  # fmt: skip
        pairs.add((int(place - corner), int(target - corner)))
    right, below, opposite = 1, 64, 65
    adjacent = {(0, right), (0, below), (right, opposite), (below, opposite)}
    assert pairs == adjacent | {(second, first) for first, second in adjacent}


def test_neighbor_loss_draws_other_pairs_each_time(noisy):
    loss = NeighborLoss(torch.nn.Identity(), lambda image, network: image)

    assert loss(noisy, noisy) != loss(noisy, noisy)


def test_neighbor_loss_teaches_through_the_neighbors_alone(noisy):
    network, prediction = Gain(), noisy.clone().requires_grad_()

    neighbor_loss(network, noisy, prediction=prediction).backward()

    assert prediction.grad is None
    assert network.weight.grad != 0


def test_neighbor_loss_has_no_weights_of_its_own():
    loss = NeighborLoss(Gain(), lambda image, network: network(image))

    assert list(loss.parameters()) == []
    assert loss.state_dict() == {}


def test_without_weight_a_grid_counts_as_in_the_squared_error():
    grid = 0.1 * torch.tensor([1.0, -1.0]).repeat(4).expand(1, 1, 8, 8)

    loss = GridAwareLoss(weight=0.0, delta=1.0)(grid, torch.zeros_like(grid))

    assert loss.item() == pytest.approx(0.1**2)
