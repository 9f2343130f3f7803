"""Convolutions that also apply what follows them, for inference on a CPU.

Activations are larger than the caches. A separate pass for the activation or the sum takes up to
half as long as the convolution. PyTorch has these operators of oneDNN for `torch.compile`; here
they need no C++ compiler. Call the functions only if `can_fuse`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

_OPERATORS = torch.ops.mkldnn
_ONE_BY_ONE = [1, 1]  # padding, stride, dilation
_is_separate = False


@contextmanager
def separate_operators() -> Iterator[None]:
    """Do not fuse in this context, so that hooks of the convolutions run."""
    global _is_separate
    before, _is_separate = _is_separate, True
    try:
        yield
    finally:
        _is_separate = before


def can_fuse(x: Tensor) -> bool:
    """Return whether this PyTorch and processor can, and no gradient or graph is needed."""
    return (
        x.device.type == "cpu"
        and hasattr(_OPERATORS, "_convolution_pointwise")
        and bool(torch.backends.mkldnn.enabled)
        and (x.dtype == torch.float32 or (x.dtype == torch.bfloat16 and _has_bfloat16()))
        and not (torch.is_grad_enabled() or _is_exported() or _is_separate)
    )


def _is_exported() -> bool:
    is_traced: bool = torch.jit.is_tracing()  # type: ignore[no-untyped-call]
    return is_traced or torch.compiler.is_compiling()


def _has_bfloat16() -> bool:
    # Without support, separate operators compute in bfloat16 slowly; these would raise.
    return bool(_OPERATORS._is_mkldnn_bf16_supported())


def convolve_and_activate(x: Tensor, weight: Tensor, negative_slope: float) -> Tensor:
    """Return the leaky ReLU of a convolution with a padding of 1, (batch, C', H, W).

    Args:
        x: float32 or bfloat16, (batch, C, H, W).
        weight: (C', C, 3, 3).
        negative_slope: Slope below 0.
    """
    activated: Tensor = _OPERATORS._convolution_pointwise(
        x, weight.to(x.dtype), None, *[_ONE_BY_ONE] * 3, 1, "leaky_relu", [negative_slope], ""
    )
    return activated


def convolve_and_add(x: Tensor, weight: Tensor, addend: Tensor) -> Tensor:
    """Return the sum of a convolution with a padding of 1 and an addend, (batch, C', H, W).

    Args:
        x: float32 or bfloat16, (batch, C, H, W).
        weight: (C', C, 3, 3).
        addend: Of the type of `x`, (batch, C', H, W).
    """
    added: Tensor = _OPERATORS._convolution_pointwise.binary(
        x, addend, weight.to(x.dtype), None, *[_ONE_BY_ONE] * 3, 1, "add", 1.0, None, [], None
    )
    return added
