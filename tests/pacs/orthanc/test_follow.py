"""`monai-dental orthanc` beside a real Orthanc."""

from __future__ import annotations

import io
import json
import pickle
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.uid import JPEGLSLossless
from waiting import wait_until

from monai_dental.cli import main
from monai_dental.dicom.derive import encode_dataset
from monai_dental.errors import AddressError, OutputError, PacsError
from monai_dental.pacs.dicomweb.http import NotThereError
from monai_dental.pacs.orthanc.follow import Follower
from monai_dental.pacs.orthanc.rest import OrthancClient, parse_url
from monai_dental.pacs.orthanc.study import OrthancTarget

ROOT = Path(__file__).parents[3]
STUDIES = {"StudyInstanceUID": "1.2.3.6.100", "PatientID": "P100"}


@pytest.fixture(scope="module")
def archive(make_orthanc: Callable[..., Any]) -> Any:
    """An Orthanc whose studies are stable after a second."""
    return make_orthanc(StableAge=1)


@pytest.fixture
def url(archive: Any) -> str:
    archive.clear()
    return f"http://127.0.0.1:{archive.http_port}"


@pytest.fixture
def follow(tmp_path: Path, url: str) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Starts `monai-dental orthanc` with a denoiser that needs no torch."""
    started: list[subprocess.Popen[bytes]] = []
    stub = ROOT / "tests" / "node" / "stub_node.py"
    command = [sys.executable, stub, "orthanc", url, "--work", tmp_path / "work", "--workers", 1]

    def start() -> subprocess.Popen[bytes]:
        with (tmp_path / "log").open("ab") as log:
            started.append(
                subprocess.Popen(list(map(str, command)), stdout=log, stderr=log, cwd=ROOT)
            )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def sources(archive: Any) -> dict[str, list[str]]:
    """The UIDs of the derived instances of each source."""
    found: dict[str, list[str]] = {}
    for uid, content in archive.files().items():
        for item in dcmread(io.BytesIO(content)).get("SourceImageSequence", ()):
            found.setdefault(str(item.ReferencedSOPInstanceUID), []).append(uid)
    return found


def are_stable(archive: Any) -> bool:
    """Whether every study of the archive is stable."""
    return all(study["IsStable"] for study in json.loads(archive.call("/studies?expand")))


def test_stable_studies_get_their_results_once_through_a_kill_and_a_restart_of_the_archive(
    archive, follow, instance, tmp_path, capsys
) -> None:
    log, last = tmp_path / "log", tmp_path / "work" / "last-change"

    def is_caught_up() -> bool:
        """Whether the study was checked again after its results arrived."""
        return int(last.read_text()) == json.loads(archive.call("/changes?last"))["Last"]

    first = follow()
    wait_until(lambda: "follows http" in log.read_text(), first)
    for number in (1, 2):
        archive.add(encode_dataset(instance(number, **STUDIES)))
    archive.add(encode_dataset(instance(3, Modality="US", **STUDIES)))
    wait_until(lambda: len(sources(archive)) == 2, first)
    first.kill()
    first.wait()
    archive.add(encode_dataset(instance(4, transfer_syntax=JPEGLSLossless)))
    made = sources(archive)
    archive.kill()

    second = follow()
    wait_until(lambda: "waits: http" in log.read_text(), second)
    archive.start()
    wait_until(lambda: "1.2.3.4.4" in sources(archive), second)
    wait_until(is_caught_up, second)
    second.send_signal(signal.SIGTERM)

    assert second.wait(60) == 130
    found = sources(archive)
    assert set(found) == {"1.2.3.4.1", "1.2.3.4.2", "1.2.3.4.4"}
    assert {len(uids) for uids in found.values()} == {1}
    assert {uid: found[uid] for uid in made} == made
    said = log.read_text()
    assert said.count("study 1.2.3.6.4: 1 derived, 0 skipped, 0 failed, 0 left\n") == 1
    assert "MARKER" not in said
    assert main(["batch-status", str(tmp_path / "work" / "1.2.3.6.100")]) == 0
    # Killed between sending a result and noting it, it meets that result as one more instance.
    counts = r"2 derived, [1-3] skipped, 0 failed, 0 left\n\Z"
    assert re.search(counts, capsys.readouterr().out)


def test_archive_that_kept_other_pixels_is_not_believed(archive, url, instance, picture) -> None:
    target = OrthancTarget(parse_url(url))
    target.prepare()
    stored = target.store(instance(stored=picture(12)))
    assert target.find(stored) == stored
    assert pickle.loads(pickle.dumps(target)).find(stored) == stored

    with pytest.raises(PacsError, match=r"instance 1\.2\.3\.4\.1: the PACS holds other pixels"):
        target.store(instance(stored=picture(12) // 2))

    archive.clear()
    assert target.find(stored) is None
    target.close()


def test_study_that_is_gone_and_answers_of_others_are_told(url, service, patience) -> None:
    client = OrthancClient(parse_url(url), patience, ())
    with pytest.raises(NotThereError):
        client.stable_instances("-".join(["0" * 8] * 5))
    with pytest.raises(PacsError, match="does not answer as Orthanc does"):
        client.stable_instances("../../system")
    client.close()
    stranger = parse_url(f"http://127.0.0.1:{service.server.server_port}")
    service.answers["search"] = lambda request: request.reply(b"[]") or True
    other = OrthancClient(stranger, patience, ())
    with pytest.raises(PacsError, match="does not answer as Orthanc does"):
        other.last_change()
    other.close()


def test_archive_that_counts_anew_is_looked_at_from_the_beginning(
    archive, url, instance, tmp_path
) -> None:
    (tmp_path / "last-change").write_text("1000000\n")
    archive.add(encode_dataset(instance()))
    looked: list[Path] = []
    told: list[str] = []

    def denoise(found: dict[Any, str], work: Path) -> None:
        looked.append(work)
        raise KeyboardInterrupt

    follower = Follower(parse_url(url), tmp_path, denoise, told.append, look_s=0.05)
    with pytest.raises(KeyboardInterrupt):
        follower.run()

    assert looked == [tmp_path / "1.2.3.6.1"]
    assert told[1] == "Orthanc numbers its changes from 1 again: all studies are checked"


def test_study_that_cannot_be_done_holds_up_no_other(archive, url, instance, tmp_path) -> None:
    (tmp_path / "last-change").write_text("0\n")
    for number in (1, 2):
        archive.add(encode_dataset(instance(number)))
    wait_until(lambda: are_stable(archive))
    looked: list[str] = []
    told: list[str] = []

    def denoise(found: dict[Any, str], work: Path) -> None:
        looked.append(work.name)
        if looked.count("1.2.3.6.1") == 2 and "1.2.3.6.2" in looked:
            raise KeyboardInterrupt
        if work.name == "1.2.3.6.1":
            raise OutputError("manifest.sqlite: is damaged")

    with pytest.raises(KeyboardInterrupt):
        Follower(parse_url(url), tmp_path, denoise, told.append, look_s=0.05).run()

    assert looked == ["1.2.3.6.1", "1.2.3.6.2", "1.2.3.6.1"]
    assert told[1:] == ["waits: manifest.sqlite: is damaged"]
    changes = json.loads(archive.call("/changes?limit=1000"))["Changes"]
    first = next(each["Seq"] for each in changes if each["ChangeType"] == "NewInstance"
                 and int((tmp_path / "last-change").read_text()) < each["Seq"])  # fmt: skip
    assert int((tmp_path / "last-change").read_text()) == first - 1  # it is not forgotten


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ftp://host", "does not begin with http"),
        ("http://name:secret@host", "holds credentials"),
        ("http://host?PatientID=1", "has a query"),
        ("http://", "no host"),
    ],
)
def test_url_that_is_none_is_told_without_its_secrets(text, reason) -> None:
    with pytest.raises(AddressError, match=reason) as error:
        parse_url(text)

    assert "secret" not in str(error.value)
    assert "dicomweb" not in str(error.value).replace("dicomweb+https://HOST", "")
