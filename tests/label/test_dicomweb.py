"""Our app, started as MONAI Label users do, on Orthanc's DICOMweb; and OHIF in a browser."""

from __future__ import annotations

import io
import json
import re
import shutil
import socket
import zipfile
from pathlib import Path

import pydicom
import pytest

import monai_dental

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory, run_server, missing):
    """Orthanc with its DICOMweb plugin and an empty database."""
    program = shutil.which("Orthanc")
    if program is None or not PLUGIN.is_file():
        missing("no Orthanc with DICOMweb; apt-get install orthanc orthanc-dicomweb")
    folder = tmp_path_factory.mktemp("orthanc")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = {
        "StorageDirectory": str(folder / "database"), "HttpPort": port, "Plugins": [str(PLUGIN)],
        "DicomServerEnabled": False, "AuthenticationEnabled": False,
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }  # fmt: skip
    (folder / "orthanc.json").write_text(json.dumps(config))
    ready = r"HTTP server listening on port: (\d+)"
    with run_server([program, str(folder / "orthanc.json")], ready) as server:
        server.wait_for("Orthanc has started")
        yield server


@pytest.fixture(scope="module")
def stored(orthanc, images):
    """The instances in Orthanc, by series: one with one instance, and one with two."""
    dataset = pydicom.dcmread(images / "dicom.dcm")
    series = {dataset.SeriesInstanceUID: [dataset], "1.2.3.2": []}
    for number in ("1", "2"):
        other = pydicom.dcmread(images / "dicom.dcm")
        other.SeriesInstanceUID = "1.2.3.2"
        other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.2.{number}"
        other.InstanceNumber = number
        series["1.2.3.2"].append(other)
    for instance in [instance for instances in series.values() for instance in instances]:
        stream = io.BytesIO()
        instance.save_as(stream)
        assert orthanc.post_bytes("/instances", stream.getvalue()).status == 200
    return {str(uid): instances for uid, instances in series.items()}


@pytest.fixture(scope="module")
def server(tmp_path_factory, label_python, orthanc, stored, run_server, small_bundle):
    home = tmp_path_factory.mktemp("home")
    app = home / "server"
    shutil.copytree(Path(monai_dental.__file__).parent / "label" / "server", app)
    command = [label_python, "-m", "monailabel.main", "start_server", "--app", str(app)]
    command += ["--studies", f"{orthanc.url}/dicom-web", "--conf", "models", f"unet,{small_bundle}"]
    command += ["--host", "127.0.0.1", "--port", "0"]
    ready = r"Uvicorn running on http://127\.0\.0\.1:(\d+)"
    with run_server(command, ready, HOME=str(home)) as server:
        yield server


@pytest.fixture(scope="module")
def series(stored):
    """UID of the series of one instance."""
    return next(iter(stored))


def instances(orthanc):
    """SOP Instance UIDs by Series Instance UID, as Orthanc has them."""
    found = {}
    for instance in orthanc.get("/dicom-web/instances").json:
        uids = found.setdefault(instance["0020000E"]["Value"][0], set())
        uids.add(instance["00080018"]["Value"][0])
    return found


def test_series_of_the_pacs_are_listed_and_denoised(server, series, denoised):
    assert server.get("/info/").json["datastore"]["total"] == 2
    answer = server.infer("unet", series)

    assert answer.status == 200
    assert answer.content == (denoised("--bundle", "unet") / "dicom.dcm").read_bytes()


def test_datastore_tells_the_ids_of_the_series(server, stored):
    assert server.get("/datastore/?output=all").json["objects"].keys() == stored.keys()


def test_series_of_several_instances_comes_as_a_zip(server, stored):
    answer = server.infer("unet", "1.2.3.2")

    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        results = [pydicom.dcmread(archive.open(name)) for name in archive.namelist()]
    sources = [result.SourceImageSequence[0].ReferencedSOPInstanceUID for result in results]
    assert sorted(sources) == sorted(instance.SOPInstanceUID for instance in stored["1.2.3.2"])


def test_result_is_stored_as_a_derived_image_only_when_asked_for(
    server, orthanc, series, stored, denoised
):
    assert server.infer("unet", series).status == 200
    assert instances(orthanc).keys() == stored.keys()

    answer = server.infer("unet", series, output="json", save_label=True)
    assert answer.status == 200, answer.content
    derived = pydicom.dcmread(denoised("--bundle", "unet") / "dicom.dcm")
    assert answer.json["label"] == derived.SeriesInstanceUID
    assert instances(orthanc)[derived.SeriesInstanceUID] == {derived.SOPInstanceUID}
    assert server.get("/info/").json["datastore"]["total"] == 2  # it is no source

    path = f"/dicom-web/studies/{derived.StudyInstanceUID}/series/{derived.SeriesInstanceUID}"
    elements = orthanc.get(f"{path}/metadata").json[0]
    metadata = pydicom.Dataset.from_json(
        {tag: value for tag, value in elements.items() if "BulkDataURI" not in value}
    )
    assert metadata.Modality == "IO"
    assert metadata.ImageType[:2] == ["DERIVED", "SECONDARY"]
    assert metadata.PatientID == derived.PatientID


def test_both_instances_of_a_series_are_stored(server, orthanc):
    answer = server.infer("unet", "1.2.3.2", output="json", save_label=True)

    assert len(instances(orthanc)[answer.json["label"]]) == 2


def test_ohif_shows_the_study_list(server, series, browser, tmp_path):
    browser.visit(f"{server.url}/ohif/")

    assert browser.wait_for("document.body.innerText.includes('Phantom, Dental')")
    assert browser.wait_for("document.body.innerText.includes('Study List')")
    browser.screenshot(tmp_path / "ohif.png")
    assert (tmp_path / "ohif.png").stat().st_size > 10_000


def test_series_that_is_a_path_is_refused(server):
    answer = server.infer("unet", "../model")

    assert answer.status == 400
    assert "is not a plain name; need one without a path" in answer.json["detail"]


@pytest.mark.parametrize("series", ["1.2.3.4.5.6.7", "nonsense"])
def test_unknown_series_gets_a_clear_sentence(server, series):
    answer = server.infer("unet", series)

    said = f"{series}: no such image in the datastore"
    assert (answer.status, answer.json["detail"]) == (404, said)


def test_what_is_not_dicom_is_not_stored(server, orthanc, series):
    before = instances(orthanc)
    answer = server.infer("unet", series, save_label=True, result_extension=".nrrd")

    assert answer.status == 422
    assert "leave out result_extension" in answer.json["detail"]
    assert instances(orthanc) == before


def test_training_learns_from_the_pacs_but_not_from_its_own_results(server, series):
    before = server.infer("small", series).content
    assert server.post("/train/small", {"max_epochs": 4}).status == 200
    status = server.finish("/train/")
    assert status["status"] == "DONE", "".join(server.lines[-40:])
    assert any(
        "'image_count': 3" in line or '"image_count": 3' in line for line in status["details"]
    )

    assert server.infer("small", series).content != before


def test_patients_do_not_reach_the_log(server):
    assert "Phantom" not in "".join(server.lines)
    assert "phantom-4" not in "".join(server.lines)


def test_pacs_that_is_gone_gets_a_clear_sentence(server, orthanc):
    orthanc.process.terminate()
    orthanc.process.wait(timeout=60)

    answer = server.infer("unet", "1.2.3.4.5.6.8")  # a series that was fetched is still at hand

    assert answer.status == 502
    assert re.search("cannot (search|fetch) by DICOMweb: Connect", answer.json["detail"])
