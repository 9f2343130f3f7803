import torch

from monai_dental.losses import UnboundedBCELoss


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
