from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest

from monai_dental.radiograph import Encoding, Radiograph, integer_range


def integer_type(bits: int, signed: bool) -> np.dtype:
    return np.dtype(f"{'i' if signed else 'u'}{1 if bits <= 8 else 2}")


def all_values(bits: int, signed: bool) -> np.ndarray:
    low, high = integer_range(integer_type(bits, signed), bits)
    return np.arange(low, high + 1).astype(integer_type(bits, signed))


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", range(8, 17))
def test_encode_brings_back_every_stored_value(bits: int, signed: bool, inverted: bool) -> None:
    values = all_values(bits, signed)
    encoding = Encoding.full_range(values.dtype, bits, inverted)
    pixels = encoding.decode(values)
    assert pixels.dtype == np.float32
    assert (pixels.min(), pixels.max()) == (0, 1)
    assert np.array_equal(pixels, np.sort(pixels)[:: -1 if inverted else 1])
    back = encoding.encode(pixels)
    assert back.dtype == values.dtype
    assert np.array_equal(back, values)


def test_inverted_pixels_mirror_the_plain_ones_exactly() -> None:
    values = all_values(12, False)
    plain = Encoding.full_range(values.dtype, 12).decode(values)
    inverted = Encoding.full_range(values.dtype, 12, inverted=True).decode(values)
    assert np.array_equal(inverted, plain[::-1])
    assert not np.signbit(inverted).any()


def test_encode_rounds_half_to_even_and_clips() -> None:
    encoding = Encoding(np.dtype(np.uint8), 4, 0, 8)
    pixels = np.float32([-1, 1 / 16, 3 / 16, 5 / 16, 1, 2])
    assert encoding.encode(pixels).tolist() == [0, 0, 2, 2, 8, 15]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_encode_refuses_what_is_not_finite(bad: float) -> None:
    with pytest.raises(ValueError, match="NaN or infinity"):
        Encoding.full_range(np.uint8, 8).encode(np.float32([[0, bad]]))


@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "u4", "i8", "u8"])
def test_wide_values_come_back_where_the_source_is_given(dtype: str) -> None:
    rng = np.random.default_rng(0)
    stored = (rng.normal(size=(5, 7)) * 1e6).astype(dtype)
    encoding = Encoding.own_range(stored)
    pixels = encoding.decode(stored)
    assert (pixels.min(), pixels.max()) == (0, 1)
    assert np.array_equal(encoding.encode(pixels, stored), stored)
    changed = pixels.copy()
    changed[0, 0] = 0.5
    assert np.array_equal(encoding.encode(changed, stored)[1:], stored[1:])


def test_largest_64_bit_value_does_not_change_its_sign() -> None:
    encoding = Encoding(np.dtype(np.int64), 64, -(2.0**63), 2.0**63)
    assert encoding.encode(np.float32([1.0]))[0] > 0


def test_constant_image_is_black_and_comes_back() -> None:
    stored = np.full((2, 3), 7, np.int16)
    encoding = Encoding.own_range(stored)
    assert not encoding.decode(stored).any()
    assert np.array_equal(encoding.encode(encoding.decode(stored)), stored)


@pytest.mark.parametrize("falls", [False, True])
def test_table_brings_back_source_values_even_on_plateaus(falls: bool) -> None:
    outputs = np.minimum(np.arange(256) // 3 * 40, 2000)
    table = tuple((outputs[::-1] if falls else outputs).tolist())
    encoding = Encoding(np.dtype(np.uint8), 8, 0, 2000, table)
    values = all_values(8, False)
    pixels = encoding.decode(values)
    assert np.array_equal(encoding.encode(pixels, values), values)
    # Without the source, any value with the same output will do.
    assert np.array_equal(encoding.decode(encoding.encode(pixels)), pixels)
    assert encoding.encode(np.float32([0.499]))[0] in np.flatnonzero(np.array(table) == 1000)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"one": 0.0}, "must be finite and differ"),
        ({"zero": np.nan}, "must be finite and differ"),
        ({"bits_stored": 9}, "do not fit"),
        ({"dtype": np.dtype(complex)}, "not real"),
        ({"table": (1, 2)}, "table of 2 entries; need 256"),
    ],
)
def test_encoding_refuses_what_has_no_way_back(changes: dict, message: str) -> None:
    encoding = Encoding.full_range(np.uint8, 8)
    with pytest.raises(ValueError, match=message):
        replace(encoding, **changes)


def test_radiograph_checks_its_pixels() -> None:
    encoding = Encoding.full_range(np.uint8, 8)
    with pytest.raises(TypeError, match="float64; need float32"):
        Radiograph(np.zeros((2, 2)), encoding, "png")
    with pytest.raises(ValueError, match="need \\(rows, columns\\)"):
        Radiograph(np.zeros(4, np.float32), encoding, "png")


def test_resampled_pixels_keep_the_field_of_view() -> None:
    encoding = Encoding.full_range(np.uint8, 8)
    stored = np.zeros((4, 6), np.uint8)
    radiograph = Radiograph(
        encoding.decode(stored), encoding, "png", stored=stored, pixel_spacing=(0.1, 0.2)
    )

    resampled = radiograph.with_pixels(np.ones((2, 2), np.float32))

    assert resampled.pixel_spacing == pytest.approx((0.2, 0.6))
    assert np.array_equal(resampled.to_stored(), np.full((2, 2), 255))


def test_other_number_of_frames_is_refused() -> None:
    radiograph = Radiograph(
        np.zeros((2, 4, 4), np.float32), Encoding.full_range(np.uint8, 8), "dicom"
    )
    with pytest.raises(ValueError, match=r"shape \(3, 4, 4\); the source has \(2, 4, 4\)"):
        radiograph.with_pixels(np.zeros((3, 4, 4), np.float32))


def test_radiograph_survives_pickling() -> None:
    radiograph = Radiograph(np.ones((2, 3), np.float32), Encoding.full_range(np.uint8, 8), "png")
    back = pickle.loads(pickle.dumps(radiograph))
    assert back.encoding == radiograph.encoding
    assert np.array_equal(back.pixels, radiograph.pixels)
