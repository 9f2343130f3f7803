"""Errors of files and of the program are distinguished, and pydicom's messages are silenced."""

from __future__ import annotations

import sys
import threading
import warnings

import pytest
from pydicom import Dataset

from monai_dental.dicom import Derivation, derive, quiet_pydicom, read, to_radiograph
from monai_dental.dicom import elements as elements_module
from monai_dental.dicom import select as select_module
from monai_dental.dicom.quiet import parsing
from monai_dental.dicom.select import read_rules, reason_to_skip
from monai_dental.errors import CorruptImageError, unexpected

DERIVATION = Derivation("Noise reduction", "some_model", "0.1.0", "ab" * 32, 0.8)


def warn_of_a_value() -> None:
    Dataset().add_new("BodyPartExamined", "CS", "ZZ marker")


def fail(*arguments: object) -> None:
    raise TypeError("our own")


def test_fault_of_our_own_keeps_its_kind_and_place(dicom_dataset, monkeypatch) -> None:
    monkeypatch.setattr(read, "check_size", lambda *_: "".missing)
    with pytest.raises(AttributeError) as caught:
        to_radiograph(dicom_dataset())
    assert unexpected(caught.value) == "unexpected AttributeError at dicom/read.py:" + str(
        caught.traceback[-2].lineno + 1
    )


def test_fault_of_our_own_in_deriving_and_selecting_passes_through(
    dicom_dataset, monkeypatch
) -> None:
    radiograph = to_radiograph(dicom_dataset())
    monkeypatch.setattr(sys.modules[derive.__module__], "record_series", fail)
    with pytest.raises(TypeError, match="our own"):
        derive(radiograph, DERIVATION)
    monkeypatch.setattr(select_module, "_is_dental", fail)
    with pytest.raises(TypeError, match="our own"):
        reason_to_skip(dicom_dataset(modality="CR"), read_rules())


def test_fault_of_pydicom_is_one_of_the_file(dicom_dataset) -> None:
    dataset = dicom_dataset()
    with (
        pytest.raises(CorruptImageError, match=r"instance 1\.2\.3\.4\.5\.6\.7: broken: TypeError$"),
        parsing(dataset, "broken"),
    ):
        dataset.walk(None)


def test_warnings_of_others_are_heard_inside() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with quiet_pydicom():
            warn_of_a_value()
            warnings.warn("ours", stacklevel=1)
        warn_of_a_value()
    assert [str(each.message)[:7] for each in caught] == ["ours", "Invalid"]


def test_no_thread_waits_and_the_last_turns_the_sound_on() -> None:
    both, first_left, done = threading.Barrier(2), threading.Event(), threading.Event()

    def second() -> None:
        with quiet_pydicom():
            both.wait(10)
            first_left.wait(10)
            warn_of_a_value()
        done.set()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before = list(warnings.filters)
        with quiet_pydicom():
            thread = threading.Thread(target=second)
            thread.start()
            both.wait(10)  # the other is inside too
        first_left.set()
        thread.join(10)
        assert done.is_set()  # nothing was raised from its warning
        assert warnings.filters == before


def test_image_pixel_is_read_once(dicom_dataset, monkeypatch) -> None:
    read_keywords: list[str] = []
    integer = elements_module.integer

    def counting(dataset: Dataset, keyword: str, default: int | None = None) -> int:
        read_keywords.append(keyword)
        return integer(dataset, keyword, default)

    monkeypatch.setattr(elements_module, "integer", counting)
    derive(to_radiograph(dicom_dataset(PixelPaddingValue=0)), DERIVATION)
    assert read_keywords.count("BitsStored") == 1
