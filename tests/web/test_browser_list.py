"""The page's list in a real browser: what is opened if files fail, are removed or never arrive."""

from __future__ import annotations

import base64
import json
import zipfile

import cv2
import numpy as np
import pytest
from page_actions import current, drop, is_opened, open_image, press, remove, states


@pytest.fixture
def fresh(start, browser):
    """A page without images, and a good image."""
    served = start()
    browser.errors(), browser.requests()
    browser.resize(1440, 900)
    browser.visit(served.url)
    browser.wait_for("document.querySelector('.welcome:not([hidden])')")
    noisy = np.random.default_rng(1).normal(120, 12, (60, 80)).clip(0, 255).astype(np.uint8)
    return browser, cv2.imencode(".png", noisy)[1].tobytes()


def test_what_cannot_be_read_never_stays_open_by_itself(fresh):
    page, good = fresh
    drop(page, ("a.png", good[:40]), ("b.png", good), ("c.png", good[:40]), ("d.png", good))
    page.wait_for(is_opened("b.png"))
    page.wait_for("document.querySelectorAll('[data-state=failed]').length === 2")

    page.run("location.reload()")
    page.wait_for(is_opened("b.png"))
    remove(page, "b.png")
    page.wait_for(is_opened("d.png"))  # the next that can be read, not the first
    remove(page, "d.png")
    page.wait_for("document.querySelector('[aria-current]') === null")
    drop(page, ("e.png", good[:40]), ("f.png", good))
    page.wait_for(is_opened("f.png"))


@pytest.fixture
def german(fresh):
    """The same for a reader who wants German."""
    page, good = fresh
    agent = page.run("return navigator.userAgent")
    page.develop("Emulation.setUserAgentOverride", userAgent=agent, acceptLanguage="de")
    page.run("location.reload()")
    page.wait_for("document.documentElement.lang === 'de'")
    page.wait_for("document.querySelector('.welcome:not([hidden])')")
    yield page, good
    page.develop("Emulation.setUserAgentOverride", userAgent=agent, acceptLanguage="en-US")


def test_last_image_that_is_removed_leads_back_to_the_beginning(fresh):
    page, good = fresh
    drop(page, ("a.png", good))
    page.wait_for(is_opened("a.png"))

    remove(page, "a.png")
    page.wait_for("document.querySelector('.welcome:not([hidden])')")
    assert page.run("return document.querySelector('#save').disabled")

    drop(page, ("b.png", good[:40]), ("c.png", good))
    page.wait_for(is_opened("c.png"))


def test_image_that_fails_after_it_was_chosen_says_why(fresh):
    page, good = fresh
    drop(page, ("a.png", good), ("b.png", good[:40]))
    page.wait_for(is_opened("a.png"))
    page.wait_for("document.querySelector('[data-state=failed]')")

    page.run("document.querySelector('[data-state=failed] .open').click()")

    reason = page.run("return document.querySelector('[data-state=failed] .state').textContent")
    page.wait_for(f"document.querySelector('.notice').textContent === {json.dumps(reason)}")
    assert current(page) == "b.png"


def test_what_cannot_be_sent_says_so_and_holds_up_nothing(fresh):
    page, good = fresh
    page.run(
        "const open = XMLHttpRequest.prototype.open;"
        "XMLHttpRequest.prototype.open = function (method, path) {"
        "  if (path.includes('name=lost')) open.call(this, method, 'http://127.0.0.1:9/');"
        "  else if (path.includes('name=odd')) open.call(this, 'GET', './');"
        "  else open.call(this, method, path); }"
    )
    drop(page, ("a.png", good), ("lost.png", good), ("odd.png", good), ("b.png", good))
    page.wait_for("document.querySelectorAll('[data-state=done]').length === 2")

    reasons = page.run(
        "return [...document.querySelectorAll('[data-state=failed]')]"
        ".map((row) => row.querySelector('.state').textContent)"
    )
    assert reasons == [
        "lost.png: could not be sent; is the server still running?", "HTTP 200",
    ]  # fmt: skip
    page.wait_for(is_opened("a.png"))
    press(page, "\ue00f")  # page down: over those that were never sent
    page.wait_for(is_opened("b.png"))
    for name in ("lost.png", "odd.png", "a.png", "b.png"):
        remove(page, name)
    page.wait_for("document.querySelector('.welcome:not([hidden])')")


def test_what_is_wrong_is_told_in_the_language_of_the_reader(german):
    page, good = german
    page.run(
        "const open = XMLHttpRequest.prototype.open;"
        "XMLHttpRequest.prototype.open = function (method, path) {"
        "  open.call(this, method, path.replace('images?name=d', 'images/999/denoise?')); }"
    )
    drop(page, ("a.png", b""), ("b.jpg", b"text"), ("c.png", good), ("d.png", good))
    page.wait_for("document.querySelector('[data-state=done]')")
    page.wait_for("document.querySelectorAll('[data-state=failed]').length === 3")

    said = "return [...document.querySelectorAll('.state')].map((each) => each.textContent)"
    assert page.run(said) == [
        "Die Datei ist leer.",
        "Das ist keine JPEG-Datei, auch wenn sie so heißt.",
        "entrauscht",
        "Dieses Bild gibt es hier nicht mehr. Laden Sie die Seite neu.",
    ]
    page.run("document.querySelector('.list .open').click()")
    page.wait_for("document.querySelector('.notice').textContent === 'Die Datei ist leer.'")


def test_zip_and_report_are_in_the_language_of_the_reader(german, tmp_path):
    page, good = german
    page.develop("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    drop(page, ("a.png", b""), ("b.png", good))
    page.wait_for("document.querySelector('[data-state=done]')")

    page.click("#save-all")
    page.wait_until(lambda: (tmp_path / "denoised.zip").exists())
    page.click("#report")
    own = page.go_to_opened()
    try:
        page.wait_for("document.querySelector('article.ready')")
        lang = page.run("return document.documentElement.lang")
        text = page.run("return document.body.innerText")
        fit = page.run("return document.querySelector('[aria-label=Einpassen]') !== null")
        faults = page.faults()
    finally:
        page.close_window()
        page.go_to(own)

    with zipfile.ZipFile(tmp_path / "denoised.zip") as archive:
        assert archive.read("not-denoised.txt").decode() == "a.png: Die Datei ist leer.\n"
    assert lang == "de"
    assert "1 Bild: 1 verglichen." in text
    assert "Entferntes" in text
    assert fit  # the report's viewer speaks it too
    assert faults == []


def test_file_of_a_dropped_folder_that_cannot_be_read_leaves_the_others(fresh):
    page, good = fresh
    page.run(
        """
        const bytes = Uint8Array.from(atob(arguments[0]), (one) => one.charCodeAt(0));
        const good = new File([bytes], "b.png");
        const reader = (readEntries) => () => ({ readEntries });
        const folder = (fullPath, read) => ({ fullPath, createReader: reader(read) });
        const file = (fullPath, read) => ({ isFile: true, fullPath, file: read });
        const entries = [
          file("/scans/a.png", (_, fail) => fail(new DOMException("no", "NotReadableError"))),
          folder("/scans/closed", (_, fail) => fail(new Error())),
          file("/scans/b.png", (found) => found(good)),
        ];
        const parts = [entries, []];
        const scans = folder("/scans", (found) => found(parts.shift()));
        const event = new Event("drop", { cancelable: true });
        const item = { kind: "file", webkitGetAsEntry: () => scans };
        event.dataTransfer = { items: [item], files: [] };
        document.body.dispatchEvent(event);
        """,
        base64.b64encode(good).decode(),
    )
    page.wait_for(is_opened("scans/b.png"))
    page.wait_for("document.querySelector('.list li:last-child').dataset.state === 'done'")

    assert [state for _, state in states(page)] == ["failed", "failed", "done"]
    assert page.run("return document.querySelector('.list .state').textContent") == (
        "scans/a.png: your browser cannot read it; is it still there, and may you open it?"
    )


def test_what_was_taken_otherwise_than_it_is_stands_in_the_list(fresh):
    page, _ = fresh
    noisy = np.random.default_rng(0).normal((90, 120, 150), 12, (60, 80, 3)).clip(0, 255)
    drop(page, ("colours.png", cv2.imencode(".png", noisy.astype(np.uint8))[1].tobytes()))

    page.wait_for(
        "[...document.querySelectorAll('.state')].some("
        "(each) => each.textContent === 'denoised · colour is converted to grey')"
    )


def test_page_says_that_the_server_has_ended(start, browser, mixed_files):
    served = start()
    browser.visit(served.url)
    browser.wait_for("document.querySelector('.welcome')")
    assert browser.faults() == []
    drop(browser, *((name, (mixed_files / name).read_bytes()) for name in ("a.jpg", "b.png")))
    browser.wait_for("document.querySelectorAll('[data-state=done]').length === 2")
    open_image(browser, "b.png")
    served.process.terminate()
    served.process.wait(30)

    assert browser.wait_for(
        "document.querySelector('.message').textContent.startsWith('The server has stopped')"
    )
    browser.click("#save")
    browser.wait_for("!document.querySelector('#save').disabled")
    said = "return document.querySelector(arguments[0]).textContent"
    assert browser.run(said, ".message").startswith("The server has stopped")
    browser.click(".list .open")
    browser.wait_for("document.querySelector('.notice').textContent.startsWith('The server has')")
