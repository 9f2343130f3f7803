"""Small files that would inflate to a huge size are refused before they do."""

from __future__ import annotations

import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from pydicom import uid

from monai_dental import RadiographReader, read_radiograph
from monai_dental.batch.dicom import DicomEngine, DicomJob
from monai_dental.batch.output_folder import without_times
from monai_dental.batch.source import Instance
from monai_dental.dicom import inflate as inflate_module
from monai_dental.dicom import read_dataset, to_radiograph
from monai_dental.dicom.head import read_head
from monai_dental.dicom.select import read_rules
from monai_dental.errors import CorruptImageError, UnsupportedImageError
from monai_dental.training.datalists import patient_of


def deflated(content: bytes, behind: int) -> bytes:
    """A deflated file with a private element of a number of zeros."""
    at = content.index(b"\x08\0\x05\0", 132)
    compressor = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    parts = [compressor.compress(content[at:])]
    parts.append(compressor.compress(b"\xe1\x7f\x10\0LO\x06\0MAKER "))
    length = behind.to_bytes(4, "little")
    parts.append(compressor.compress(b"\xe1\x7f\x10\x10OB\0\0" + length))
    block = bytes(1 << 20)
    parts += [compressor.compress(block) for _ in range(behind >> 20)]
    parts.append(compressor.flush())
    explicit, named = b"UI\x14\x001.2.840.10008.1.2.1\0", b"UI\x16\x001.2.840.10008.1.2.1.99"
    meta = content[:at].replace(explicit, named)
    return meta + b"".join(parts)


@pytest.fixture(scope="module")
def bomb(dicom_dataset, content_of, tmp_path_factory) -> Path:
    """Half a megabyte that inflates to 540."""
    path = tmp_path_factory.mktemp("in") / "bomb.dcm"
    path.write_bytes(deflated(content_of(dicom_dataset()), 540 << 20))
    return path


def read_by_reader(path: Path) -> None:
    reader = RadiographReader()
    reader.get_data(reader.read(path))


@pytest.mark.parametrize("read", [read_radiograph, read_dataset, read_by_reader])
def test_bomb_is_refused_before_it_is_inflated(bomb, read) -> None:
    assert bomb.stat().st_size < 1 << 20
    tracemalloc.start()
    try:
        with pytest.raises(
            UnsupportedImageError,
            match=r"bomb\.dcm: its deflated data set inflates to more than 512 MiB",
        ):
            read(bomb)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def test_no_more_than_the_head_of_a_bomb_is_inflated(bomb, dicom_dataset) -> None:
    tracemalloc.start()
    try:
        found = read_head(bomb, "StudyInstanceUID", "PatientID", "AccessionNumber")
        assert patient_of(str(bomb)) == found["PatientID"]
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
    assert found["PatientID"] == dicom_dataset().PatientID
    assert found["StudyInstanceUID"] == dicom_dataset().StudyInstanceUID
    assert without_times(bomb.read_bytes()) is None


def test_head_of_a_file_of_another_kind_is_told(tmp_path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG" + bytes(200))

    with pytest.raises(CorruptImageError, match="broken DICOM: InvalidDicomError"):
        read_head(tmp_path / "a.png", "PatientID")
    assert patient_of(str(tmp_path / "none.dcm")) == str(tmp_path / "none.dcm")


def test_bomb_fails_in_a_batch_and_is_no_file_of_another_kind(bomb) -> None:
    engine = DicomEngine(DicomJob(Path(), read_rules(), None))
    result = engine.run(Instance(bomb, Path(bomb.name)), "")
    assert result.outcome == "failed"
    assert result.reason == "its deflated data set inflates to more than 512 MiB; need at most that"


def test_deflated_data_within_the_limit_are_read(
    dicom_dataset, content_of, picture, tmp_path, monkeypatch
) -> None:
    content = deflated(content_of(dicom_dataset(picture(12), bits_stored=12)), 2 << 20)
    (tmp_path / "a.dcm").write_bytes(content)
    dataset = read_dataset(tmp_path / "a.dcm")
    assert dataset.file_meta.TransferSyntaxUID == uid.DeflatedExplicitVRLittleEndian
    assert np.array_equal(to_radiograph(dataset).stored, picture(12))
    assert len(dataset[0x7FE1, 0x1010].value) == 2 << 20
    monkeypatch.setattr(inflate_module, "MAX_BYTES", 2 << 20)
    with pytest.raises(UnsupportedImageError, match="more than 2 MiB"):
        read_dataset(tmp_path / "a.dcm")


@pytest.mark.parametrize("share", [0.7, 0.9, 0.99])
def test_cut_off_deflated_data_are_corrupt(dicom_file, share) -> None:
    path = dicom_file(transfer_syntax=uid.DeflatedExplicitVRLittleEndian)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(CorruptImageError, match="broken DICOM: error"):
        read_dataset(path)


@pytest.mark.parametrize(
    "transfer_syntax", [uid.RLELossless, uid.JPEGLSLossless, uid.JPEG2000Lossless]
)
def test_huge_frame_is_refused_before_it_is_decoded(dicom_dataset, transfer_syntax) -> None:
    ds = dicom_dataset(transfer_syntax=transfer_syntax, Rows=16000, Columns=16000)
    tracemalloc.start()
    try:
        message = "16000 x 16000 pixels; need at most 67108864 in a frame"
        with pytest.raises(UnsupportedImageError, match=message):
            to_radiograph(ds)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
