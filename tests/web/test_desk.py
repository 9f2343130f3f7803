"""The desk: what several requests for one image must not do to each other."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

pytest.importorskip("starlette")

from monai_dental.bundle.find import find_bundle
from monai_dental.formats import read_radiograph
from monai_dental.web import line
from monai_dental.web.desk import Desk
from monai_dental.web.images import Images
from monai_dental.web.job import FULL, PageJob


def test_results_that_are_saved_at_once_are_files_of_their_own(radiograph_file, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    source = radiograph_file(pixels, ".png")

    async def work():
        desk = Desk(PageJob(find_bundle("dae")), tmp_path)
        await desk.start()
        try:
            key, _ = desk.images.new_folder()
            image = desk.images.add(key, source.name, source, is_upload=False)
            async with desk.saved(image, 0.0) as first, desk.saved(image, 1.0) as second:
                pixels = [read_radiograph(path).pixels for path in (first, second)]
            assert not first.exists()
            assert not second.exists()
            return pixels
        finally:
            await desk.stop()

    none, all_of_it = asyncio.run(work())

    assert (none == read_radiograph(source).pixels).all()
    assert (none != all_of_it).any()


def test_image_whose_files_are_read_keeps_them(tmp_path):
    images = Images(tmp_path, cache_bytes=0)
    for name in ("a.png", "b.png"):
        key, folder = images.new_folder()
        images.add(key, name, folder / name, is_upload=True)
        (folder / FULL).write_bytes(b"result")
    first, second = images
    images.use(first)

    with first.in_use():
        images.use(second)
        assert (first.folder / FULL).exists()
    images.use(second)

    assert not (first.folder / FULL).exists()
    assert (second.folder / FULL).exists()


def test_page_is_told_that_no_process_can_be_started(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("no processes left: MARKER")

    monkeypatch.setattr(line, "LocalWorker", fail)

    async def work():
        desk = Desk(PageJob(None), tmp_path)
        await desk.start()
        while desk.model == "loading":
            await asyncio.sleep(0.01)
        await desk.stop()
        return desk.model

    assert asyncio.run(work()).startswith("error: unexpected OSError")


def test_names_are_unique_until_they_are_removed(tmp_path):
    images = Images(tmp_path)
    added = [
        images.add(images.new_folder()[0], "a/1.png", tmp_path / "1.png", is_upload=True)
        for _ in range(3)
    ]
    assert [image.name for image in added] == ["a/1.png", "a/1 (2).png", "a/1 (3).png"]

    images.remove(added[1])

    key, _ = images.new_folder()
    again = images.add(key, "a/1.png", tmp_path / "1.png", is_upload=True)
    assert again.name == "a/1 (2).png"
