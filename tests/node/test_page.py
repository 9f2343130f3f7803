"""The page of a node in a real browser, and who may not open it."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest

from monai_dental.errors import PacsError
from monai_dental.node.page_server import TOKEN, NodePage

NOWHERE = "ARCHIVE@127.0.0.1:1"
SECRET = "0123456789abcdef"
OWN = ("127.0.0.1", 11180)


@pytest.fixture(scope="module")
def node(make_node: Callable[..., Any]) -> Any:
    made = make_node(NOWHERE, "--longest-wait", 60)
    made.start()
    return made


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Request a path of a page, and return the status."""

    def ask(path: str = "/", peer: str = "127.0.0.1", token: str = "", **headers: str) -> int:
        monkeypatch.setenv(TOKEN, token)
        said = {"host": "127.0.0.1:11180"}
        said |= {name.replace("_", "-"): value for name, value in headers.items()}
        return NodePage(dict).answer(path, said, peer, OWN).status

    return ask


def test_page_shows_what_waits_and_what_failed(
    node, browser, make_file, dcmtk, picture, tmp_path
) -> None:
    files = (
        make_file(0), make_file(20, Modality="US"), make_file(10, stored=picture(8, rows=31)),
    )  # fmt: skip
    assert dcmtk("storescu", "-aec", "DENOISE", "127.0.0.1", node.port, *files).returncode == 0
    node.wait_for(
        lambda metrics: (
            metrics["failed_total"] == metrics["skipped_total"] == 1
            and metrics["forward_failures"] > 0
        )
    )
    browser.errors(), browser.requests()
    browser.resize(1280, 900)

    browser.visit(f"{node.url}/")
    browser.wait_for("document.querySelector('#failed td')")

    def cells(section: str) -> list[str]:
        return browser.run(
            "return [...document.querySelectorAll(arguments[0])].map((each) => each.textContent)",
            f"#{section} td, #{section} dd",
        )

    waiting, failed, skipped = cells("waiting"), cells("failed"), cells("skipped")
    assert waiting[2].startswith(f"dimse://{NOWHERE}: does not answer")
    assert failed[0] == "1.2.3.4.10"
    assert failed[2] == "crashed its worker process (signal 9), 2 times"
    assert skipped[0] == "1"
    assert skipped[1].startswith("(0008,0060) Modality is US")
    assert cells("archive")[0] == NOWHERE
    assert browser.run("return document.querySelector('.state').textContent") == "needs attention"
    assert "MARKER" not in browser.run("return document.documentElement.textContent")
    assert browser.errors() == []
    assert {urlsplit(each).netloc for each in browser.requests()} == {urlsplit(node.url).netloc}
    browser.screenshot(tmp_path / "node.png")

    node.end()
    browser.wait_for("document.querySelector('.message').textContent.includes('not answer')")
    node.start()


def test_answers_let_browsers_do_nothing_else(node) -> None:
    connection = http.client.HTTPConnection(urlsplit(node.url).netloc, timeout=60)

    connection.request("GET", "/status.json")
    answer = connection.getresponse()
    status = json.loads(answer.read())

    assert status["name"] == "DENOISE"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["Cache-Control"] == "no-store"
    for method in ("POST", "PUT", "DELETE"):
        connection = http.client.HTTPConnection(urlsplit(node.url).netloc, timeout=60)
        connection.request(method, "/status.json")
        assert connection.getresponse().status == 501


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({}, 200),
        ({"peer": "10.0.0.7"}, 403),
        ({"peer": "::1"}, 200),
        ({"host": "evil.example:11180"}, 403),
        ({"host": "localhost:11180"}, 200),
        ({"origin": "https://evil.example"}, 403),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"path": "/../settings.py"}, 404),
        ({"token": SECRET}, 404),
        ({"token": SECRET, "path": f"/{SECRET}/"}, 200),
        ({"token": SECRET, "path": f"/{SECRET}/status.json", "peer": "10.0.0.7"}, 200),
        ({"token": SECRET, "path": f"/{SECRET}/", "origin": "https://evil.example"}, 403),
    ],
)
def test_page_is_for_this_machine_or_for_who_has_the_token(page, options, status) -> None:
    assert page(**options) == status


def test_every_file_that_the_page_asks_for_is_served() -> None:
    page = NodePage(dict)
    asked = {""}
    served: set[str] = set()
    while asked - served:
        path = min(asked - served)
        answer = page.answer(f"/{path}", {"host": "127.0.0.1:11180"}, "127.0.0.1", OWN)
        assert answer.status == 200, path
        served.add(path)
        links = re.findall(r'(?:src=|href=|from )"([^":,]+)"', answer.content.decode())
        asked |= {urljoin(path, link) for link in links}

    assert {"page/node.js", "viewer/theme.js", "page/page.css"} <= served


@pytest.mark.parametrize("token", ["short", "0123456789abcde/", "0123456789abcdeé"])
def test_token_that_can_be_guessed_or_is_none_is_refused(page, token) -> None:
    with pytest.raises(PacsError, match="need 16 or more letters") as error:
        page(token=token)

    assert token not in str(error.value)
