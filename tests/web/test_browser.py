"""The page in a real browser with a real server, used like a dentist would."""

from __future__ import annotations

import math
import re
import zipfile

import cv2
import numpy as np
import pytest
from page_actions import READY, drop, is_opened, open_image, press, settle, states

from monai_dental.formats import read_radiograph

PIXEL = """
const canvas = document.querySelector(".stage canvas");
const at = window.pointed.map((each) => Math.floor(each * devicePixelRatio));
return canvas.getContext("2d").getImageData(at[0], at[1], 1, 1).data[0];
"""
SHOT = "return document.querySelector('.stage canvas').toDataURL()"


def stage_box(page):
    return page.run(
        "const box = document.querySelector('.stage').getBoundingClientRect();"
        "return [box.left, box.top, box.width, box.height]"
    )


def point_at(page, x, y):
    """Move the mouse to a point of the stage; return the readout of the pixel there."""
    left, top, _, _ = stage_box(page)
    at = round(left + x), round(top + y)
    page.hover(at)
    settle(page)
    page.run("window.pointed = arguments", at[0] - left, at[1] - top)
    page.run("window.pointed = [...window.pointed]")
    text = page.run("return document.querySelector('.readout').textContent")
    match = re.fullmatch(r"(\d+), (\d+): ([\d,]+) → ([\d,]+)", text)
    assert match, text
    return [int(each.replace(",", "")) for each in match.groups()]


@pytest.fixture(scope="module")
def filled(start, browser, mixed_files):
    """A server on whose page eight files were dropped, in one go."""
    served = start()
    browser.errors(), browser.requests()
    browser.resize(1440, 900)
    browser.visit(served.url)
    browser.wait_for(
        "document.querySelector('.welcome') && !document.querySelector('.welcome').hidden"
    )
    drop(browser, *((path.name, path.read_bytes()) for path in sorted(mixed_files.iterdir())))
    browser.wait_until(
        lambda: browser.run(
            "return document.querySelectorAll('[data-state=done]').length === 7 "
            "&& document.querySelectorAll('[data-state=failed]').length === 1"
        )
    )
    return served


@pytest.fixture
def page(browser, filled):
    browser.visit("about:blank")  # so that the page of an ended server asks no more
    browser.errors(), browser.requests()
    browser.resize(1440, 900)
    browser.visit(filled.url)
    browser.wait_for(READY)
    settle(browser)
    return browser


def test_dropped_files_are_listed_in_order_and_the_bad_one_says_why(page):
    found = states(page)

    assert [name for name, _ in found] == [
        "a.jpg", "b.png", "c.png", "d.tif", "e.bmp", "f.nii.gz", "g.dcm", "h _b_x.png",
    ]  # fmt: skip
    assert [state for _, state in found] == ["done"] * 7 + ["failed"]
    assert page.run("return document.querySelector('[data-state=failed] .state').textContent") > ""
    assert page.run("return document.querySelector('.progress').textContent") == (
        "7 of 8 denoised · 1 failed"
    )
    page.wait_for(
        "[...document.querySelectorAll('.list img')].filter((one) => one.naturalWidth).length > 6"
    )
    assert page.errors() == []


def test_nothing_is_asked_for_outside(page, filled):
    open_image(page, "g.dcm")
    press(page, "n")
    page.wait_for("document.querySelector('.scale .ramp')")

    own = ("data:", "blob:", "about:", filled.url)
    outside = [each for each in page.requests() if not each.startswith(own)]

    assert outside == []
    assert page.errors() == []


def test_grey_of_a_pixel_is_that_of_its_stored_value(page, mixed_files, filled):
    open_image(page, "c.png")
    press(page, "1")
    press(page, "w")
    stored = read_radiograph(mixed_files / "c.png").stored
    left, top, width, height = stage_box(page)
    x, y = width / 2 - 40, height / 2 + 10

    column, row, before, _ = point_at(page, x, y)
    assert before == stored[row - 1, column - 1]
    assert page.run(PIXEL) == pytest.approx(before / 65535 * 255, abs=0.5)

    # 60 pixels to the right widen the window by e^0.2; 30 down raise its middle by a tenth of that.
    start = (left + width / 2 - 60, top + height / 2 - 40)
    page.drag(start, (start[0] + 60, start[1] + 30))
    settle(page)
    column, row, before, _ = point_at(page, x, y)
    wide = 65535 * math.exp(0.2)
    # Chromium sends the drag in steps: the middle moves by the width of each moment.
    greys = [(before - (32767.5 + 0.1 * moved - wide / 2)) / wide * 255 for moved in (65535, wide)]
    assert min(greys) - 2 <= page.run(PIXEL) <= max(greys) + 2


def test_window_of_the_file_comes_first_and_turns_monochrome1(page, mixed_files):
    open_image(page, "g.dcm")
    assert page.run(
        "return document.querySelector('[aria-label=Window]').selectedOptions[0].text"
    ) == ("Window 1 of the file")
    press(page, "1")
    _, _, width, height = stage_box(page)
    x, y = width / 2 - 10, height / 2 + 20

    _, _, before, _ = point_at(page, x, y)

    grey = min(255, max(0, (2499 - before) / 999 * 255))
    assert page.run(PIXEL) == pytest.approx(grey, abs=0.51)
    press(page, "i")
    assert page.run(PIXEL) == pytest.approx(255 - grey, abs=0.51)


def test_strength_acts_at_once_and_as_the_saved_file(page, filled, denoised_files):
    open_image(page, "c.png")
    press(page, "1")
    _, _, width, height = stage_box(page)
    x, y = width / 2 + 30, height / 2
    page.requests()
    full = page.run(SHOT)

    page.run(
        "const slider = document.querySelector('.strength'); slider.value = 60;"
        "slider.dispatchEvent(new Event('input'))"
    )
    settle(page)
    column, row, _, after = point_at(page, x, y)

    saved = read_radiograph(denoised_files / "c.png").stored
    assert abs(after - int(saved[row - 1, column - 1])) <= 1
    assert page.run(PIXEL) == pytest.approx(after / 65535 * 255, abs=0.51)
    assert page.run(SHOT) != full
    asked = [each for each in page.requests() if "/api/" in each and "changes" not in each]
    assert asked == []


def test_save_and_save_all_give_the_files_of_the_command_line(page, denoised_files, tmp_path):
    page.develop("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    open_image(page, "g.dcm")
    page.run(
        "const slider = document.querySelector('.strength'); slider.value = 60;"
        "slider.dispatchEvent(new Event('input'))"
    )

    page.click("#save")
    page.wait_until(lambda: (tmp_path / "g.dcm").exists())
    page.click("#save-all")
    page.wait_until(lambda: (tmp_path / "denoised.zip").exists())

    assert (tmp_path / "g.dcm").read_bytes() == (denoised_files / "g.dcm").read_bytes()
    with zipfile.ZipFile(tmp_path / "denoised.zip") as archive:
        for path in denoised_files.iterdir():
            assert archive.read(path.name) == path.read_bytes()


def test_report_button_opens_the_pages_of_what_is_denoised(page, filled, mixed_files, tmp_path):
    open_image(page, "c.png")

    page.click("#report")
    own = page.go_to_opened()
    try:
        page.wait_until(lambda: page.run("return location.href").startswith(f"{filled.url}report/"))
        page.wait_for("document.querySelectorAll('article.ready').length > 0")
        names = page.run(
            "return [...document.querySelectorAll('.overview a')].map((each) => each.textContent)"
        )
        page.run("[...document.querySelectorAll('article')].at(-1).scrollIntoView()")
        page.wait_for("[...document.querySelectorAll('article')].at(-1).matches('.ready')")
        faults = page.faults()
        page.screenshot(tmp_path / "report.png")
    finally:
        page.close_window()
        page.go_to(own)

    assert names == [name for name, state in states(page) if state == "done"]
    assert faults == []
    assert page.errors() == []


def test_button_rests_until_its_work_is_done(page, filled, mixed_files):
    open_image(page, "b.png")
    page.run(
        "const own = window.fetch; window.fetch = (path, ...more) => path.includes('/result')"
        " ? new Promise((done) => { window.go = () => done(own(path, ...more)); })"
        " : own(path, ...more);"
    )

    page.click("#save")
    filled.add("later.png", (mixed_files / "b.png").read_bytes())  # of which the page is told
    page.wait_for(
        "[...document.querySelectorAll('.open')].some((each) => each.title === 'later.png')"
    )
    assert page.run("return document.querySelector('#save').disabled")

    page.run("go()")
    page.wait_for("!document.querySelector('#save').disabled")


@pytest.mark.parametrize("key", "+1sbenirhvw.")
def test_each_key_changes_the_picture_or_the_tool(page, key):
    open_image(page, "g.dcm")
    if key == "w":
        press(page, "m")
    before = page.run(SHOT), page.run("return document.querySelector('.stage').dataset.tool")

    press(page, key)

    look = "document.querySelector('.stage canvas').toDataURL() !== window.seen"
    page.run("window.seen = arguments[0]", before[0])
    tool = page.run("return document.querySelector('.stage').dataset.tool")
    assert tool != before[1] or page.wait_for(look)
    press(page, "\ue00c")  # Escape


def test_list_divider_and_help_are_reached_by_keys(page):
    open_image(page, "b.png")
    share = "return document.querySelector('.divider').getAttribute('aria-valuenow')"
    assert page.run(share) == "50"

    press(page, "\ue014", "\ue014")  # arrow right
    assert page.run(share) == "54"
    press(page, "?")
    assert page.run("return document.querySelector('dialog.help').open")
    page.run("document.querySelector('dialog.help').close()")
    page.press(".stage", "\ue00f")  # page down
    page.wait_for("document.querySelector('[aria-current]').title === 'c.png'")


def test_length_is_in_mm_where_spacing_is_known(page):
    for name, unit, size in (("g.dcm", "mm", 0.2), ("b.png", "px", 1)):
        open_image(page, name)
        press(page, "1")
        press(page, "m")
        left, top, width, height = stage_box(page)
        start = left + width / 2 - 50, top + height / 2
        page.drag(start, (start[0] + 100, start[1]))
        text = page.run("return document.querySelector('.readout').textContent")
        number, found = text.split()
        assert found == unit
        assert float(number) == pytest.approx(100 * size, rel=0.02)


def test_frames_are_turned_over(page, filled, mixed_files):
    open_image(page, "g.dcm")
    stored = read_radiograph(mixed_files / "g.dcm").stored
    press(page, "1")
    _, _, width, height = stage_box(page)

    press(page, ".")
    page.wait_for("document.querySelector('.frames .share').textContent === '2 / 2'")
    page.wait_until(
        lambda: (
            point_at(page, width / 2, height / 2)[2]
            == stored[1][tuple(each - 1 for each in point_at(page, width / 2, height / 2)[1::-1])]
        )
    )


def test_detail_stands_beside_an_image_that_is_shown_smaller(page, filled):
    noisy = np.random.default_rng(0).normal(120, 12, (900, 2600)).clip(0, 255).astype(np.uint8)
    filled.add("wide.png", cv2.imencode(".png", noisy)[1].tobytes())
    page.wait_for(
        "[...document.querySelectorAll('.open')].some((each) => each.title === 'wide.png')"
    )
    open_image(page, "wide.png")
    with_detail = page.run(SHOT)

    press(page, "l")

    assert page.run(SHOT) != with_detail


def test_touch_pinches_to_zoom_and_two_fingers_change_the_window(page):
    page.resize(390, 844, ratio=2, is_touch=True)
    open_image(page, "c.png")
    left, top, width, height = stage_box(page)
    x, y = left + width / 2, top + height / 2
    zoom = "return Number.parseInt(document.querySelector('.percent').textContent)"
    before = page.run(zoom)

    page.touch([(x - 30, y), (x + 30, y)], [(x - 120, y), (x + 120, y)])
    settle(page)
    assert page.run(zoom) > 1.5 * before
    preset = "return document.querySelector('[aria-label=Window]').value"
    assert page.run(preset) == "0"
    page.touch([(x - 30, y), (x + 30, y)], [(x - 30, y + 90), (x + 30, y + 90)])
    settle(page)

    assert page.run(preset) == "-1"


@pytest.mark.parametrize(("width", "height"), [(390, 844), (1440, 900)])
@pytest.mark.parametrize("theme", ["dark", "light"])
def test_page_fits_its_window(page, tmp_path, width, height, theme):
    page.resize(width, height, is_touch=width < 500)
    page.run("document.documentElement.dataset.theme = arguments[0]", theme)
    open_image(page, "b.png")

    assert page.run("return document.documentElement.scrollWidth") <= width
    assert page.run("return document.documentElement.scrollHeight") <= height
    _, _, stage_width, stage_height = stage_box(page)
    assert stage_width * stage_height > 0.5 * width * height
    if width < 500:
        small = page.run(
            "return [...document.querySelectorAll('button, select, input[type=range]')]"
            ".filter((each) => each.checkVisibility() && !each.closest('dialog'))"
            ".filter((each) => each.getBoundingClientRect().height < 44"
            " && !each.matches('.remove')).map((each) => each.outerHTML)"
        )
        assert small == []
    page.screenshot(tmp_path / f"{width}-{theme}.png")


@pytest.mark.parametrize(("theme", "width"), [("dark", 1440), ("light", 1440), ("light", 390)])
def test_axe_finds_no_serious_fault(page, theme, width):
    page.resize(width, 850, is_touch=width < 500)
    page.run("document.documentElement.dataset.theme = arguments[0]", theme)
    open_image(page, "g.dcm")
    page.click("#details")
    page.wait_for("document.querySelector('.figures-place:not([aria-busy]) table')")

    assert page.faults() == []
    cut = "const bar = document.querySelector('.bar'); return bar.scrollHeight > bar.clientHeight"
    assert not page.run(cut)
    assert page.run("return document.documentElement.scrollHeight") <= 850
    press(page, "?")
    assert page.faults() == []


def test_page_speaks_the_language_of_its_reader(page):
    agent = page.run("return navigator.userAgent")
    page.develop("Emulation.setUserAgentOverride", userAgent=agent, acceptLanguage="de-AT")
    try:
        page.run("location.reload()")
        page.wait_for("document.title === 'Röntgenbilder entrauschen'")
        assert page.run("return document.documentElement.lang") == "de"
    finally:
        page.develop("Emulation.setUserAgentOverride", userAgent=agent, acceptLanguage="en-US")


def test_noise_map_is_that_of_the_frame_and_the_image_that_are_shown(page):
    open_image(page, "g.dcm")
    press(page, "n")
    page.wait_for(
        "document.querySelector('.scale .ramp') && !document.querySelector('.scale').hidden"
    )
    press(page, ".")
    page.wait_for(
        "document.querySelector('.frames .share').textContent === '2 / 2'"
        " && document.querySelector('.notice').hidden"
        " && document.querySelector('[aria-label=\"What is shown\"]').value === 'noise'"
    )
    assert "NaN" not in page.run("return document.querySelector('.scale').textContent")

    press(page, "o")
    press(page, "n")
    page.run("document.querySelector('.list .open').click()")  # while it is being measured
    page.wait_for(is_opened("a.jpg"))
    assert page.errors() == []


def test_help_names_the_keys_of_the_list(page):
    press(page, "?")

    text = page.run("return document.querySelector('dialog.help').textContent")
    assert "PgUp PgDnPrevious and next image" in text
    assert "[ ÖLess strength" in text  # German keyboards have no key for [
