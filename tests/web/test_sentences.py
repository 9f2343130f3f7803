"""What language files translate is what the program really says."""

from __future__ import annotations

import asyncio
import errno
import gzip
import importlib
import os
import shutil
import struct
import zlib
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path

import cv2
import nibabel as nib
import numpy as np
import pytest
import torch
from pydicom import dcmwrite, uid
from pydicom.encaps import encapsulate, generate_frames

pytest.importorskip("starlette")

from starlette.requests import Request

from monai_dental.batch.job import TOO_LARGE, Result
from monai_dental.batch.source import Instance
from monai_dental.batch.workers.protocol import Limits
from monai_dental.errors import MonaiDentalError, UnsupportedImageError
from monai_dental.inference.inferers import NoiseAwareInferer
from monai_dental.report.pairs import read_pair
from monai_dental.viewer import assets
from monai_dental.viewer.words import Words
from monai_dental.web import routes, uploads
from monai_dental.web.desk import Desk
from monai_dental.web.engine import PageEngine
from monai_dental.web.job import PageJob, Task
from monai_dental.web.line import Line

SAID = """
const [languages, tag, sentences] = arguments;
return import(new URL("viewer/words.js", location.href))
  .then(({ makeWords }) => sentences.map(makeWords(languages, tag).said));
"""


def png(rows: int, columns: int) -> bytes:
    """A PNG whose pixels are none."""
    header = struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0)
    chunks = (b"IHDR" + header, b"IDAThello", b"IEND")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        for chunk in chunks
    )


def request(**parameters: str) -> Request:
    return Request({"type": "http", "path_params": parameters, "query_string": b"", "headers": []})


async def sent() -> AsyncIterator[bytes]:
    yield b"hello"


async def reason_of(work: Awaitable[object]) -> str:
    with pytest.raises(MonaiDentalError) as caught:
        await work
    return str(caught.value)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "server" / "1"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def inspect(folder):
    """Returns what the page is told of a file."""

    def ask(name: str, content: bytes | None) -> Result:
        path = folder / name
        if content is not None:
            path.write_bytes(content)
        return PageEngine().run(Task(path, Path(name), folder=folder), "")

    return ask


@pytest.fixture
def pictures(inspect) -> dict[str, str]:
    """What is said of files of other formats than DICOM."""
    grey = np.tile(np.arange(50, dtype=np.uint8), (40, 1))

    def encoded(kind: str, image: np.ndarray = grey) -> bytes:
        return cv2.imencode(kind, image)[1].tobytes()

    volume = nib.Nifti1Image(np.zeros((4, 4, 3), np.uint8), np.eye(4))
    header = volume.header.copy()
    header.set_data_shape((4000, 4000, 1000))
    files = {
        "said.empty": ("a.png", b""),
        "said.type": ("b.unknown", b"hello"),
        "said.misnamed": ("c.jpg", b"hello"),
        "said.large": ("d.png", png(20_000, 20_000)),
        "said.larger": ("e.nii", header.binaryblock + bytes(4)),
        "said.end": ("f.jpg", encoded(".jpg")[:-9]),
        "said.cut": ("g.nii", volume.to_bytes()[:-9]),
        "said.bytes": ("h.bmp", encoded(".bmp")[:-9]),
        "said.directory": ("i.tif", encoded(".tif")[:9]),
        "said.header": ("j.bmp", encoded(".bmp")[:20]),
        "said.marker": ("k.jpg", b"\xff\xd8\xff" + bytes(20)),
        "said.chunk": ("l.png", encoded(".png").replace(b"IDAT", b"IDAX")),
        "said.undecodable": ("m.png", png(2, 2)),
        "said.undecoded": ("n.nii.gz", gzip.compress(bytes(400))),
        "said.pages": ("o.tif", cv2.imencodemulti(".tif", [grey, grey])[1].tobytes()),
        "said.unreadable": ("p.png", None),
    }
    notes = {
        "said.folded": ("q.png", encoded(".png", cv2.applyColorMap(grey, cv2.COLORMAP_JET))),
        "said.transparency": ("r.png", encoded(".png", np.full((4, 4, 4), 90, np.uint8))),
    }
    return {key: inspect(*file).reason for key, file in files.items()} | {
        key: inspect(*file).info["notes"][0] for key, file in notes.items()
    }


@pytest.fixture
def instances(inspect, dicom_dataset, tmp_path) -> dict[str, str]:
    """What is said of DICOM files."""

    def made(frames: list[bytes] | None = None, **elements: object) -> bytes:
        dataset = dicom_dataset(**elements)
        if frames is not None:
            dataset.PixelData = encapsulate(frames)
        dcmwrite(tmp_path / "made.dcm", dataset, enforce_file_format=True)
        return (tmp_path / "made.dcm").read_bytes()

    packed = {"transfer_syntax": uid.JPEGLSLossless}
    frame = next(generate_frames(dicom_dataset(**packed).PixelData, number_of_frames=1))
    colours = np.arange(24 * 40 * 3, dtype=np.uint8).tobytes()
    files = {
        "said.dicom": b"hello",
        "said.pictureless": made(PixelData=None, Rows=None, BitsAllocated=None),
        "said.missing": made(PixelData=None),
        "said.pixels": made()[:-9],
        "said.dataset": made(**packed)[:-9],
        "said.frames": made([frame], **packed, NumberOfFrames=2),
        "said.frame.cut": made([frame[:-9]], **packed),
        "said.frame": made([frame[:60] + bytes(len(frame) - 62) + frame[-2:]], **packed),
        "said.broken": made().replace(b"\x08\0\x05\0CS", b"\x08\0\x05\0SQ"),
        "said.colour": made(
            SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0,
            BitsAllocated=8, BitsStored=8, HighBit=7, PixelData=colours,
        ),
        "said.photometric": made(PhotometricInterpretation="PALETTE COLOR"),
        "said.allocated": made(BitsAllocated=32),
    }  # fmt: skip
    unread = dicom_dataset(**packed)
    unread.file_meta.TransferSyntaxUID = uid.MPEG2MPML
    dcmwrite(tmp_path / "made.dcm", unread)
    files["said.syntax"] = (tmp_path / "made.dcm").read_bytes()
    return {key: inspect(f"{key}.dcm", content).reason for key, content in files.items()}


@pytest.fixture
def workers(monkeypatch) -> dict[str, str]:
    """What is said of files that harm their worker."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    job = importlib.import_module("page_faults").FaultyJob()

    async def ask() -> list[str]:
        line = Line(job, Limits(3.0, 512, 1))
        try:
            await line.start()
            tasks = [Task(Path(fault), Path(fault)) for fault in ("hanging", "poison")]
            said = [await reason_of(line.do(each)) for each in tasks]
        finally:
            await line.stop()
        return [*said, await reason_of(line.do(tasks[0]))]

    hanging, poison, ended = asyncio.run(ask())
    return {
        "said.time": hanging, "said.lost": poison, "said.ended": ended, "said.memory": TOO_LARGE,
    }  # fmt: skip


@pytest.fixture
def full_disk(folder, inspect, monkeypatch) -> dict[str, str]:
    """What is said when there is no room."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        disk = inspect("full.png", cv2.imencode(".png", np.zeros((9, 9), np.uint8))[1].tobytes())
    with monkeypatch.context() as patch:
        patch.setattr("tempfile.TemporaryFile", fail)
        task = Task(folder, Path(), deed="report", folder=folder)
        report = PageEngine().run(task, "")
    usage = shutil.disk_usage(folder)._replace(free=0)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: usage)
        room = asyncio.run(reason_of(uploads.receive(sent(), folder / "source", 1)))
    return {"said.disk": disk.reason, "said.disk.report": report.reason, "said.room": room}


@pytest.fixture
def refusals(folder, monkeypatch) -> dict[str, str]:
    """What is said of requests."""

    async def ask() -> dict[str, str]:
        desk = Desk(PageJob(None), folder)
        answers = routes.Routes(desk)
        key, place = desk.images.new_folder()
        path = place / "source.png"
        desk.images.add(key, "a.png", path, is_upload=True)
        waiting = asyncio.create_task(reason_of(answers.before(request(key=key))))
        while not desk.images[key].work:
            await asyncio.sleep(0)
        desk.images.remove(desk.images[key])
        desk.images.add(key, "a.png", path, is_upload=True)
        monkeypatch.setattr(routes, "MOST_IMAGES", 1)
        return {
            "said.size": await reason_of(uploads.receive(sent(), folder / "sent", 1 << 40)),
            "said.arrived": await reason_of(uploads.receive(sent(), folder / "sent", 3)),
            "said.count": await reason_of(answers.upload(request())),
            "said.gone": await reason_of(answers.before(request(key="99"))),
            "said.removed": await waiting,
            "said.keep": await reason_of(answers.keep(request(key=key))),
            "said.none": await reason_of(answers.make_report(request())),
        }

    return asyncio.run(ask())


@pytest.fixture
def small() -> dict[str, str]:
    """What is said of an image that is too small for the network."""
    with pytest.raises(UnsupportedImageError) as caught:
        NoiseAwareInferer().input_of(torch.zeros(4, 4))
    return {"said.small": str(caught.value)}


@pytest.fixture
def reported(tmp_path) -> dict[str, str]:
    """What a report says of files, where a sentence may hold another."""
    grey = np.tile(np.arange(50, dtype=np.uint8), (40, 1))
    colours = cv2.applyColorMap(grey, cv2.COLORMAP_JET)
    files = {
        "in/a.png": grey, "out/a.png": grey[:9], "in/b.png": grey, "in/d.tif": np.float32(grey),
        "out/d.tif": np.float32(grey) / 2, "in/e.png": colours, "out/e.png": np.uint16(grey),
    }  # fmt: skip
    for name, image in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / name), image)
    (tmp_path / "in" / "c.png").touch()
    (tmp_path / "clean").mkdir()
    (tmp_path / "clean" / "d.tif").touch()
    (tmp_path / "out" / "b.png").touch()
    for folder in ("in", "out"):
        nib.save(nib.Nifti1Image(np.zeros((9, 9, 5)), np.eye(4)), tmp_path / folder / "f.nii")

    def reason(name: str, denoised: str = "out") -> str:
        with pytest.raises(MonaiDentalError) as caught:
            read_pair(Instance(tmp_path / "in" / name, Path(name)), tmp_path / denoised)
        return str(caught.value)

    def notes(name: str) -> tuple[str, ...]:
        instance = Instance(tmp_path / "in" / name, Path(name))
        return read_pair(instance, tmp_path / "out", tmp_path / "clean").notes

    return {
        "said.no.original": reason("none.png"),
        "said.no.result": reason("a.png", "nowhere"),
        "said.of.original said.empty": reason("c.png"),
        "said.of.result said.empty": reason("b.png"),
        "said.of.result said.shape": reason("a.png"),
        "said.of.original said.folded": notes("e.png")[0],
        "said.scale": notes("e.png")[1],
        "said.unreferenced said.no.reference": notes("e.png")[2],
        "said.middle": notes("f.nii")[0],
        "said.unreferenced said.of.reference said.empty": notes("d.tif")[-1],
    }


def test_each_sentence_of_a_language_file_is_one_that_the_program_says(
    browser, served, pictures, instances, workers, full_disk, refusals, small, reported, monkeypatch
):
    sentences = pictures | instances | workers | full_disk | refusals | small | reported
    english = assets.languages()["en"]
    browser.visit(served.url)

    own = {key: f"{key} {{said}}" if "{said}" in text else key for key, text in english.items()}
    languages = {"en": english, "xx": own}
    monkeypatch.setattr("monai_dental.viewer.words.languages", lambda: languages)
    keys = browser.run(SAID, languages, "xx", list(sentences.values()))

    told = dict(zip(keys, sentences.values(), strict=True))
    assert told == sentences
    assert list(map(Words("xx").said, sentences.values())) == keys
    found = {key for each in told for key in each.split()}
    assert found == {key for key in english if key.startswith("said.")}


def test_sentence_that_no_language_file_knows_is_told_in_english(browser, served):
    browser.visit(served.url)
    unknown = "has a (strange) fault; mend it"

    assert browser.run(SAID, assets.languages(), "en", [unknown]) == [unknown]
    assert browser.run(SAID, assets.languages(), "de", [unknown]) == [
        f"Meldung auf Englisch: {unknown}"
    ]


@pytest.mark.parametrize(
    ("value", "text"), [(-0.001, "0,00"), (-0.05, "-0,05"), (1234.5, "1.234,50")]
)
def test_numbers_are_written_as_the_language_writes_them(browser, served, value, text):
    browser.visit(served.url)

    assert text == browser.run(
        "return import(new URL('viewer/words.js', location.href))"
        ".then(({ makeWords }) => makeWords({ en: {} }, 'de').number(arguments[0], 2))",
        value,
    )
