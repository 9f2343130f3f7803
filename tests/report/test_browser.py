"""The pages in a real browser: what a user can do, and that nothing external is requested."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from monai_dental.batch.source import Instance
from monai_dental.report import write_report

READY = "document.querySelector('#image-1.ready')"
SHARE = "return Number(document.querySelector('#image-1 .divider').getAttribute('aria-valuenow'))"
ZOOM = "return Number.parseInt(document.querySelector('#image-1 .percent').textContent)"
SHOT = "return document.querySelector('#image-1 .stage canvas').toDataURL()"
PROFILE = "return document.querySelector('#image-1 .curve').toDataURL()"
ROW = "return Number(document.querySelector('#image-1 .row').value)"


@pytest.fixture(scope="module")
def originals():
    """Two radiographs of 12 bits in 16."""
    generator = np.random.default_rng(0)
    clean = np.tile(np.linspace(600, 3200, 300), (200, 1))
    return [(clean + generator.normal(0, 120, clean.shape)).astype(np.uint16) for _ in range(3)]


@pytest.fixture(scope="module")
def report(tmp_path_factory, originals):
    """A report of two images and a failure."""
    folder = tmp_path_factory.mktemp("report")
    names = [Path(f"{i}.png") for i in range(3)]
    for place in ("in", "out", "html"):
        (folder / place).mkdir()
    for name, noisy in zip(names, originals, strict=True):
        cv2.imwrite(str(folder / "in" / name), noisy)
        cv2.imwrite(str(folder / "out" / name), cv2.blur(noisy, (5, 5)))
    (folder / "out" / names[2]).unlink()
    instances = [Instance(folder / "in" / name, name) for name in names]
    list(write_report(instances, folder / "out", folder / "html", page_size=2))
    return folder / "html" / "index.html"


@pytest.fixture
def page(browser, report):
    browser.visit("about:blank")  # an earlier page may ask its server again and again
    browser.errors(), browser.requests()
    browser.resize(1400, 1000)
    browser.open(report)
    browser.run("document.querySelector('#image-1').scrollIntoView()")
    browser.wait_for(READY)
    settle(browser)
    return browser


def settle(page):
    """Wait until everything requested is drawn."""
    page.run(
        "window.drawn = 0; requestAnimationFrame(() => requestAnimationFrame(() => drawn = 1))"
    )
    page.wait_for("window.drawn")


def place(page, across, down):
    left, top, width, height = page.run(
        "const box = document.querySelector('#image-1 .stage').getBoundingClientRect();"
        "return [box.left, box.top, box.width, box.height]"
    )
    return left + across * width, top + down * height


def press(page, *keys):
    page.run("document.querySelector('#image-1 .stage').focus({preventScroll: true})")
    page.press("#image-1 .stage", *keys)
    settle(page)


def test_nothing_comes_from_outside(page, report):
    page.wait_for("document.querySelector('#image-2.ready')")

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


def test_grey_values_are_those_of_the_files(page, originals):
    noisy = originals[0]
    for across, down in ((0.2, 0.3), (0.7, 0.6)):
        page.hover(place(page, across, down))
        settle(page)
        told = page.run("return document.querySelector('#image-1 .readout').textContent")
        column, row = (int(each) - 1 for each in told.split(":")[0].split(", "))
        after = cv2.blur(noisy, (5, 5))[row, column]
        assert told.endswith(f": {noisy[row, column]:,} → {after:,}")


def test_arrow_keys_and_dragging_move_the_divider(page):
    press(page, "\ue014", "\ue014")  # arrow right
    assert page.run(SHARE) == 54

    page.drag(place(page, 0.54, 0.5), place(page, 0.25, 0.5))
    settle(page)
    assert page.run(SHARE) == pytest.approx(25, abs=1)


def test_wheel_zooms_once_the_image_has_focus(page):
    page.wheel(place(page, 0.5, 0.5), -10)
    fitted = page.run(ZOOM)

    page.run("document.querySelector('#image-1 .stage').focus({preventScroll: true})")
    page.wheel(place(page, 0.5, 0.5), -500)

    page.wait_for(f"({ZOOM.removeprefix('return ')}) > {fitted}")


@pytest.mark.parametrize("key", "+1sbeniirhv")
def test_keys_change_the_picture(page, key):
    before = page.run(SHOT)

    press(page, key)

    page.run("window.seen = arguments[0]", before)
    assert page.wait_for(f"({SHOT.removeprefix('return ')}) !== window.seen")


def test_dragging_changes_the_window(page):
    before = page.run(SHOT)

    page.drag(place(page, 0.8, 0.5), place(page, 0.85, 0.6))
    settle(page)

    assert page.run(SHOT) != before
    assert page.run("return document.querySelector('#image-1 [aria-label=Window]').value") == "-1"


def test_click_chooses_the_row_of_the_profile(page):
    before = page.run(PROFILE)

    at = place(page, 0.2, 0.25)
    page.drag(at, at)

    assert page.run(ROW) == pytest.approx(51, abs=2)
    assert page.run(PROFILE) != before


def test_link_leads_to_the_failure_on_the_next_page(page):
    page.run("document.querySelector('a[href=\"page-2.html#image-3\"]').click()")

    page.wait_for("location.hash === '#image-3' && document.querySelector('#image-3')")
    text = page.run("return document.querySelector('#image-3').innerText")
    assert "Not compared: there is no result of this name." in text


def test_touch_pinches_and_buttons_are_large(page):
    zoom, share = page.run(ZOOM), page.run(SHARE)
    page.resize(390, 844, ratio=2, is_touch=True)
    try:
        page.run("document.querySelector('#image-1 .stage').scrollIntoView({block: 'center'})")
        settle(page)
        zoom = page.run(ZOOM)
        (x, y) = place(page, 0.5, 0.5)

        page.touch([(x - 20, y), (x + 20, y)], [(x - 120, y), (x + 120, y)])
        settle(page)

        assert page.run(ZOOM) > 2 * zoom
        assert page.run(SHARE) == share
        small = page.run(
            "return [...document.querySelectorAll('button, select, summary, input, nav a')]"
            ".filter((each) => each.checkVisibility() && !each.closest('dialog'))"
            ".filter((each) => each.getBoundingClientRect().height < 44)"
            ".map((each) => each.outerHTML)"
        )
        assert small == []
        assert page.run("return document.documentElement.scrollWidth") <= 390
    finally:
        page.resize(1400, 1000)


def test_page_that_was_saved_as_it_stood_still_works(page, report, tmp_path):
    saved = tmp_path / "saved.html"
    saved.write_text(page.run("return document.documentElement.outerHTML"), encoding="utf-8")
    shown = page.run(SHOT)

    page.open(saved)
    page.run("document.querySelector('#image-1').scrollIntoView()")
    page.wait_for(f"({SHOT.removeprefix('return ')}).length > 10000")

    assert page.run("return document.querySelectorAll('#image-1 canvas').length") == 2
    assert page.run("return document.querySelectorAll('#theme').length") == 1
    assert len(page.run(SHOT)) == pytest.approx(len(shown), rel=0.05)


def test_theme_is_the_reader_s(page):
    theme = "return document.documentElement.dataset.theme"
    page.run("localStorage.clear()")
    features = [{"name": "prefers-color-scheme", "value": "dark"}]
    page.develop("Emulation.setEmulatedMedia", features=features)
    try:
        page.run("location.reload()")
        page.wait_for(READY)
        assert page.run(theme) == "dark"
        page.click("#theme")
        assert page.run(theme) == "light"
    finally:
        page.run("localStorage.clear()")
        page.develop("Emulation.setEmulatedMedia", features=[])


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_axe_finds_no_serious_fault(page, theme):
    page.run("document.documentElement.dataset.theme = arguments[0]", theme)
    page.run("document.querySelector('.guide').open = true")

    assert page.faults() == []


def test_print_has_one_whole_image_with_its_figures_on_a_page(page):
    press(page, "+", "+")  # zoomed on the screen
    width, height = round(186 / 25.4 * 96), round(273 / 25.4 * 96)  # A4 less its margins
    page.resize(width, height)
    page.develop("Emulation.setEmulatedMedia", media="print")
    try:
        boxes = page.run(
            "return ['#image-1', '#image-1 .printed img', '#image-1 figure + figure img',"
            " '#image-1 .figures', '#image-1 .histogram', '#image-1 .curve'].map((each) => {"
            " const box = document.querySelector(each).getBoundingClientRect();"
            " return [box.left, box.top, box.right, box.bottom].map(Math.round); })"
        )
        article, before, after, *_ = boxes
        assert article[3] - article[1] <= height
        for left, top, right, bottom in boxes[1:]:
            assert article[0] <= left < right <= article[2]
            assert article[1] <= top < bottom <= article[3]
        for left, top, right, bottom in (before, after):
            assert (right - left) / (bottom - top) == pytest.approx(1.5, abs=0.02)
        seen = "return document.querySelector(arguments[0]).checkVisibility()"
        assert not page.run(seen, "#image-1 .bar")
        assert page.run(seen, "#image-1 .side .key")
    finally:
        page.develop("Emulation.setEmulatedMedia", media="")
        page.resize(1400, 1000)
