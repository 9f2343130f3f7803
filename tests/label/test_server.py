"""Our app on a folder of images, started by `monai-dental label`, and asked by real clients."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from monai_dental.bundle.find import find_bundle
from monai_dental.formats import read_radiograph
from monai_dental.inference.denoiser import Denoiser

FILES = ("png.png", "jpg.jpg", "nifti.nii.gz", "dicom.dcm")
CLIENT = """
import json, sys
from monailabel.client import MONAILabelClient
client = MONAILabelClient(sys.argv[1], tmpdir=sys.argv[2])
print(json.dumps({**globals(), "answer": eval(sys.argv[3])}["answer"]))
"""


@pytest.fixture(scope="module")
def outside():
    """A proxy that must get no requests: connections to it are attempts to reach the internet."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0)
        yield listener


@pytest.fixture(scope="module")
def places(tmp_path_factory, images, small_bundle):
    """The studies and the bundles of the server."""
    folder = tmp_path_factory.mktemp("label")
    shutil.copytree(images, folder / "studies")
    (folder / "studies" / "broken.png").write_bytes((images / "png.png").read_bytes()[:300])
    (folder / "tmp").mkdir()
    weightless = folder / "weightless"
    shutil.copytree(small_bundle, weightless)
    (weightless / "models" / "model.pt").unlink()
    return folder


@pytest.fixture(scope="module")
def start(label_python, places, outside, small_bundle, run_server):
    proxy = f"http://127.0.0.1:{outside.getsockname()[1]}"

    def start():
        command = [label_python, "-m", "monai_dental", "label"]
        command += ["--studies", str(places / "studies"), "--port", "0"]
        for bundle in ("unet", "dae", small_bundle, places / "weightless"):
            command += ["--bundle", str(bundle)]
        return run_server(
            command, r"MONAI Label answers at http://127\.0\.0\.1:(\d+)",
            HOME=str(places), TMPDIR=str(places / "tmp"), XDG_DATA_HOME=str(places / "data"),
            http_proxy=proxy, https_proxy=proxy, HTTP_PROXY=proxy, HTTPS_PROXY=proxy,
            no_proxy="127.0.0.1",
        )  # fmt: skip

    return start


@pytest.fixture(scope="module")
def server(start):
    with start() as server:
        yield server


@pytest.fixture
def client(label_python, server, tmp_path):
    """MONAI Label's own client, in its own environment: client("client.info()")."""

    def ask(expression):
        command = [label_python, "-c", CLIENT, server.url, str(tmp_path), expression]
        return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)

    return ask


def test_server_starts_quickly_and_asks_no_one_outside(server, outside):
    assert server.cpu_seconds < 20
    with pytest.raises(BlockingIOError):
        outside.accept()


def test_info_lists_the_models_and_their_options(client):
    info = client("client.info()")

    assert sorted(info["models"]) == ["dae", "small", "unet"]  # no model without weights
    assert info["models"]["unet"]["type"] == "others"
    assert "unsupervised" not in info["models"]["dae"]["description"]
    assert info["models"]["unet"]["description"].startswith("U-Net")
    assert info["models"]["unet"]["config"]["strength"] == 1.0
    assert info["models"]["dae"]["config"]["variant"] == ["network", "median"]
    assert sorted(info["trainers"]) == ["small", "unet", "weightless"]
    assert info["datastore"]["total"] == 5


@pytest.mark.parametrize("model", ["unet", "dae"])
@pytest.mark.parametrize("name", FILES)
def test_result_is_the_file_that_denoise_writes(server, denoised, name, model):
    answer = server.infer(model, name.partition(".")[0])

    assert answer.status == 200
    assert answer.content == (denoised("--bundle", model) / name).read_bytes()


def test_client_gets_the_image_and_what_was_done(client, denoised):
    path, params = client("client.infer('unet', 'dicom', {})")

    assert Path(path).read_bytes() == (denoised("--bundle", "unet") / "dicom.dcm").read_bytes()
    assert params["bundle"] == "dental_xray_denoising_unet"
    assert params["strength"] == 1.0


def test_curl_of_the_documentation_saves_the_image(server, tmp_path, denoised):
    if shutil.which("curl") is None:
        pytest.skip("no curl; apt-get install curl")
    page = (Path(__file__).parents[2] / "docs" / "label.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^    (curl .*--output scan.dcm)$", page, re.M)
    line = line.replace("http://127.0.0.1:8000", server.url)
    # The documentation's model and image, by what this server has.
    line = line.replace("/infer/blind", "/infer/unet").replace("image=scan", "image=dicom")
    subprocess.run([*shlex.split(line), "--silent", "--fail"], check=True, cwd=tmp_path)

    expected = denoised("--bundle", "unet", "--strength", "0.5") / "dicom.dcm"
    assert (tmp_path / "scan.dcm").read_bytes() == expected.read_bytes()


def test_client_uploads_an_image_of_its_own(client, images, denoised):
    path, _ = client(f"client.infer('unet', '', {{}}, file={str(images / 'png.png')!r})")

    assert Path(path).read_bytes() == (denoised("--bundle", "unet") / "png.png").read_bytes()


def test_median_variant_is_the_median_config(server, images, tmp_path):
    (tmp_path / "median.png").write_bytes(server.infer("dae", "png", variant="median").content)

    radiograph = read_radiograph(images / "png.png")
    denoiser = Denoiser(find_bundle("dae"), "inference_median")
    expected = radiograph.with_pixels(denoiser.denoise(radiograph.pixels)).to_stored()
    np.testing.assert_array_equal(read_radiograph(tmp_path / "median.png").stored, expected)


GEOMETRY = """
import json, sys, SimpleITK
images = [SimpleITK.ReadImage(path) for path in sys.argv[1:]]
arrays = [SimpleITK.GetArrayFromImage(image) for image in images]
print(json.dumps([
    [image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection(),
     image.GetPixelIDTypeAsString(), int(array.max()), float(abs(array - arrays[0] * 1.0).max())]
    for image, array in zip(images, arrays)]))
"""


@pytest.mark.parametrize("name", ["png.png", "nifti.nii.gz", "dicom.dcm"])
def test_nrrd_for_slicer_has_depth_and_place_of_the_source(
    server, label_python, denoised, tmp_path, name
):
    asked = {"result_extension": ".nrrd", "result_dtype": "uint8"}  # as Slicer and OHIF ask
    (tmp_path / "a.nrrd").write_bytes(server.infer("unet", name.partition(".")[0], **asked).content)

    command = [label_python, "-c", GEOMETRY, str(denoised("--bundle", "unet") / name)]
    output = subprocess.run([*command, str(tmp_path / "a.nrrd")], check=True, capture_output=True)
    source, nrrd = json.loads(output.stdout)
    assert nrrd[0] == source[0]
    for got, wanted in zip(nrrd[1:4], source[1:4], strict=True):
        assert got == pytest.approx(wanted)
    assert nrrd[4] == source[4]
    assert nrrd[6] == 0  # ITK shows MONOCHROME1 turned over, as the NRRD is
    assert name == "png.png" or nrrd[5] > 255


@pytest.mark.parametrize(
    ("model", "image", "params", "status", "said"),
    [
        ("unet", "nowhere", {}, 404, "nowhere: no such image in the datastore"),
        ("unet", "/etc/hostname", {}, 400, "image is not a plain name"),
        ("unet", "../../etc/hostname", {}, 400, "image is not a plain name"),
        ("nothing", "png", {}, 404, "nothing: no such model; this server has dae, small, unet"),
        ("unet", "broken", {}, 422, "broken.png: the file ends after 300 bytes"),
        ("weightless", "png", {}, 503, "model.pt: no weights here; train the bundle first"),
        ("unet", "png", {"strength": 2}, 400, "strength is 2; need 0 to 1"),
        ("unet", "png", {"strength": "much"}, 400, "strength is 'much'; need a number"),
        ("unet", "png", {"variant": "mean"}, 400, "variant is 'mean'; need one of network"),
        ("unet", "png", {"result_extension": ".gif"}, 400, "'.gif'; need one of .nrrd, .png"),
        (
            "unet",
            "png",
            {"save_label": True, "label_tag": "../x"},
            400,
            "label_tag is '../x'; need",
        ),
        ("unet", "png", {"device": "gpu9"}, 503, "gpu9: no such device here"),
        ("unet", "png", {"device": "cuda"}, 400, "device is 'cuda'; this server has no GPU"),
        ("unet", "png", {"strenght": 0.5}, 400, "strenght: no such option; need one of strength"),
    ],
)
def test_bad_request_gets_a_clear_sentence(server, model, image, params, status, said):
    answer = server.infer(model, image, **params)

    assert (answer.status, said in answer.json["detail"]) == (status, True), answer.content


def test_parameters_in_the_wrong_place_are_refused(server):
    for path, status, said in (
        ("/infer/unet?image=png&strength=0.5", 400, "strength: no such parameter of the address"),
        ("/infer/unet?image=png&output=dicom_seg", 400, "not segmentations"),
        ("/infer/unet", 400, "no image"),
    ):
        answer = server.post_bytes(path, b"")
        assert (answer.status, said in answer.json["detail"]) == (status, True), answer.content
    answer = server.post("/infer/unet?image=png", {"strength": 0.5})
    assert (answer.status, "the body is JSON" in answer.json["detail"]) == (400, True)
    answer = server.post_bytes("/infer/unet?image=png", b"params={")
    assert (answer.status, "params is not JSON" in answer.json["detail"]) == (400, True)


def test_wrong_ending_is_told_before_denoising(server):
    lines = len(server.lines)

    assert server.infer("unet", "png", result_extension=".gif").status == 400
    assert not any("Denois" in line for line in server.lines[lines:])


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST", "OPTIONS"])
def test_other_web_sites_are_refused(server, places, method):
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "DELETE"}

    answer = server.ask(method, "/datastore/image?image=png&id=png", headers)

    assert answer.status == 403
    assert (places / "studies" / "png.png").is_file()
    assert server.ask("GET", "/info/", {"Host": "evil.example"}).status == 403


def test_no_client_writes_outside_the_studies_or_at_all(server, places, small_bundle, run_server):
    for method in ("PUT", "DELETE"):
        for what in ("image", "label"):
            path = f"/datastore/{what}?image=../x&id=png&tag=final&label=png"
            assert server.ask(method, path, {}).status in (400, 403)
    assert server.ask("DELETE", "/datastore/image?id=png", {}).status == 403
    assert not (places / "x.py").exists()


def test_failed_upload_leaves_nothing_and_is_called_by_its_own_name(server, places):
    before = sorted((places / "tmp").iterdir())
    form = (
        b'--mark\r\nContent-Disposition: form-data; name="file"; filename="Doe John.png"\r\n'
        b"Content-Type: image/png\r\n\r\nno image\r\n--mark--\r\n"
    )

    answer = server.ask(
        "POST", "/infer/unet", {"Content-Type": "multipart/form-data; boundary=mark"}, form
    )

    assert answer.status == 422
    assert answer.json["detail"].startswith("Doe John.png: ")
    assert sorted((places / "tmp").iterdir()) == before


def test_server_answers_others_while_it_denoises(server, places):
    large = np.random.default_rng(0).integers(0, 255, (1500, 2000)).astype(np.uint8)
    form = (
        b'--mark\r\nContent-Disposition: form-data; name="file"; filename="large.png"\r\n\r\n'
        + cv2.imencode(".png", large)[1].tobytes()
        + b"\r\n--mark--\r\n"
    )
    kind = {"Content-Type": "multipart/form-data; boundary=mark"}
    with ThreadPoolExecutor(1) as executor:
        work = executor.submit(server.ask, "POST", "/infer/unet?output=image", kind, form)
        answers = 0
        while not work.done():
            assert server.get("/info/").status == 200
            answers += not work.done()

    assert work.result().status == 200
    assert answers > 2


def test_pages_of_the_server_need_no_internet(server):
    for path in ("/", "/logs/"):  # the first leads to the page
        answer = server.get(path)
        assert answer.status == 200
        assert b"https://" not in answer.content.replace(b"https://github.com", b"")


def test_download_is_called_as_its_image(server):
    answer = server.infer("unet", "dicom")

    assert 'filename="dicom.dcm"' in answer.disposition


def test_page_shows_denoises_and_keeps_the_images_of_the_datastore(server, places, denoised):
    start = server.get("/denoise/")
    assert start.status == 200
    images = server.get("/denoise/api/changes?since=0").json["images"]
    keys = {each["name"]: each["key"] for each in images}
    assert keys.keys() >= {"png", "jpg", "nifti", "dicom"}

    answer = server.get(f"/denoise/api/images/{keys['dicom']}/result?strength=1")
    kept = server.post(f"/denoise/api/images/{keys['dicom']}/keep?strength=1")

    # `unet` is the first model of this server.
    expected = (denoised("--bundle", "unet") / "dicom.dcm").read_bytes()
    assert answer.content == expected
    assert kept.status == 201, kept.content
    path = places / "studies" / "labels" / "original" / "dicom.dcm"
    assert path.read_bytes() == expected
    path.unlink()


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_axe_finds_no_serious_fault_on_the_page(server, browser, theme):
    browser.resize(1440, 900)
    browser.visit(f"{server.url}/denoise/")
    browser.wait_for("document.querySelector('.divider:not([hidden])')")
    browser.run("document.documentElement.dataset.theme = arguments[0]", theme)

    assert browser.faults() == []


def test_unknown_label_is_told(server):
    answer = server.get("/datastore/label?label=nowhere&tag=final")

    assert answer.status == 404, answer.content


def test_training_of_an_unknown_model_gets_a_clear_sentence(server):
    answer = server.post("/train/nothing")

    assert (answer.status, answer.json["detail"][:23]) == (404, "nothing: no such model;")


def test_fifty_parallel_requests_are_all_answered(server):
    images = ["png", "jpg", "nifti", "dicom", "broken"] * 10
    with ThreadPoolExecutor(50) as executor:
        answers = list(executor.map(lambda image: server.infer("small", image), images))

    assert [answer.status for answer in answers] == [200, 200, 200, 200, 422] * 10
    assert len({answer.content for answer in answers}) == 5
    assert server.get("/info/").status == 200


def test_batch_keeps_results_beside_the_images(server, places, denoised):
    assert (places / "studies" / "broken.png").is_file()  # a bad file does not end the batch
    assert server.post("/batch/infer/unet").status == 200
    status = server.finish("/batch/infer")
    assert status["status"] == "DONE", "".join(server.lines[-40:])
    assert "not denoised: " in "".join(server.lines)

    kept = places / "studies" / "labels" / "original"
    assert sorted(path.name for path in kept.iterdir()) == sorted(FILES)
    for name in FILES:
        expected = denoised("--bundle", "unet") / name
        assert (kept / name).read_bytes() == expected.read_bytes()


def test_training_changes_the_next_result_and_a_new_start_reuses_it(server, start, places):
    (places / "studies" / "broken.png").unlink(missing_ok=True)
    before = server.infer("small", "png").content
    answer = server.post("/train/small", {"max_epochs": 4})
    assert answer.status == 200
    status = server.finish("/train/")
    assert status["status"] == "DONE", "".join(server.lines[-40:])

    after = server.infer("small", "png").content
    assert after != before
    trained = Denoiser(places / "data" / "monai_dental" / "label" / "model" / "small")
    radiograph = read_radiograph(places / "studies" / "png.png")
    expected = radiograph.with_pixels(trained.denoise(radiograph.pixels)).to_stored()
    (places / "after.png").write_bytes(after)
    np.testing.assert_array_equal(read_radiograph(places / "after.png").stored, expected)
    with start() as again:
        assert again.infer("small", "png").content == after
        assert again.get("/info/").json["models"]["small"]["version"].endswith("+adapted")


def test_patients_do_not_reach_the_log(server):
    server.infer("unet", "dicom")

    assert "Phantom" not in "".join(server.lines)


def test_port_that_is_taken_is_told(label_python, server, tmp_path):
    command = [label_python, "-m", "monai_dental", "label", "--studies", str(tmp_path)]
    port = server.url.rpartition(":")[2]
    result = subprocess.run([*command, "--port", port], capture_output=True, text=True)

    assert result.returncode == 2
    assert f"127.0.0.1:{port}: cannot listen there: Address already in use" in result.stderr
