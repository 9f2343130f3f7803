"""Padding pixels of the derived instance are the source's, no more and no fewer."""

from __future__ import annotations

import numpy as np
import pytest

from monai_dental.dicom import Derivation, derive, to_radiograph

DERIVATION = Derivation("Noise reduction", "some_model", "0.1.0", "ab" * 32, 0.8)


@pytest.mark.parametrize(
    ("signed", "vr", "value", "limit", "low", "high"),
    [
        (False, "US", 0, None, 0, 0),
        (False, "US", 100, 300, 100, 300),
        (False, "US", 300, 100, 100, 300),
        (True, "SS", -2048, None, -2048, -2048),
        (True, "US", 63488, None, -2048, -2048),  # the wrong representation of -2048
        (True, "SS", -2000, -1000, -2000, -1000),
    ],
)
def test_padding_is_put_back(dicom_dataset, picture, signed, vr, value, limit, low, high) -> None:
    stored = picture(12, signed=signed)
    ds = dicom_dataset(stored, bits_stored=12)
    ds.add_new("PixelPaddingValue", vr, value)
    if limit is not None:
        ds.add_new("PixelPaddingRangeLimit", vr, limit)
    radiograph = to_radiograph(ds)
    darker = radiograph.with_pixels(radiograph.pixels * np.float32(0.5))
    derived = derive(darker, DERIVATION)
    after = np.frombuffer(derived.PixelData, stored.dtype).reshape(stored.shape)
    is_padding = (stored >= low) & (stored <= high)
    assert is_padding.any()
    assert np.array_equal(after[is_padding], stored[is_padding])
    assert (after[~is_padding] != stored[~is_padding]).mean() > 0.5


@pytest.mark.parametrize(
    ("signed", "value", "limit", "anatomy", "result", "expected"),
    [
        (False, 0, None, 1000, 0, 1),
        (False, 4095, None, 1000, 4095, 4094),
        (False, 2000, None, 1000, 2000, 1999),
        (False, 100, 300, 1000, 120, 99),
        (False, 300, 100, 1000, 280, 301),
        (False, 0, 300, 1000, 20, 301),
        (False, 3000, 4095, 1000, 4000, 2999),
        (True, -2048, None, 1000, -2048, -2047),
        (True, -1000, 2047, -1500, 2000, -1001),
    ],
)
def test_anatomy_does_not_become_padding(
    dicom_dataset, signed, value, limit, anatomy, result, expected
) -> None:
    is_padding = np.arange(12).reshape(3, 4) % 5 == 0
    stored = np.where(is_padding, value, anatomy).astype("i2" if signed else "u2")
    ds = dicom_dataset(stored, bits_stored=12)
    ds.add_new("PixelPaddingValue", "SS" if signed else "US", value)
    if limit is not None:
        ds.add_new("PixelPaddingRangeLimit", "SS" if signed else "US", limit)
    radiograph = to_radiograph(ds)
    pixels = radiograph.encoding.decode(np.full_like(stored, result))
    derived = derive(radiograph.with_pixels(pixels), DERIVATION)
    after = np.frombuffer(derived.PixelData, stored.dtype).reshape(stored.shape)
    assert set(after[is_padding]) == {value}
    assert set(after[~is_padding]) == {expected}
