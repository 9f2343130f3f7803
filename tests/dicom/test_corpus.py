"""Hundreds of real, junk and fuzzed files: each is read, or refused with one of our errors."""

from __future__ import annotations

import warnings
from collections import Counter

import numpy as np
import pytest

from monai_dental.dicom import Derivation, derive, encode_dataset, read_dataset, to_radiograph
from monai_dental.errors import CorruptImageError, MonaiDentalError, UnsupportedImageError

DERIVATION = Derivation("Noise reduction", "corpus", "1", "0" * 64, 1.0)


def test_corpus_raises_nothing_but_our_errors(shared_data, tmp_path) -> None:
    folder = shared_data / "dicom_corpus"
    if not folder.is_dir():
        pytest.skip(f"no folder {folder}")
    outcomes: Counter[str] = Counter()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for path in sorted(each for each in folder.rglob("*") if each.is_file()):
            try:
                radiograph = to_radiograph(read_dataset(path), path)
            except (UnsupportedImageError, CorruptImageError) as error:
                outcomes[type(error).__name__] += 1
                continue
            assert radiograph.pixels.min() >= 0, path
            assert radiograph.pixels.max() <= 1, path
            try:
                content = encode_dataset(derive(radiograph, DERIVATION))
            except MonaiDentalError:
                outcomes["not derived"] += 1
                continue
            (tmp_path / "derived.dcm").write_bytes(content)
            derived = to_radiograph(read_dataset(tmp_path / "derived.dcm"))
            assert np.array_equal(derived.stored, radiograph.stored), path
            assert derived.encoding == radiograph.encoding, path
            outcomes["derived"] += 1
    assert outcomes.total() > 500
    assert outcomes["derived"] >= 335
    assert outcomes["not derived"] <= 5
