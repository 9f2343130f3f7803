"""Overlays embedded in pixel cells, by High Bit and Bits Stored (PS3.5 8.1.2, PS3.3 C.9.2)."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom import uid

from monai_dental.dicom import to_radiograph

ABSENT = None


@pytest.fixture
def with_plane(dicom_dataset, picture):
    """Factory of instances with a plane in one bit of their cells and a group that names a bit."""

    def make(*, bits: int, shift: int, position: int, allocated: int | None = 16, frames: int = 1):
        stored = picture(bits).astype(np.uint16)
        stored = np.stack([stored] * frames) if frames > 1 else stored
        plane = np.random.default_rng(1).integers(0, 2, stored.shape).astype(np.uint16)
        ds = dicom_dataset(stored, bits_stored=bits, shift=shift, frames=frames)
        used = ((1 << bits) - 1) << shift
        cells = stored << shift
        if not used >> position & 1:
            cells = cells | plane << position
        ds.PixelData = cells.astype("<u2").tobytes()
        ds.add_new(0x60020010, "US", 24)
        ds.add_new(0x60020011, "US", 40)
        ds.add_new(0x60020040, "CS", "G")
        if allocated is not None:
            ds.add_new(0x60020100, "US", allocated)
        ds.add_new(0x60020102, "US", position)
        return ds, stored, plane

    return make


# Every bit of the cell, whatever of it is stored: below, inside or above.
@pytest.mark.parametrize("position", range(16))
@pytest.mark.parametrize(
    ("bits", "shift"),
    [(8, 0), (8, 8), (10, 0), (12, 0), (12, 2), (12, 4), (15, 0), (15, 1), (16, 0)],
)
def test_plane_is_there_where_the_bit_is_not_stored(with_plane, bits, shift, position) -> None:
    ds, stored, plane = with_plane(bits=bits, shift=shift, position=position)
    radiograph = to_radiograph(ds)
    assert np.array_equal(radiograph.stored, stored)
    is_unused = not shift <= position < shift + bits
    assert (0x60023000 in radiograph.header) is is_unused
    if is_unused:
        assert np.array_equal(radiograph.header.overlay_array(0x6002), plane)
        assert radiograph.header[0x60020102].value == 0
        assert radiograph.header[0x60020100].value == 1
    else:
        assert radiograph.header[0x60020102].value == position


@pytest.mark.parametrize(
    ("allocated", "position", "shift", "is_there"),
    [
        (1, 0, 4, False),  # says that Overlay Data is there, which is not
        (16, 0, 4, True),
        (ABSENT, 0, 4, True),
        (1, 15, 0, True),
        (ABSENT, 15, 0, True),
        (8, 15, 0, True),
        (16, 16, 0, False),
        (16, 99, 0, False),
    ],
)
def test_overlay_bits_allocated_tells_too(with_plane, allocated, position, shift, is_there) -> None:
    ds, _, _ = with_plane(bits=12, shift=shift, position=position, allocated=allocated)
    assert (0x60023000 in to_radiograph(ds).header) is is_there


def test_overlay_data_of_its_own_stays(with_plane) -> None:
    ds, _, _ = with_plane(bits=12, shift=0, position=15)
    ds.add_new(0x60023000, "OW", bytes(range(120)))
    assert to_radiograph(ds).header[0x60023000].value == bytes(range(120))


@pytest.mark.parametrize("transfer_syntax", [uid.RLELossless, uid.JPEGLSLossless])
def test_plane_in_compressed_cells_is_lifted(dicom_dataset, picture, transfer_syntax) -> None:
    plane = np.random.default_rng(1).integers(0, 2, (24, 40)).astype(np.uint16)
    ds = dicom_dataset(picture(12) | plane << 15, transfer_syntax=transfer_syntax)
    ds.BitsStored, ds.HighBit = 12, 11
    ds.add_new(0x60000102, "US", 15)
    radiograph = to_radiograph(ds)
    assert np.array_equal(radiograph.stored, picture(12))
    assert np.array_equal(radiograph.header.overlay_array(0x6000), plane)
    assert radiograph.header[0x60000010].value == 24


def test_plane_of_another_size_gets_that_of_the_cells(with_plane) -> None:
    ds, _, plane = with_plane(bits=12, shift=0, position=13)
    ds[0x60020010].value = 10
    assert np.array_equal(to_radiograph(ds).header.overlay_array(0x6002), plane)


@pytest.mark.parametrize("value", ["", [15, 14]])
def test_position_that_is_no_number_is_none(with_plane, value) -> None:
    ds, _, _ = with_plane(bits=12, shift=0, position=15)
    del ds[0x60020102]
    ds.add_new(0x60020102, "US", value)
    assert 0x60023000 not in to_radiograph(ds).header
