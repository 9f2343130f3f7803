"""The module for 3D Slicer: its logic on 3D Slicer's core, with a server that mimics ours."""

from __future__ import annotations

import importlib.util
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest

FILE = Path(__file__).parents[2] / "scripts" / "slicer3d" / "DenoiseRadiograph.py"
NRRD = (
    b"NRRD0004\ntype: uint16\ndimension: 3\nspace: left-posterior-superior\nsizes: 3 2 1\n"
    b"space directions: (0.2,0,0) (0,0.1,0) (0,0,1)\nkinds: domain domain domain\n"
    b"endian: little\nencoding: raw\nspace origin: (0,0,0)\n\n"
) + np.arange(6, dtype="<u2").tobytes()


@pytest.fixture(scope="module")
def module(missing):
    if importlib.util.find_spec("slicer") is None:
        missing("no slicer; pip install slicer-core==5.13.31053.0")
    spec = importlib.util.spec_from_file_location("DenoiseRadiograph", FILE)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture
def server():
    """A server with two models that records requests; `refusal` defines its responses."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):  # noqa: N802 - the library's name
            made.asked.append(self.path)
            self.answer(200, made.info)

        def do_POST(self):  # noqa: N802
            body = self.rfile.read(int(self.headers["Content-Length"]))
            made.requests.append((self.path, dict(self.headers), body))
            self.answer(*(made.refusal or (200, NRRD)))

        def answer(self, status, content):
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments):
            pass

    made = HTTPServer(("127.0.0.1", 0), Handler)
    made.requests, made.refusal, made.asked = [], None, []
    made.info = json.dumps({"models": {"a": {}, "blind": {}}}).encode()
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture
def scene(module):
    return module.slicer.vtkMRMLScene()


@pytest.fixture
def volume(module, scene, tmp_path):
    """A volume of a scene, read from a file."""
    source = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "tooth")
    return module.add_volume(scene, NRRD, source, tmp_path)


def address(server):
    return f"http://127.0.0.1:{server.server_port}"


def test_preferred_model_comes_first(module, server):
    assert module.model_names(address(server)) == ["blind", "a"]


def test_request_has_the_file_and_the_options_but_no_name(module, server, tmp_path):
    path = tmp_path / "DOE^JANE.dcm"
    path.write_bytes(b"content")

    answer = module.request_denoised(f"{address(server)}/?token=se cret", "blind", 0.5, path)

    assert answer == NRRD
    ((asked, headers, body),) = server.requests
    assert asked == "/infer/blind?output=image"
    assert headers["Authorization"] == "Bearer se cret"
    assert b'{"strength": 0.5, "result_extension": ".nrrd"}' in body
    assert b'filename="image.dcm"' in body
    assert b"\r\n\r\ncontent\r\n" in body
    assert b"DOE" not in body


@pytest.mark.parametrize(
    ("status", "content", "said"),
    [
        (422, b'{"detail": "image: no image"}', "the server says: image: no image"),
        (500, b"oh", "the server says: HTTP status 500"),
    ],
)
def test_error_is_the_sentence_of_the_server(module, server, tmp_path, status, content, said):
    (tmp_path / "a.png").write_bytes(b"")
    server.refusal = status, content

    with pytest.raises(RuntimeError, match=said):
        module.request_denoised(address(server), "blind", 1, tmp_path / "a.png")


def test_server_that_is_not_there_is_named(module, server):
    server.server_close()

    with pytest.raises(RuntimeError, match=f"no server answers at 127.0.0.1:{server.server_port}"):
        module.model_names(address(server))


@pytest.mark.parametrize("content", [b"<html>", b"[]", b'{"status": "ok"}'])
def test_server_of_another_kind_is_told(module, server, content):
    server.info = content

    with pytest.raises(RuntimeError, match="is no MONAI Label server"):
        module.model_names(address(server))


def test_address_may_have_a_path_and_no_proxy_is_asked(module, server, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")

    assert module.model_names(f"{address(server)}/label/?token=x") == ["blind", "a"]

    assert server.asked == ["/label/info/"]


def test_result_is_a_volume_beside_its_source(module, scene, volume, tmp_path):
    volume.GetDisplayNode().SetAutoWindowLevel(False)
    volume.GetDisplayNode().SetWindowLevel(300, 150)

    result = module.add_volume(scene, NRRD, volume, tmp_path)

    assert result.GetName() == f"{volume.GetName()} denoised"
    assert result.GetSpacing() == pytest.approx((0.2, 0.1, 1))
    image = result.GetImageData()
    assert image.GetDimensions() == (3, 2, 1)
    assert image.GetScalarTypeAsString() == "unsigned short"
    assert [image.GetScalarComponentAsDouble(x, y, 0, 0) for y in (0, 1) for x in (0, 1, 2)] == [
        0, 1, 2, 3, 4, 5,
    ]  # fmt: skip
    assert result.GetDisplayNode().GetWindow() == 300
    assert result.GetDisplayNode().GetLevel() == 150


def test_brightness_is_that_of_a_source_whose_values_mean_others(module, scene, volume, tmp_path):
    """As for MONOCHROME1 with a Modality LUT: value 10 * (5 - stored)."""
    image = volume.GetImageData()
    for column, row in ((x, y) for x in range(3) for y in range(2)):
        stored = image.GetScalarComponentAsDouble(column, row, 0, 0)
        image.SetScalarComponentFromDouble(column, row, 0, 0, 10 * (5 - stored))
    volume.GetDisplayNode().SetAutoWindowLevel(False)
    volume.GetDisplayNode().SetWindowLevel(20, 40)

    display = module.add_volume(scene, NRRD, volume, tmp_path).GetDisplayNode()

    assert display.GetWindow() == pytest.approx(2)
    assert display.GetLevel() == pytest.approx(1)


def test_answer_that_is_no_volume_leaves_nothing(module, scene, volume, tmp_path):
    before = scene.GetNumberOfNodes()

    with pytest.raises(RuntimeError, match="the server's answer is no volume"):
        module.add_volume(scene, b"no NRRD", volume, tmp_path)

    assert scene.GetNumberOfNodes() == before


def test_own_file_of_a_volume_is_sent_while_the_volume_is_as_in_it(module, scene, volume, tmp_path):
    own = tmp_path / "own.nrrd"
    own.write_bytes(NRRD)
    storage = scene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
    storage.SetFileName(str(own))
    volume.SetAndObserveStorageNodeID(storage.GetID())
    storage.ReadData(volume)
    assert module.source_file(volume, tmp_path) == own

    volume.GetImageData().Modified()

    assert module.source_file(volume, tmp_path).name == "volume.nii.gz"


def test_stack_of_files_is_not_sent_as_its_first(module, scene, volume, tmp_path):
    first = tmp_path / "first.png"
    first.write_bytes(b"")
    storage = scene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
    storage.SetFileName(str(first))
    storage.AddFileName(str(first))
    storage.AddFileName(str(tmp_path / "second.png"))
    volume.SetAndObserveStorageNodeID(storage.GetID())

    assert module.source_file(volume, tmp_path).name == "volume.nii.gz"


def test_volume_without_a_file_is_written_to_one(module, volume, tmp_path):
    path = module.source_file(volume, tmp_path)

    assert path.name == "volume.nii.gz"
    assert path.stat().st_size > 0


def test_series_of_several_files_is_refused(module, volume, tmp_path):
    volume.SetAttribute("DICOM.instanceUIDs", "1.2.3 1.2.4")

    with pytest.raises(RuntimeError, match="2 DICOM files; choose a radiograph of one"):
        module.source_file(volume, tmp_path)
