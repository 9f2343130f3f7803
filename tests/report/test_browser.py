"""The pages in a real browser: what a user can do, and that nothing is asked for outside."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from monai_dental.batch.source import Instance
from monai_dental.report import write_report

SHARE = "return Number(document.querySelector('#image-1 .split').value)"
CLIP = "return document.querySelector('#image-1 .layer.after').style.clipPath"
ZOOM = "return document.querySelector('#image-1 output').value"
MOVES = "return [...document.querySelectorAll('#image-1 img')].map((img) => img.style.transform)"


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A report of two images and a failure."""
    folder = tmp_path_factory.mktemp("report")
    generator = np.random.default_rng(0)
    clean = np.tile(np.linspace(40, 200, 300), (200, 1))
    names = [Path(f"{i}.png") for i in range(3)]
    for name in names:
        noisy = np.clip(clean + generator.normal(0, 8, clean.shape), 0, 255)
        for place, image in (("in", noisy), ("out", clean)):
            (folder / place).mkdir(exist_ok=True)
            cv2.imwrite(str(folder / place / name), image.astype(np.uint8))
    (folder / "out" / names[2]).unlink()
    (folder / "html").mkdir()
    instances = [Instance(folder / "in" / name, name) for name in names]
    list(write_report(instances, folder / "out", folder / "html", page_size=2))
    return folder / "html" / "index.html"


@pytest.fixture
def page(browser, report):
    browser.visit("about:blank")  # an earlier page may ask its server again and again
    browser.errors(), browser.requests()
    browser.open(report)
    browser.run("document.querySelector('#image-1').scrollIntoView()")
    return browser


def box(page):
    return page.run(
        "const box = document.querySelector('#image-1 .stage').getBoundingClientRect();"
        "return [box.left, box.top, box.width, box.height]"
    )


def place(page, across, down):
    left, top, width, height = box(page)
    return left + across * width, top + down * height


def test_every_picture_loads_and_nothing_comes_from_outside(page, report):
    sizes = page.run(
        "return Promise.all([...document.images].map((image) =>"
        " image.decode().then(() => [image.naturalWidth, image.naturalHeight])))"
    )

    assert sizes == [[300, 200]] * 8
    # A new browser's own pages are the other addresses.
    asked = [url for url in page.requests() if not url.startswith(("chrome:", "data:"))]
    assert asked == [report.resolve().as_uri()]
    assert page.errors() == []


def test_policy_stops_what_is_not_the_page_s_own(page):
    page.run(
        "const script = document.createElement('script'); script.textContent = 'window.own = 1';"
        "document.body.append(script)"
    )

    assert page.run("return window.own") is None
    assert "Content Security Policy" in page.errors()[0]


def test_arrow_keys_move_the_slider(page):
    page.press("#image-1 .split", "\ue014", "\ue014")  # arrow right

    assert page.run(SHARE) == 51
    assert page.run(CLIP) == "inset(0px 0px 0px 51%)"


def test_dragging_the_divider_moves_it(page):
    page.drag(place(page, 0.5, 0.5), place(page, 0.25, 0.5))

    assert page.run(SHARE) == pytest.approx(25, abs=0.5)


def test_wheel_zooms_all_views_about_the_pointer_once_the_image_has_focus(page):
    page.wheel(place(page, 0.5, 0.5), -10)
    fitted = page.run(ZOOM)

    page.run("document.querySelector('#image-1 .stage').focus({preventScroll: true})")
    page.wheel(place(page, 0.5, 0.5), -500)

    page.wait_for(f"document.querySelector('#image-1 output').value !== '{fitted}'")
    before, after, residual, noise = page.run(MOVES)
    assert before == after == residual == noise


def test_drag_pans_the_zoomed_image_and_fit_brings_it_back(page):
    fitted = page.run(MOVES)[0]
    page.click("#image-1 [data-zoom=in]")
    zoomed = page.run(MOVES)[0]

    page.drag(place(page, 0.8, 0.5), place(page, 0.7, 0.4))

    assert page.run(MOVES)[0] != zoomed
    assert page.run(SHARE) == 50
    page.click("#image-1 [data-zoom=fit]")
    assert page.run(MOVES)[0] == fitted


def test_keys_of_the_image_zoom_flip_and_change_the_view(page):
    fitted = page.run(ZOOM)

    page.press("#image-1 .stage", "+", "f", "v")

    assert page.run(ZOOM) != fitted
    assert page.run(SHARE) == 0
    assert page.run("return document.querySelector('#image-1').dataset.view") == "residual"


def test_views_show_one_layer_each(page):
    shown = (
        "return [...document.querySelectorAll('#image-1 .layer')].filter((layer) =>"
        " getComputedStyle(layer).visibility === 'visible').map((layer) => layer.className)"
    )

    assert page.run(shown) == ["layer before", "layer after"]
    page.click("#image-1 label:nth-of-type(2)")
    assert page.run(shown) == ["layer residual"]
    page.click("#image-1 label:nth-of-type(3)")
    assert page.run(shown) == ["layer noise"]


def test_click_chooses_the_row_of_the_profile(page):
    drawn = "return document.querySelector('#image-1 canvas').toDataURL()"
    page.wait_for("document.querySelector('#image-1 canvas').width > 300")
    before = page.run(drawn)

    at = place(page, 0.2, 0.25)
    page.drag(at, at)

    assert page.run(
        "return Number(document.querySelector('#image-1 .row').value)"
    ) == pytest.approx(50, abs=2)
    assert page.run(drawn) != before


def test_link_leads_to_the_failure_on_the_next_page(page):
    page.run("document.querySelector('a[href=\"page-2.html#image-3\"]').click()")

    page.wait_for("location.hash === '#image-3' && document.querySelector('#image-3')")
    text = page.run("return document.querySelector('#image-3').innerText")
    assert "Not compared: there is no result of this name." in text


def test_pinching_zooms_and_leaves_the_divider(page):
    zoom, share = page.run(ZOOM), page.run(SHARE)
    page.resize(1400, 1000, is_touch=True)
    page.run("document.querySelector('#image-1').scrollIntoView()")
    (x, y) = place(page, 0.5, 0.5)

    page.touch([(x - 20, y), (x + 20, y)], [(x - 120, y), (x + 120, y)])

    assert int(page.run(ZOOM).split()[0]) > 2 * int(zoom.split()[0])
    assert page.run(SHARE) == share
    page.develop("Emulation.clearDeviceMetricsOverride")
    page.develop("Emulation.setTouchEmulationEnabled", enabled=False)


def test_print_has_one_whole_image_with_its_figures_on_a_page(page):
    page.run("document.querySelector('#image-1 [data-zoom=in]').click()")  # zoomed on the screen
    width, height = round(186 / 25.4 * 96), round(273 / 25.4 * 96)  # A4 less its margins
    page.resize(width, height)
    page.develop("Emulation.setEmulatedMedia", media="print")
    try:
        boxes = page.run(
            "return ['#image-1', '#image-1 .stage', '#image-1 .before img', '#image-1 .after img',"
            " '#image-1 .figures', '#image-1 .histogram'].map((each) => {"
            " const box = document.querySelector(each).getBoundingClientRect();"
            " return [box.left, box.top, box.right, box.bottom].map(Math.round); })"
        )
        article, stage, before, after, *shown = boxes
        assert article[3] - article[1] <= height
        assert stage == before == after
        for box in shown:
            assert box[2] > box[0]
            assert box[3] <= article[3]
        assert not page.run("return document.querySelector('#image-1 .toolbar').checkVisibility()")
        assert page.run("return document.querySelector('#image-1 .key').checkVisibility()")
    finally:
        page.develop("Emulation.setEmulatedMedia", media="")
        page.develop("Emulation.clearDeviceMetricsOverride")
