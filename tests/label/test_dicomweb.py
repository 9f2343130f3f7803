"""Our app, started as MONAI Label users do, on Orthanc's DICOMweb; and OHIF in a browser."""

from __future__ import annotations

import gzip
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


def _instance(orthanc, series):
    """The content of the first instance of a series."""
    found = orthanc.post(
        "/tools/find", {"Level": "Instance", "Query": {"SeriesInstanceUID": series}}
    )
    return orthanc.get(f"/instances/{found.json[0]}/file").content


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


DENOISE = "[data-cy=Denoise]"
CANVASES = "[...document.querySelectorAll('.cornerstone-canvas')]"
# Of each viewport: the first and last column that are not black, and the sum of the greys.
SHOWN = f"""
return {CANVASES}.map((canvas) => {{
  const {{ width, height }} = canvas;
  const {{ data }} = canvas.getContext("2d").getImageData(0, 0, width, height);
  let [first, last, sum] = [width, 0, 0];
  for (let i = 0; i < data.length; i += 4) {{
    sum += data[i];
    if (data[i] < 9) continue;
    first = Math.min(first, (i / 4) % width);
    last = Math.max(last, (i / 4) % width);
  }}
  return [first, last, sum];
}});
"""


@pytest.fixture(scope="module")
def study(orthanc, images):
    """A study with a series of each modality, one instance each, and a broken one (OT)."""
    series = {"IO": "1.2.9.1", "PX": "1.2.9.2", "DX": "1.2.9.3", "CR": "1.2.9.4", "OT": "1.2.9.5"}
    for modality, uid in series.items():
        dataset = pydicom.dcmread(images / "dicom.dcm")
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.9", uid
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{uid}.1"
        dataset.Modality = modality
        if modality == "OT":
            dataset.PixelData = dataset.PixelData[:1000]
        stream = io.BytesIO()
        dataset.save_as(stream)
        assert orthanc.post_bytes("/instances", stream.getvalue()).status == 200
    return series


@pytest.fixture
def ohif(browser, server, study):
    """Opens a series in OHIF's plain viewer, and clicks "Denoise" there."""

    def denoise(modality):
        browser.resize(1400, 900)
        query = f"StudyInstanceUIDs=1.2.9&initialSeriesInstanceUID={study[modality]}"
        browser.visit(f"{server.url}/ohif/viewer?{query}")
        browser.wait_for(f"document.querySelector('{DENOISE}') && {CANVASES}.length === 1")
        browser.click(DENOISE)
        return browser

    return denoise


@pytest.mark.parametrize("modality", ["PX", "DX", "CR", "IO"])
def test_button_of_ohif_opens_the_original_beside_its_stored_result(
    ohif, orthanc, study, tmp_path, modality
):
    page = ohif(modality)

    page.wait_for(f"location.search.includes('denoised=') && {CANVASES}.length === 2")
    query = page.run("return Object.fromEntries(new URLSearchParams(location.search))")
    assert query["original"] == f"{study[modality]}.1"
    stored = pydicom.dcmread(io.BytesIO(_instance(orthanc, query["denoised"])))
    assert stored.Modality == modality
    assert stored.SourceImageSequence[0].ReferencedSOPInstanceUID == query["original"]
    panes = (
        "[...document.querySelectorAll('[data-cy=viewport-pane]')].map((each) => each.innerText)"
    )
    page.wait_for(f"{panes}.every((text) => text.includes('periapical'))")
    assert ["[Noise" in text for text in page.run(f"return {panes}")] == [False, True]
    page.screenshot(tmp_path / "ohif.png")


def have_changed(shown, before, part):
    return all(now[part] != then[part] for now, then in zip(shown, before, strict=True))


def test_ohif_links_zoom_pan_and_window_of_both(browser, server, study, tmp_path):
    """After the test above: the two viewports are open."""
    browser.wait_for(f"{CANVASES}.length === 2")
    browser.wait_until(lambda: min(total for _, _, total in browser.run(SHOWN)) > 0)
    boxes = browser.run(f"return {CANVASES}.map((each) => each.getBoundingClientRect().toJSON())")
    x, y = boxes[0]["x"] + boxes[0]["width"] / 2, boxes[0]["y"] + boxes[0]["height"] / 2

    for tool, (dx, dy) in {"WindowLevel": (40, 60), "Zoom": (0, -120), "Pan": (50, 0)}.items():
        before = browser.run(SHOWN)
        browser.click(f"[data-cy={tool}]")
        browser.drag((x, y), (x + dx, y + dy))
        part = slice(2, 3) if tool == "WindowLevel" else slice(0, 2)
        browser.wait_until(lambda: have_changed(browser.run(SHOWN), before, part))  # noqa: B023
        left, right = browser.run(SHOWN)
        assert left[:2] == right[:2]


def test_error_of_the_button_is_a_sentence(ohif):
    page = ohif("OT")

    notices = "[...document.querySelectorAll('[data-type=error]')].map((each) => each.innerText)"
    said = page.wait_for(f"{notices}.find((text) => text.startsWith('Denoise'))")

    assert said.startswith("Denoise\ninstance 1.2.9.5.1: (7FE0,0010) Pixel Data has 1000 bytes")


def test_results_are_not_denoised_again(server, series):
    result = server.infer("unet", series, output="json", save_label=True).json["label"]

    answer = server.infer("unet", result)

    said = f"series {result} is denoised; choose its original"
    assert (answer.status, answer.json["detail"]) == (422, said)


def test_ohif_gets_what_it_searches_for_and_nothing_else(server, study):
    """MONAI Label's own proxy loses the query: it answers with the studies of all patients."""
    answer = server.get("/proxy/dicom/qido/studies?StudyInstanceUID=1.2.9")

    # It passes on what the PACS has compressed, as a browser takes it.
    content = answer.content
    found = json.loads(gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content)
    assert [each["0020000D"]["Value"] for each in found] == [["1.2.9"]]
    refused = server.get("/proxy/dicom/wado/%2e%2e/instances")
    assert (refused.status, refused.json["detail"]) == (
        400,
        "the path leads out of the DICOMweb service",
    )


def test_patients_do_not_reach_the_log(server):
    assert "Phantom" not in "".join(server.lines)
    assert "phantom-4" not in "".join(server.lines)


def test_pacs_that_is_gone_gets_a_clear_sentence(server, orthanc):
    orthanc.process.terminate()
    orthanc.process.wait(timeout=60)

    answer = server.infer("unet", "1.2.3.4.5.6.8")  # a series that was fetched is still at hand

    assert answer.status == 502
    assert re.search("cannot (search|fetch) by DICOMweb: Connect", answer.json["detail"])
