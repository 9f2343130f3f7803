"""The fastest number format of a device."""

from __future__ import annotations

import torch

PRECISIONS = ("auto", "float32", "bfloat16")


def fastest_dtype(device: torch.device, precision: str = "auto") -> torch.dtype:
    """Return the dtype for convolutions on a device.

    Args:
        device: Where the network runs.
        precision: "float32", "bfloat16", or "auto": bfloat16 if the CPU has AMX or AVX512-BF16
            units for it, otherwise float32. On other devices "auto" is float32.

    Raises:
        ValueError: `precision` is not one of the three.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}; need one of {', '.join(PRECISIONS)}")
    if precision != "auto":
        return torch.float32 if precision == "float32" else torch.bfloat16
    if device.type != "cpu":
        return torch.float32
    found = torch.cpu.get_capabilities()
    has_units = any(found.get(name, False) for name in ("amx_bf16", "avx512_bf16"))
    return torch.bfloat16 if has_units else torch.float32
