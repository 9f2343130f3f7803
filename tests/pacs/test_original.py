"""The proof that a PACS has an instance exactly as it was received."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from pydicom import Dataset, dcmwrite, uid

from monai_dental.errors import PacsError
from monai_dental.pacs.original import Original, pack_original
from monai_dental.pacs.parcel import COPY, LISTED


@pytest.fixture
def original(instance: Callable[..., Dataset], tmp_path: Path) -> Callable[..., Original]:
    def make(**options: Any) -> Original:
        path = tmp_path / "original.dcm"
        dataset = instance(1, **options)
        if options.get("Modality") == "SR":
            del dataset.PixelData
        dcmwrite(path, dataset, enforce_file_format=True)
        return pack_original(path)

    return make


@pytest.fixture
def copy(instance: Callable[..., Dataset]) -> Callable[..., BinaryIO]:
    def make(**options: Any) -> BinaryIO:
        stream = tempfile.TemporaryFile()  # noqa: SIM115 - the test closes it
        dataset = instance(1, **options)
        if options.get("Modality") == "SR":
            del dataset.PixelData
        dcmwrite(stream, dataset, enforce_file_format=True)
        return stream

    return make


LS, LE, BE = uid.JPEGLSLossless, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian
IMPLICIT, DEFLATED = uid.ImplicitVRLittleEndian, uid.DeflatedExplicitVRLittleEndian


@pytest.mark.parametrize(
    ("sent", "given", "proof"),
    [
        ({"transfer_syntax": LS}, {"transfer_syntax": LS, "PatientName": "Coerced"}, COPY),
        ({"transfer_syntax": LS}, {"transfer_syntax": LE}, COPY),
        ({"transfer_syntax": BE}, {"transfer_syntax": LE}, COPY),
        ({"transfer_syntax": IMPLICIT}, {"transfer_syntax": LE}, COPY),
        ({"transfer_syntax": DEFLATED}, {"transfer_syntax": DEFLATED}, COPY),
        ({"transfer_syntax": DEFLATED}, {"transfer_syntax": LE}, LISTED),
        ({"Modality": "SR"}, {"Modality": "SR"}, LISTED),
    ],
)
def test_proof_is_as_strong_as_can_be_told(original, copy, sent, given, proof) -> None:
    with copy(**given) as came:
        assert original(**sent).prove(came) == proof


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"seed": 1}, "holds other pixels under this UID"),
        ({"seed": 1, "transfer_syntax": IMPLICIT}, "holds other pixels under this UID"),
        ({"SOPInstanceUID": "1.2.9"}, "returns another instance"),
    ],
)
def test_other_pixels_or_instances_prove_nothing(original, copy, picture, given, message) -> None:
    if given.pop("seed", None):
        given["stored"] = picture(12)[::-1]
    with copy(**given) as came, pytest.raises(PacsError, match=message):
        original().prove(came)


def test_broken_copy_proves_nothing(original) -> None:
    with tempfile.TemporaryFile() as came:
        came.write(b"broken")
        with pytest.raises(PacsError, match="returns a broken copy"):
            original().prove(came)


def test_original_is_not_loaded_where_it_is_deflated(original) -> None:
    made = original(transfer_syntax=DEFLATED)
    assert made.dataset_begin == made.pixels_begin > 0
    assert made.syntaxes == (DEFLATED,)
