"""The Muon optimizer for convolutional networks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

_POLYNOMIAL = (3.4445, -4.7750, 2.0315)
_ROUNDS = 5
_MOMENTUM = 0.95
_BETAS, _EPSILON = (0.9, 0.999), 1e-8
_SMALLEST_NORM = 1e-12
_STEP = 0.4  # root mean square, by the learning rate; about that of Adam


class Muon(torch.optim.Optimizer):
    """Take steps along which all directions of a layer's weights learn equally fast.

    Most of a gradient lies along a few directions, and so do Adam's steps. Here, the singular
    values of each step are about equal: fine texture, and the exact removal of the noise, are
    learned in a fraction of the steps. The weights of a convolution are one matrix, (channels,
    everything else); `torch.optim.Muon` takes only matrices. The first and the last layer are
    trained with Adam.

    Args:
        params: Weights of a network, in the order of its layers.
        lr: Learning rate, about that of Adam.

    References:
        Jordan et al., Muon: an optimizer for hidden layers in neural networks, 2024.
    """

    def __init__(self, params: Iterable[Tensor], lr: float = 1e-3) -> None:
        weights = list(params)
        inner = [weight for weight in weights[1:-1] if weight.ndim > 1]
        known = {id(weight) for weight in inner}
        outer = [weight for weight in weights if id(weight) not in known]
        groups = [{"params": inner, "is_muon": True}, {"params": outer, "is_muon": False}]
        super().__init__([group for group in groups if group["params"]], {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Take a step along the gradients."""
        if closure is not None:
            raise ValueError("Muon takes no closure")
        for group in self.param_groups:
            take = self._step_of_muon if group["is_muon"] else self._step_of_adam
            for weight in group["params"]:
                if weight.grad is not None:
                    weight.add_(take(weight, weight.grad), alpha=-group["lr"])

    def _step_of_muon(self, weight: Tensor, gradient: Tensor) -> Tensor:
        state = self.state[weight]
        if not state:
            state["mean"] = torch.zeros_like(weight)
        mean = state["mean"].lerp_(gradient, 1 - _MOMENTUM)
        matrix = gradient.lerp(mean, _MOMENTUM).flatten(1)
        size = _STEP * max(matrix.shape) ** 0.5
        step: Tensor = size * _orthogonalized(matrix)
        return step.view(weight.shape)

    def _step_of_adam(self, weight: Tensor, gradient: Tensor) -> Tensor:
        state = self.state[weight]
        if not state:
            state["step"] = torch.zeros(())
            state["mean"], state["square"] = (torch.zeros_like(weight) for _ in range(2))
        state["step"] += 1
        count = int(state["step"])
        mean = state["mean"].lerp_(gradient, 1 - _BETAS[0]) / (1 - _BETAS[0] ** count)
        square = state["square"].lerp_(gradient.square(), 1 - _BETAS[1])
        step: Tensor = mean / ((square / (1 - _BETAS[1] ** count)).sqrt() + _EPSILON)
        return step


def _orthogonalized(matrix: Tensor) -> Tensor:
    """Return about the nearest matrix with orthogonal rows, or columns if it has fewer of them.

    The Newton-Schulz iteration multiplies the matrix by polynomials of its Gram matrix. To iterate
    that small matrix alone takes less than half the time.
    """
    is_tall = matrix.shape[0] > matrix.shape[1]
    wide = matrix.T if is_tall else matrix
    wide = wide / wide.norm().clamp_min(_SMALLEST_NORM)
    gram = wide @ wide.T
    one = torch.eye(len(gram), device=gram.device)
    product = one
    linear, cubic, quintic = _POLYNOMIAL
    for _ in range(_ROUNDS):
        factor = linear * one + cubic * gram + quintic * gram @ gram
        product = factor @ product
        gram = factor @ gram @ factor
    result: Tensor = product @ wide
    return result.T if is_tall else result
