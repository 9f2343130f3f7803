"""`monai-dental batch` from and to archives."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.uid import JPEGLSLossless

from monai_dental.batch.record.manifest import Manifest, Row
from monai_dental.cli import main
from monai_dental.dicom.derive import encode_dataset

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def other_orthanc(make_orthanc: Callable[..., Any]) -> Any:
    return make_orthanc()


@pytest.fixture
def other(other_orthanc: Any) -> Any:
    """Another empty archive."""
    other_orthanc.clear()
    return other_orthanc


@pytest.fixture
def rows(tmp_path: Path) -> Callable[..., dict[str, Row]]:
    """The rows of the manifest, by SOP Instance UID."""

    def read(folder: Path = tmp_path / "work") -> dict[str, Row]:
        manifest = Manifest(folder)
        try:
            return {row.name.rpartition("/")[2]: row for row in manifest.rows()}
        finally:
            manifest.close()

    return read


@pytest.fixture
def sources(instance: Callable[..., Any]) -> list[Any]:
    """Five instances that a search for IO finds."""
    made = [instance(number) for number in range(1, 5)]
    return [*made, instance(5, transfer_syntax=JPEGLSLossless)]


def derived(archive: Any) -> dict[str, str]:
    """The UIDs of the derived instances, by those of their sources."""
    found: dict[str, str] = {}
    for uid, content in archive.files().items():
        dataset = dcmread(io.BytesIO(content))
        for item in dataset.get("SourceImageSequence", ()):
            assert item.ReferencedSOPInstanceUID not in found
            found[str(item.ReferencedSOPInstanceUID)] = uid
    return found


@pytest.mark.parametrize("kind", ["dicomweb", "dimse", "dimse+tls"])
def test_archive_is_source_and_target(
    kind, orthanc, tls_orthanc, certificates, instance, sources, batch, rows, tmp_path, capfd
) -> None:
    is_tls = kind == "dimse+tls"
    archive = tls_orthanc if is_tls else orthanc
    for dataset in (*sources, instance(6, modality="PX"), instance(7, modality="CT")):
        archive.add(encode_dataset(dataset))
    place = str(archive.dicomweb if kind == "dicomweb" else archive.dimse)
    place = place.replace("dimse:", f"{kind}:")
    query = f"{place}?Modality=IO&Modality=PX&PatientName=MARKER*"
    tls = tls_options(certificates, "sender") if is_tls else []

    assert batch(query, place, *tls) == 0

    made = derived(archive)
    assert set(made) == {f"1.2.3.4.{number}" for number in range(1, 7)}
    first = rows()
    assert {row.outcome for row in first.values()} == {"derived"}
    assert {uid: row.output_uid for uid, row in first.items()} == made
    assert not (tmp_path / "work" / ".spool").exists()

    assert batch(query, place, *tls) == 0
    assert derived(archive) == made
    assert rows() == first  # with the times

    assert main(["batch-status", str(tmp_path / "work")]) == 0
    printed = capfd.readouterr()
    assert printed.out.splitlines()[-1] == "6 derived, 0 skipped, 0 failed, 0 left"
    assert f"6 derived, 0 skipped, 0 failed, 0 left: {place}\n" in printed.out
    written = b"".join(path.read_bytes() for path in (tmp_path / "work").iterdir())
    for said in (printed.out, printed.err, written.decode(errors="replace")):
        assert "MARKER" not in said


def tls_options(certificates: Path, name: str) -> list[Any]:
    files = (("cert", f"{name}.crt"), ("key", f"{name}.key"), ("ca", "ca.crt"))
    return [each for key, file in files for each in (f"--tls-{key}", certificates / file)]


def test_archive_without_c_get_moves_instances_to_us(
    make_orthanc, sources, instance, batch, tmp_path
) -> None:
    archive = make_orthanc(DicomAlwaysAllowGet=False, DicomModalitiesInDatabase=True)
    for dataset in (*sources, instance(6, modality="CT")):
        archive.add(encode_dataset(dataset))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    query, out = f"{archive.dimse}?Modality=IO", tmp_path / "out"

    # We are a destination to it, and may do nothing else.
    modality = {"AET": "MONAI_DENTAL", "Host": "127.0.0.1", "Port": port, "AllowGet": False,
                "AllowStore": False, "AllowMove": True}  # fmt: skip
    archive.call("/modalities/us", json.dumps(modality).encode(), method="PUT")

    assert batch(query, out, "--move-port", port) == 0

    assert len(list(out.rglob("*.dcm"))) == len(sources)


@pytest.mark.parametrize("fault", ["plain", "our certificate", "its certificate"])
def test_both_sides_of_tls_want_a_certificate(
    fault, tls_orthanc, certificates, batch, tmp_path, capfd
) -> None:
    place = str(tls_orthanc.dimse)
    options = []
    if fault != "plain":
        place = place.replace("dimse:", "dimse+tls:")
        is_ours = fault == "our certificate"
        options = tls_options(certificates, "stranger" if is_ours else "sender")
        options[-1] = certificates / ("ca.crt" if is_ours else "other.crt")

    assert batch(place, tmp_path / "out", *options) == 2

    said = capfd.readouterr().err.splitlines()
    assert len(said) == 1
    assert "does not answer as a DICOM application entity" in said[0]
    assert not (tmp_path / "out").exists()


def test_what_the_target_lost_is_made_again(orthanc, other, sources, batch, rows, tmp_path) -> None:
    for dataset in sources:
        orthanc.add(encode_dataset(dataset))
    source, target = f"{orthanc.dimse}?Modality=IO", other.dicomweb
    assert batch(source, target) == 0
    made = derived(other)
    assert len(made) == 5
    first = json.loads(other.call("/instances"))[0]
    other.call(f"/instances/{first}", method="DELETE")

    assert batch(source, target) == 0

    assert derived(other) == made


def test_results_of_other_runs_are_told_by_their_record(
    orthanc, sources, batch, rows, tmp_path
) -> None:
    """From a folder into an archive, and from there with its results into a folder."""
    (tmp_path / "in").mkdir()
    for number, dataset in enumerate(sources):
        (tmp_path / "in" / f"{number}.dcm").write_bytes(encode_dataset(dataset))
        orthanc.add(encode_dataset(dataset))
    assert batch(tmp_path / "in", orthanc.dimse) == 0
    made = derived(orthanc)
    assert set(made) == {str(each.SOPInstanceUID) for each in sources}

    assert batch(f"{orthanc.dicomweb}?StudyInstanceUID=1.2.3.6.2", tmp_path / "out") == 0

    found = rows(tmp_path / "out")
    assert set(found) == {"1.2.3.4.2", made["1.2.3.4.2"]}
    assert found[made["1.2.3.4.2"]].reason == "made by monai_dental itself"
    row = found["1.2.3.4.2"]
    assert row.output_uid == made["1.2.3.4.2"]
    assert (tmp_path / "out" / row.output).is_file()


def start(*arguments: object) -> subprocess.Popen[str]:
    """The command in a separate process group, with the job of faults.py."""
    script = ROOT / "tests" / "batch" / "faults.py"
    return subprocess.Popen(
        list(map(str, [sys.executable, script, "batch", *arguments])), cwd=ROOT, text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def test_killed_runs_lose_and_double_nothing(
    orthanc, other, instance, batch, rows, tmp_path
) -> None:
    """MONAI_DENTAL_KILLS sets the number of kills; default 2."""
    count, kills = 16, int(os.environ.get("MONAI_DENTAL_KILLS", "2"))
    for number in range(1, count + 1):
        orthanc.add(encode_dataset(instance(number)))
    source, target = f"{orthanc.dicomweb}?Modality=IO", str(other.dimse)

    for kill in range(1, kills + 1):
        process = start(source, "--output", target, "--work", tmp_path / "work")
        wanted = count * kill // (kills + 2)
        while process.poll() is None and len(json.loads(other.call("/instances"))) < wanted:
            time.sleep(0.01)
        process.kill()
        process.wait(60)

    assert 0 < len(derived(other)) < count
    assert batch(source, target) == 0
    made = derived(other)
    assert set(made) == {f"1.2.3.4.{number}" for number in range(1, count + 1)}
    assert {uid: row.output_uid for uid, row in rows().items()} == made


def test_target_that_is_away_is_told_before_anything_is_done(
    orthanc, make_orthanc, sources, batch, tmp_path, capfd
) -> None:
    orthanc.add(encode_dataset(sources[0]))
    archive = make_orthanc()
    archive.stop()

    assert batch(orthanc.dicomweb, archive.dicomweb) == 2
    assert "cannot be reached: Connection refused" in capfd.readouterr().err
    assert not (tmp_path / "work" / "manifest.sqlite").exists()


def test_target_that_goes_away_in_mid_run_leaves_the_rest(
    service, orthanc, sources, batch, rows, capfd
) -> None:
    for dataset in sources:
        orthanc.add(encode_dataset(dataset))
    answers = iter([0, 0])

    def store(request: Any) -> bool:
        code = next(answers, 503)
        if code:
            request.reply(status=code)
        return bool(code)

    service.answers["store"] = store
    source, target = f"{orthanc.dimse}?Modality=IO", f"dicomweb+{service.address.url}"

    assert batch(source, target) == 2

    assert "answers with HTTP status 503" in capfd.readouterr().err
    outcomes = sorted(row.outcome for row in rows().values())
    assert outcomes == ["derived", "derived", "left", "left", "left"]
    service.answers.clear()
    assert batch(source, target) == 0
    assert len(service.held) == 5


def test_service_that_goes_away_in_mid_run_leaves_the_rest(
    service, orthanc, sources, batch, rows, capfd
) -> None:
    for dataset in sources:
        service.add(dataset)
    answers = iter([0, 0])

    def fetch(request: Any) -> bool:
        code = next(answers, 503)
        if code:
            request.reply(status=code)
        return bool(code)

    service.answers["fetch"] = fetch
    source = f"dicomweb+{service.address.url}?Modality=IO"

    assert batch(source, orthanc.dimse) == 2

    assert "answers with HTTP status 503" in capfd.readouterr().err
    outcomes = [row.outcome for row in rows().values()]
    assert "left" in outcomes
    assert "failed" not in outcomes
    service.answers.clear()
    assert batch(source, orthanc.dimse) == 0
    assert len(derived(orthanc)) == 5


@pytest.mark.parametrize("kind", ["store", "fetch"])
def test_archive_that_fails_with_all_instances_stops_the_run(
    service, instance, batch, rows, kind, tmp_path, capfd
) -> None:
    (tmp_path / "in").mkdir()
    for number in range(1, 13):
        service.add(instance(number))
        (tmp_path / "in" / f"{number}.dcm").write_bytes(encode_dataset(instance(number)))
    place = f"dicomweb+{service.address.url}"
    ways = {"store": (tmp_path / "in", place), "fetch": (f"{place}?Modality=IO", tmp_path / "out")}
    folder = tmp_path / ("work" if kind == "store" else "out")
    service.answers[kind] = lambda request: request.reply(b"MARKER", status=500)
    if kind == "store":
        service.held.clear()

    assert batch(*ways[kind]) == 2

    said = capfd.readouterr().err
    assert "answers with HTTP status 500; the same with 5 instances in a row" in said
    assert "MARKER" not in said
    outcomes = [row.outcome for row in rows(folder).values()]
    assert outcomes.count("failed") <= 4
    assert set(outcomes) <= {"failed", "left"}
    service.answers.clear()
    assert batch(*ways[kind], "--retry-failed") == 0
    assert {row.outcome for row in rows(folder).values()} == {"derived"}


def test_instances_that_cannot_be_had_fail_alone(
    service, orthanc, sources, instance, batch, rows, capfd
) -> None:
    for dataset in sources:
        service.add(dataset)
    del service.held["1.2.3.4.1"]
    service.held["1.2.3.4.2"] = encode_dataset(instance(9))
    service.held["1.2.3.4.3"] = bytes(3 << 20)
    service.held["1.2.3.4.4"] = b"MARKER" * 100
    service.matches.append({**service.matches[0], "00080018": {"vr": "UI", "Value": ["MARKER"]}})
    service.answers["fetch"] = lambda request: (
        request.reply(status=404) if "1.2.3.4.1" in request.path else False
    )

    source = f"dicomweb+{service.address.url}?Modality=IO"
    assert batch(source, orthanc.dicomweb, "--spool-limit", 2) == 1

    found = {uid: row.reason for uid, row in rows().items() if row.reason}
    (invalid,) = [name for name in found if name.startswith("invalid-")]
    said = "the PACS lists it with an invalid UID; need a valid UID to fetch it"
    assert found.pop(invalid) == said
    assert found.pop("1.2.3.4.1").endswith("answers with HTTP status 404")
    assert found == {
        "1.2.3.4.2": "the PACS sends another instance than the one asked for",
        "1.2.3.4.3": "the answer is larger than 2 MiB, the limit",
        "1.2.3.4.4": "the PACS sends broken DICOM: InvalidDicomError",
    }
    assert set(derived(orthanc)) == {"1.2.3.4.5"}
    printed = capfd.readouterr()
    assert "MARKER" not in printed.out + printed.err


def test_refused_instance_fails_alone(service, sources, batch, rows, tmp_path) -> None:
    (tmp_path / "in").mkdir()
    for number, dataset in enumerate(sources[:3]):
        (tmp_path / "in" / f"{number}.dcm").write_bytes(encode_dataset(dataset))
    refusals = iter([True])
    service.answers["store"] = lambda request: (
        request.reply(status=400) if next(refusals, False) else False
    )

    assert batch(tmp_path / "in", f"dicomweb+{service.address.url}") == 1

    outcomes = {name: row.outcome for name, row in rows().items()}
    assert outcomes == {"0.dcm": "failed", "1.dcm": "derived", "2.dcm": "derived"}


def test_pages_smaller_than_asked_for_are_all_read(service, sources, batch, tmp_path, capfd):
    for dataset in sources:
        service.add(dataset)
    service.page = 2

    assert batch(f"dicomweb+{service.address.url}", tmp_path / "out", "--dry-run") == 0

    assert capfd.readouterr().out == "5 would be denoised, 0 skipped, 0 failed\n"
    assert not (tmp_path / "out").exists()
