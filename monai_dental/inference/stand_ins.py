"""Equivalents of the transforms of shipped bundles, without MONAI's classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from monai_dental.filters import intensity_range, keep_low_frequencies, scale_to_unit

_Data = dict[str, Any]

_RANGE = "intensity_range"


class _ScaleToUnit:
    """Equivalent of `ScaleToUnitd`, which keeps the range in the metadata of the image."""

    def __init__(self, keys: str) -> None:
        self._key = keys

    def __call__(self, data: _Data) -> _Data:
        low, span = intensity_range(data[self._key])
        return {**data, self._key: scale_to_unit(data[self._key], low, span), _RANGE: (low, span)}


class _RestoreRange:
    """Equivalent of `RestoreRanged`."""

    def __init__(self, keys: str | Sequence[str], reference_key: str) -> None:
        self._keys = [keys] if isinstance(keys, str) else list(keys)

    def __call__(self, data: _Data) -> _Data:
        low, span = data[_RANGE]
        restored = {
            key: data[key] * span.to(data[key].device) + low.to(data[key].device)
            for key in self._keys
        }
        return {**data, **restored}


class _KeepLowFrequencies:
    """Equivalent of `KeepLowFrequenciesd`."""

    def __init__(self, keys: str, reference_key: str, sigma: float) -> None:
        self._key = keys
        self._reference_key = reference_key
        self._sigma = sigma

    def __call__(self, data: _Data) -> _Data:
        image = keep_low_frequencies(data[self._key], data[self._reference_key], self._sigma)
        return {**data, self._key: image}


STAND_INS: Mapping[str, Callable[..., Callable[[_Data], _Data]]] = {
    "monai_dental.transforms.ScaleToUnitd": _ScaleToUnit,
    "monai_dental.transforms.RestoreRanged": _RestoreRange,
    "monai_dental.transforms.KeepLowFrequenciesd": _KeepLowFrequencies,
}
"""Equivalents of all transforms in shipped bundles' `array_transforms` and `restore_transforms`."""


def compose(transforms: Sequence[Callable[[Any], Any]]) -> Callable[[Any], Any]:
    """Return a function that calls the transforms in turn."""

    def run(data: Any) -> Any:
        for transform in transforms:
            data = transform(data)
        return data

    return run
