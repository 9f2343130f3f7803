"""Losses that PyTorch and MONAI lack."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.modules.loss import _Loss

from monai_dental.training.distributed import mean_of_processes

_EPSILON = 1e-7  # as in Keras
# Pairs of neighbours among the four pixels of a cell, numbered row by row.
_NEIGHBORS = ((0, 1), (1, 0), (0, 2), (2, 0), (1, 3), (3, 1), (2, 3), (3, 2))


class UnboundedBCELoss(_Loss):
    """Binary cross-entropy for targets that noise has moved outside [0, 1].

    The formula is that of `torch.nn.BCELoss`, which rejects targets out of range; in the published
    protocol, the target is the noisy image. For a target inside (0, 1), the minimum is still where
    the prediction equals it.

    References:
        Keras, `keras.losses.binary_crossentropy`, which computes the same without the check.
    """

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the mean over all pixels.

        Args:
            prediction: Denoised images in [0, 1], any shape.
            target: Target images of the same shape, in any range.
        """
        clipped = prediction.clamp(_EPSILON, 1 - _EPSILON)
        return -(target * clipped.log() + (1 - target) * (1 - clipped).log()).mean()


class GridAwareLoss(_Loss):
    """Mean squared error that weights outliers less and alternating errors more.

    Bad pixels and lines that cannot be restored would outweigh the errors from noise, so the loss
    is linear beyond `delta`. A network that outputs 2 × 2 pixels at a time easily gives the four
    unequal means. Such a grid hardly affects the mean squared error, but is visible as a pattern in
    flat areas.

    Args:
        weight: Weight of the squared amplitudes of alternations along the rows, the columns, and
            both, in the mean of all images (in training, those of all processes). The mean is used
            because a detector's line noise alternates in single images too. Use 0 for validation,
            so that its value does not depend on the batches.
        delta: Error above which the loss is linear, in units of the images; None for the squared
            error, whose optimum is the same for noisy and clean targets.

    References:
        Huber, Robust estimation of a location parameter, Ann. Math. Statist. 35(1), 1964.
    """

    def __init__(self, weight: float = 100.0, delta: float | None = 0.05) -> None:
        super().__init__()
        self.weight = weight
        self.delta = delta

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the mean over all pixels plus the weighted squared amplitudes.

        Args:
            prediction: Denoised images, (batch, C, H, W), even in height and width.
            target: Target images of the same shape.
        """
        if self.delta is None:
            loss = functional.mse_loss(prediction, target)
        else:
            loss = 2 * functional.huber_loss(prediction, target, delta=self.delta)
        if self.weight == 0:
            return loss
        error = (prediction - target).flatten(0, 1)[:, None]
        means = mean_of_processes(functional.pixel_unshuffle(error, 2).mean(dim=(0, -2, -1)))
        # By Parseval's theorem, the variance of the four means is the sum of the squared
        # amplitudes.
        return loss + self.weight * means.var(correction=0)


class NeighborLoss(_Loss):
    """Neighbor2Neighbor: learn from single noisy images with white noise.

    From each 2 × 2 cell of the noisy image, two neighbours are drawn, which form two half-size
    images. One is denoised and compared with the other. As the neighbours show slightly different
    anatomy, this smooths the result; a second term compensates, using the same neighbours of the
    denoised image.

    The noise of neighbours must be independent. If the detector or a resampling has correlated it,
    the network learns the noise as if it were anatomy.

    Args:
        network: The network that is trained.
        inferer: Runs the network, as the trainer's inferer does.
        gamma: Weight of the second term. Use 0 to compare networks by the loss: with this term its
            value, unlike its gradient, is smallest for a network that leaves half of the noise.

    References:
        Huang et al., Neighbor2Neighbor: Self-Supervised Denoising from Single Noisy Images,
        CVPR 2021, equation 8.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        inferer: Callable[[Tensor, torch.nn.Module], Tensor],
        gamma: float = 1.0,
    ) -> None:
        super().__init__()
        self.gamma = gamma
        self._inferer = inferer
        self._run = [network]  # in a list, so that it is not registered as a submodule

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the mean over all pixels.

        Args:
            prediction: Output of the network for `target`, (batch, 1, H, W).
            target: Noisy images of the same shape, even in height and width.
        """
        halves = (side // 2 for side in target.shape[-2:])
        cells = torch.randint(len(_NEIGHBORS), (len(target), 1, *halves))
        pairs = torch.tensor(_NEIGHBORS)[cells].to(target.device)  # (batch, 1, H/2, W/2, 2)

        def drawn(image: Tensor) -> tuple[Tensor, Tensor]:
            quads = functional.pixel_unshuffle(image, 2)
            first, second = (quads.gather(1, pairs[..., i]) for i in (0, 1))
            return first, second

        first, second = drawn(target)
        denoised_first, denoised_second = drawn(prediction.detach())
        difference = self._inferer(first, self._run[0]) - second
        bias = denoised_first - denoised_second
        return difference.square().mean() + self.gamma * (difference - bias).square().mean()
