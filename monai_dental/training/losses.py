"""Losses that PyTorch and MONAI lack."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.modules.loss import _Loss

_EPSILON = 1e-7  # as in Keras
# Of the four pixels of a cell, row by row: each with the one beside and the one above or below it.
_NEIGHBORS = ((0, 1), (1, 0), (0, 2), (2, 0), (1, 3), (3, 1), (2, 3), (3, 2))


class UnboundedBCELoss(_Loss):
    """Binary cross-entropy for targets that noise has driven out of [0, 1].

    The formula of `torch.nn.BCELoss`, whose check of the target's range the published protocol does
    not pass: there the noisy image is the target. Its minimum is still where the prediction equals
    a target inside (0, 1).

    References:
        Keras, `keras.losses.binary_crossentropy`, which computes the same without the check.
    """

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the mean over all pixels.

        Args:
            prediction: Denoised images in [0, 1], any shape.
            target: What they should be, the same shape; any range.
        """
        clipped = prediction.clamp(_EPSILON, 1 - _EPSILON)
        return -(target * clipped.log() + (1 - target) * (1 - clipped).log()).mean()


class NeighborLoss(_Loss):
    """Neighbor2Neighbor: learn from one noisy image each, where the noise is white.

    Of each 2 × 2 cell of the noisy image two neighbours are drawn; the one half-size image they
    make is denoised and compared with the other. A second term takes back what this smooths: the
    neighbours see slightly different anatomy, and so do those of the denoised image.

    The noise of neighbours must be independent. Where the detector or a resampling has correlated
    it, the network learns the noise as if it were anatomy.

    Args:
        network: The network that is trained.
        inferer: Runs the network, as the trainer's inferer does.
        gamma: Weight of the second term; 0 to tell networks apart by the loss, since with this term
            the value, unlike the gradient, is least for one that leaves half of the noise.

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
        self._run = [network]  # in a list, so that it is not taken for a part of the loss

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the mean over all pixels.

        Args:
            prediction: What the network makes of `target`, (batch, 1, H, W).
            target: Noisy images, the same shape, even in height and width.
        """
        cells = torch.randint(len(_NEIGHBORS), (len(target), 1, *_halved(target)))
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


def _halved(image: Tensor) -> tuple[int, int]:
    return image.shape[-2] // 2, image.shape[-1] // 2
