"""Dental instances of every kind through the command: valid before and after, pixels kept."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom import dcmread

from monai_dental.dicom import read_dataset, to_radiograph


def test_every_instance_is_derived(matrix) -> None:
    assert matrix.derived(matrix.same).keys() == matrix.sources.keys()
    assert matrix.derived(matrix.changed).keys() == matrix.sources.keys()


def test_strength_zero_gives_the_very_pixels(matrix) -> None:
    for name, path in matrix.derived(matrix.same).items():
        expected = matrix.sources[name]
        if expected is None:
            expected = to_radiograph(read_dataset(matrix.source / name)).stored
        derived = to_radiograph(read_dataset(path))
        assert np.array_equal(derived.stored, expected), name
        assert derived.encoding.dtype == expected.dtype, name


def test_full_strength_keeps_what_the_values_mean(matrix) -> None:
    for name, path in matrix.derived(matrix.changed).items():
        source = to_radiograph(read_dataset(matrix.source / name))
        derived = to_radiograph(read_dataset(path))
        assert derived.encoding == source.encoding, name
        step = 2 / (2**source.encoding.bits_stored - 1)
        assert np.abs(derived.pixels - source.pixels / 2).max() <= step, name  # half of the light


@pytest.mark.parametrize("output", ["same", "changed"])
def test_dciodvfy_finds_no_error_before_and_after(matrix, dciodvfy, output) -> None:
    for name, path in matrix.derived(getattr(matrix, output)).items():
        if "Deflated" not in name:  # which dciodvfy cannot read
            assert dciodvfy(matrix.source / name) == set(), name
        if "Deflated" not in dcmread(path).file_meta.TransferSyntaxUID.name:
            assert dciodvfy(path) == set(), name
