"""The commands `batch` and `batch-status`: selection, report, privacy, usage."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
from pydicom import dcmread, dcmwrite, uid
from pydicom.valuerep import PersonName

from monai_dental.batch.output_folder import locate
from monai_dental.cli import main
from monai_dental.cli.batch_progress import Progress
from monai_dental.dicom import read_dataset, to_radiograph

MARKER = "MARKER"
_TEXT = {"LO", "SH", "PN", "LT", "ST", "UT", "UC", "CS", "AE", "DA", "TM", "DT", "AS", "UI", "UR"}


def status(tmp_path, *options):
    return main(["batch-status", str(tmp_path / "out"), *map(str, options)])


@pytest.fixture
def mixed(add_file, picture, tmp_path):
    """Three to denoise, six to skip, one broken."""
    add_file("io.dcm")
    add_file("px", modality="PX")
    add_file("dental/.hidden.dcm", modality="CR")
    add_file("chest.dcm", modality="CR", BodyPartExamined="CHEST", AnatomicRegionSequence=None)
    colour = {"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3, "PlanarConfiguration": 0}
    add_file("colour.dcm", stored=picture(8), PixelData=bytes(range(240)) * 12, **colour)
    add_file("mr.dcm", modality="CT", Modality="MR")
    (tmp_path / "in" / "notes.txt").write_text("junk")
    (tmp_path / "in" / "empty").touch()
    (tmp_path / "in" / "bare").write_bytes(b"\x08\0 looks like a dataset without preamble")
    broken = add_file("broken.dcm")
    broken.write_bytes(broken.read_bytes()[:-100])


def test_each_file_has_one_outcome(mixed, batch, rows, tmp_path, capsys) -> None:
    assert batch() == 1

    outcomes = {name: row.outcome for name, row in rows().items()}
    assert outcomes == {
        "io.dcm": "derived", "px": "derived", "dental/.hidden.dcm": "derived",
        "chest.dcm": "skipped", "colour.dcm": "skipped", "mr.dcm": "skipped",
        "notes.txt": "skipped", "empty": "skipped", "bare": "skipped", "broken.dcm": "failed",
    }  # fmt: skip
    out = capsys.readouterr().out.splitlines()
    assert out == [
        "failed: broken.dcm: (7FE0,0010) Pixel Data has 1820 bytes; need 1920",
        f"3 derived, 6 skipped, 1 failed, 0 left: {tmp_path / 'out'}",
    ]
    assert status(tmp_path) == 1
    out = capsys.readouterr().out.splitlines()
    assert "skipped 3: not a DICOM file" in out
    assert "failed 1: (7FE0,0010) Pixel Data has 1820 bytes; need 1920" in out
    assert out[-1] == "3 derived, 6 skipped, 1 failed, 0 left"


def test_own_results_are_skipped(add_file, batch, rows, outputs, tmp_path) -> None:
    add_file("a.dcm")
    assert batch() == 0
    (tmp_path / "in" / "b.dcm").write_bytes(next(iter(outputs().values())))

    assert batch() == 0
    assert rows()["b.dcm"].reason == "made by monai_dental itself"


def test_dry_run_tells_and_writes_nothing(mixed, batch, tmp_path, capsys) -> None:
    assert batch("--dry-run", "--all-xray") == 0

    out = capsys.readouterr().out.splitlines()
    assert out[-1] == "5 would be denoised, 5 skipped, 0 failed"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_manifest_is_exported(mixed, batch, rows, tmp_path, suffix) -> None:
    batch()

    assert status(tmp_path, "--export", tmp_path / f"rows.{suffix}") == 1
    text = (tmp_path / f"rows.{suffix}").read_text()
    if suffix == "csv":
        exported = list(csv.DictReader(io.StringIO(text)))
    else:
        exported = [json.loads(line) for line in text.splitlines()]
    assert {row["name"]: row["output_digest"] for row in exported} == {
        name: row.output_digest for name, row in rows().items()
    }
    assert status(tmp_path, "--export", tmp_path / "rows.xml") == 2


@pytest.mark.filterwarnings("ignore:Unknown encoding", "ignore:Invalid value")
def test_no_patient_data_leave_the_derived_objects(
    add_file, batch, tmp_path, dicom_dataset, capfd
) -> None:
    """Markers in every text element, one at a time and all at once, in whole and cut-off files."""
    plain = dicom_dataset()
    keywords = [each.keyword for each in plain if each.VR in _TEXT and each.keyword]
    for keyword in keywords:
        _write_marked(dicom_dataset(), [keyword], tmp_path / "in" / f"{len(keyword)}{keyword}.dcm")
    add_file("some.dcm")
    identity = ["PatientName", "PatientID", "AccessionNumber", "StudyDescription", "StudyID"]
    _write_marked(dicom_dataset(), identity, tmp_path / "in" / "identity.dcm")
    _write_marked(dicom_dataset(), keywords, tmp_path / "in" / "all.dcm")
    for name in ("all", "identity"):
        content = (tmp_path / "in" / f"{name}.dcm").read_bytes()
        for share in (3, 5, 8, 9):
            cut = content[: len(content) * share // 10]
            (tmp_path / "in" / f"{name}{share}.dcm").write_bytes(cut)

    batch()
    status(tmp_path, "--export", tmp_path / "rows.csv")
    batch("--dry-run")

    printed = capfd.readouterr()
    assert "derived" in printed.out
    assert MARKER not in printed.out + printed.err
    assert MARKER not in (tmp_path / "rows.csv").read_text()
    for path in (tmp_path / "out").rglob("*"):
        assert MARKER not in str(path)
        if path.is_file() and path.suffix != ".dcm":
            assert MARKER.encode() not in path.read_bytes(), path


def _write_marked(dataset, keywords, path) -> None:
    path.parent.mkdir(exist_ok=True)
    for keyword in keywords:
        # The value of the element, past all checks that pydicom makes of one.
        if keyword in dataset:
            del dataset[keyword]
        setattr(dataset, keyword, "")
        is_name = dataset[keyword].VR == "PN"
        dataset[keyword]._value = PersonName(f"{MARKER}^X") if is_name else MARKER
    dataset.preamble = bytes(128)
    dcmwrite(path, dataset, enforce_file_format=False)


def test_hashed_paths_stay_out_of_what_is_said(add_file, batch, tmp_path, capfd) -> None:
    add_file(f"{MARKER}.dcm")
    broken = add_file(f"{MARKER}/{MARKER}2.dcm")
    broken.write_bytes(broken.read_bytes()[:-100])

    assert batch("--hash-paths") == 1
    status(tmp_path, "--export", tmp_path / "rows.csv")

    printed = capfd.readouterr()
    assert MARKER not in printed.out + printed.err
    assert MARKER not in (tmp_path / "rows.csv").read_text()
    assert batch() == 2
    assert "made with --hash-paths" in capfd.readouterr().err


@pytest.mark.parametrize("study", ["../../up", "/etc", "Name^Of", "1..2", "1." * 40, "1.2\n", None])
def test_only_uids_become_paths(dicom_dataset, study) -> None:
    dataset = dicom_dataset()
    del dataset.StudyInstanceUID
    if study is not None:
        dataset.StudyInstanceUID = ""
        dataset["StudyInstanceUID"]._value = study
    first, *rest = locate(dataset).split("/")
    assert first == "no-study" or first.startswith("invalid-")
    assert rest == ["1.2.3.4.5.6", "1.2.3.4.5.6.7.dcm"]


@pytest.mark.parametrize(
    ("compression", "syntax"),
    [
        ("none", uid.ExplicitVRLittleEndian),
        ("jpegls", uid.JPEGLSLossless),
        ("as-source", uid.JPEG2000Lossless),
    ],
)
def test_compression_changes_no_uid_and_no_pixel(
    add_file, batch, rows, tmp_path, picture, compression, syntax
) -> None:
    add_file("a.dcm", transfer_syntax=uid.JPEG2000Lossless, photometric="MONOCHROME2")

    assert batch("--compress", compression, "--strength", 0) == 0
    row = rows()["a.dcm"]
    derived = dcmread(tmp_path / "out" / row.output)
    assert derived.file_meta.TransferSyntaxUID == syntax
    from monai_dental.dicom import read_dataset, to_radiograph

    radiograph = to_radiograph(read_dataset(tmp_path / "out" / row.output))
    assert np.array_equal(radiograph.stored, picture(12))
    assert batch("--strength", 0) == 0
    assert rows()["a.dcm"].output_uid == row.output_uid


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--bundle", "dea"], "dea: no such bundle"),
        (["--rules", "nowhere.json"], "nowhere.json: cannot be read as JSON rules"),
    ],
)
def test_wrong_usage_writes_nothing(add_file, batch, tmp_path, capsys, options, message) -> None:
    add_file("a.dcm")

    assert batch(*options) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_foreign_output_folder_is_refused(add_file, batch, tmp_path, capsys) -> None:
    add_file("a.dcm")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "letter.txt").touch()

    assert batch() == 2
    assert "not empty, but has no manifest.sqlite" in capsys.readouterr().err
    assert batch(output=tmp_path / "in" / "out") == 0  # below the input, it is passed over
    assert batch(output=tmp_path) == 2
    assert status(tmp_path) == 2


def test_progress_without_a_terminal_is_a_line_now_and_then() -> None:
    stream = io.StringIO()
    progress = Progress(3, stream, interval_s=0)
    progress.update("derived")
    progress.update("failed")
    progress.close()
    lines = stream.getvalue().splitlines()
    assert lines[-1].startswith("2 of 3: 1 derived, 1 failed; ")
    assert lines[-1].endswith(" left")
    stream = io.StringIO()
    Progress(3, stream).update("derived")
    assert stream.getvalue() == ""


def test_real_bundle_from_end_to_end(add_file, rows, outputs, tmp_path, capfd) -> None:
    add_file("a.dcm")
    command = ["batch", tmp_path / "in", "--output", tmp_path / "out", "--compress", "jpegls"]

    assert main([*map(str, command)]) == 0

    made = outputs()
    (content,) = made.values()
    derived = dcmread(io.BytesIO(content))
    digest = rows()["a.dcm"].model_digest
    assert digest in derived.ContributingEquipmentSequence[-1].ContributionDescription
    assert capfd.readouterr().out.startswith("1 derived, 0 skipped, 0 failed, 0 left: ")

    # Another backend makes the same pixels, but for rounding; so nothing is done again.
    assert main([*map(str, command), "--backend", "openvino"]) == 0
    assert outputs() == made
    command[3] = tmp_path / "other"
    assert main([*map(str, command), "--backend", "openvino"]) == 0
    (other,) = (tmp_path / "other").rglob("*.dcm")
    (path,) = (tmp_path / "out").rglob("*.dcm")
    first, second = (to_radiograph(read_dataset(each)).pixels for each in (path, other))
    assert np.abs(first - second).max() <= 0.01
