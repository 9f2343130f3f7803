"""Losses that PyTorch and MONAI lack."""

from __future__ import annotations

from torch import Tensor
from torch.nn.modules.loss import _Loss

_EPSILON = 1e-7  # as in Keras


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
