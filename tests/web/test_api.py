"""The server's responses: the command line's bytes, and sentences for errors."""

from __future__ import annotations

import io
import json
import threading
import time
import zipfile
from statistics import median

import cv2
import numpy as np
import pytest

from monai_dental.formats import read_radiograph
from monai_dental.viewer.pixels import grey_values
from monai_dental.web import uploads
from monai_dental.web.archive import FAILURES


@pytest.fixture(scope="module")
def filled(start, mixed_files):
    """A server that has denoised the eight files, and the keys by name."""
    served = start()
    keys = {}
    for path in sorted(mixed_files.iterdir()):
        name = path.name.replace(" ", "%20").replace("<", "%3C").replace(">", "%3E")
        keys[path.name] = served.add(name, path.read_bytes())["key"]
    for key in keys.values():
        served.ask(f"api/images/{key}/denoise", b"", "POST")
    return served, keys


def test_saved_files_are_those_of_the_command_line_to_the_byte(filled, denoised_files):
    served, keys = filled
    names = sorted(path.name for path in denoised_files.iterdir())
    assert len(names) == 7

    for name in names:
        status, content, headers = served.ask(f"api/images/{keys[name]}/result?strength=0.6")
        assert status == 200
        assert content == (denoised_files / name).read_bytes(), name
        assert f'filename="{name}"' in headers["content-disposition"]


def test_zip_holds_the_same_files_and_says_what_is_missing(filled, denoised_files):
    served, _ = filled

    status, content, _ = served.ask("api/all.zip?strength=0.6")

    assert status == 200
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        for path in denoised_files.iterdir():
            assert archive.read(path.name) == path.read_bytes()
        assert len(names) == 8
        assert archive.read(FAILURES).decode().startswith("h _b_x.png: ")


@pytest.mark.parametrize(
    ("lang", "failure"),
    [
        ("de", "h _b_x.png: Die Datei ist unvollständig"),
        ("xx", "h _b_x.png: the file ends after"),
    ],
)
def test_zip_says_what_is_missing_in_the_language_of_the_page(filled, lang, failure):
    served, _ = filled

    _, content, _ = served.ask(f"api/all.zip?lang={lang}")

    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.read(FAILURES).decode().startswith(failure)


def test_grey_values_are_the_stored_values(filled, mixed_files):
    served, keys = filled
    info = {each["name"]: each["info"] for each in served.images()}
    for name in ("b.png", "c.png", "d.tif", "f.nii.gz", "g.dcm"):
        radiograph = read_radiograph(mixed_files / name)
        stored = np.asarray(radiograph.stored).reshape(-1, *radiograph.pixels.shape[-2:])
        for frame in range(radiograph.frames):
            _, content, _ = served.ask(f"api/images/{keys[name]}/before?frame={frame}")
            values = np.frombuffer(content, f"<{info[name]['dtype']}")
            assert np.array_equal(values.reshape(stored[frame].shape), stored[frame]), name
    assert info["g.dcm"]["frames"] == 2
    assert info["g.dcm"]["spacing"] == [0.2, 0.2]
    # MONOCHROME1: the window's low end is bright.
    assert info["g.dcm"]["windows"] == [{"black": 2499, "white": 1500, "label": ""}]


def test_blend_of_the_page_is_within_a_grey_level_of_the_file(filled, denoised_files):
    served, keys = filled
    before, after = (
        np.frombuffer(served.ask(f"api/images/{keys['c.png']}/{which}")[1], "<u2").astype(
            np.float64
        )
        for which in ("before", "after")
    )
    saved = grey_values(read_radiograph(denoised_files / "c.png")).ravel()

    blended = np.round(before + 0.6 * (after - before))

    assert np.abs(blended - saved).max() <= 1
    assert np.abs(before - after).max() > 100


def test_broken_file_is_told_in_a_sentence_without_its_place(filled):
    served, keys = filled
    (broken,) = (each for each in served.images() if each["state"] == "failed")

    assert broken["name"] == "h _b_x.png"
    assert broken["reason"]
    assert str(served.tmp) not in broken["reason"]
    status, answer, _ = served.ask(f"api/images/{keys['h <b>x.png']}/after")
    assert status == 422
    assert json.loads(answer)["reason"] == broken["reason"]


def test_file_that_is_no_image_is_told_what_is_needed(start):
    served = start()
    served.add("note.txt", b"hello")

    (told,) = served.images()
    while told["state"] == "waiting":
        (told,) = served.images()

    assert told["reason"].startswith("not an image; need one of .png, .jpg,")


def test_figures_and_noise_map_come_when_asked_for(filled):
    served, keys = filled

    told = json.loads(served.ask(f"api/images/{keys['c.png']}/figures?strength=1")[1])
    _, levels, _ = served.ask(f"api/images/{keys['c.png']}/noise")

    assert told["figures"]["sigma_before"] == pytest.approx(0.03, rel=0.3)
    assert told["figures"]["sigma_after"] < 0.02
    assert len(levels) == told["noise"]["rows"] * told["noise"]["columns"]


def test_report_shows_what_is_denoised(filled):
    served, _ = filled

    status, answer, _ = served.ask("api/report?strength=1", b"", "POST")
    address = json.loads(answer)["address"]
    _, page, headers = served.ask(address)

    assert status == 201
    assert page.count(b'<article class="image ') == 7
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert served.ask(address.replace("index.html", "..%2f..%2flock"))[0] == 404


@pytest.mark.parametrize(
    ("lang", "tag", "title"),
    [("de", "de", "Bericht zum Entrauschen"), ("%22%3Ex", "en", "Denoising report")],
)
def test_report_is_in_the_language_of_the_page(filled, lang, tag, title):
    served, _ = filled

    address = json.loads(served.ask(f"api/report?lang={lang}", b"", "POST")[1])["address"]
    page = served.ask(address)[1].decode()

    assert f'<html lang="{tag}">' in page
    assert f"<h1>{title}</h1>" in page


@pytest.mark.parametrize(
    ("path", "status", "reason"),
    [
        ("api/images/999/before", 404, "no such image"),
        ("api/images/..%2f1/before", 404, ""),
        ("api/images/{key}/result?strength=1.5", 400, "strength"),
        ("api/images/{key}/result?strength=nan", 400, "strength"),
        ("api/images/{key}/before?frame=7", 404, "frame 8: the image has 1"),
        ("api/images/{key}/before?frame=-1", 400, "frame is not"),
        ("api/changes?since=x", 400, "since is not"),
        ("viewer/..%2fpixels.py", 404, ""),
        ("page/nothing.js", 404, ""),
    ],
)
def test_wrong_requests_are_answered_with_a_sentence(filled, path, status, reason):
    served, keys = filled

    found, answer, _ = served.ask(path.format(key=keys["b.png"]))

    assert found == status
    assert reason.encode() in answer


def test_removed_image_leaves_list_and_disk(filled, mixed_files):
    served, _ = filled
    key = served.add("gone.png", (mixed_files / "b.png").read_bytes())["key"]
    (folder,) = served.folders()
    assert (folder / key).is_dir()

    assert served.ask(f"api/images/{key}", method="DELETE")[0] == 204

    assert not (folder / key).exists()
    assert key not in [each["key"] for each in served.images()]
    assert key in json.loads(served.ask("api/changes?since=0")[1])["removed"]


def test_server_answers_at_once_while_it_denoises(filled):
    served, _ = filled
    large = np.random.default_rng(0).integers(0, 255, (1200, 1600)).astype(np.uint8)
    key = served.add("large.png", cv2.imencode(".png", large)[1].tobytes())["key"]
    work = threading.Thread(
        target=served.ask, args=(f"api/images/{key}/denoise", b"", "POST"), daemon=True
    )
    work.start()
    times = []
    while work.is_alive():
        start = time.perf_counter()
        served.ask("api/changes?since=0")
        times.append(time.perf_counter() - start)

    assert len(times) > 5
    assert median(times) < 0.1


def test_studies_are_listed_and_denoised_only_when_asked_for(start, mixed_files):
    before = {path: path.read_bytes() for path in mixed_files.iterdir()}
    served = start("--studies", str(mixed_files))
    images = served.images()
    assert [each["state"] for each in images] == ["listed"] * 8
    key = images[1]["key"]

    assert served.ask(f"api/images/{key}/thumbnail")[1].startswith(b"\x89PNG")
    assert served.images()[1]["state"] == "listed"
    assert served.ask(f"api/images/{key}/denoise", b"", "POST")[0] == 204

    assert [each["state"] for each in served.images()].count("done") == 1
    assert served.ask(f"api/images/{key}", method="DELETE")[0] == 204
    assert {path: path.read_bytes() for path in mixed_files.iterdir()} == before


async def _chunks(*sizes):
    for size in sizes:
        yield b"x" * size


@pytest.mark.parametrize(
    ("sizes", "declared", "status"), [((60, 60), None, 413), ((10,), 500, 413), ((10,), 20, 400)]
)
def test_upload_beyond_its_bounds_is_refused_and_leaves_nothing(
    tmp_path, monkeypatch, sizes, declared, status
):
    import asyncio

    monkeypatch.setattr(uploads, "LARGEST_UPLOAD", 100)

    with pytest.raises(uploads.RequestError) as caught:
        asyncio.run(uploads.receive(_chunks(*sizes), tmp_path / "source", declared))

    assert caught.value.status == status
    assert list(tmp_path.iterdir()) == []


def test_command_says_how_to_get_what_it_needs(monkeypatch, capsys):
    import sys

    from monai_dental.cli import main

    monkeypatch.setitem(sys.modules, "uvicorn", None)

    assert main(["serve"]) == 2
    assert "extra 'web'" in capsys.readouterr().err
