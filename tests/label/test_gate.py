"""The gate: other web sites, paths, changes, and the contents of responses."""

from __future__ import annotations

import asyncio
import json

import pytest

pytest.importorskip("starlette")

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from monai_dental.errors import UnsupportedImageError
from monai_dental.label.gate import Gate, Rules, foreign, is_plain_name, leads_out


class LabelNotFoundException(Exception):  # noqa: N818 - MONAI Label's own name
    pass


async def _fine(request):
    return PlainTextResponse("fine")


async def _fails(request):
    raise {
        "label": LabelNotFoundException("secret"),
        "value": ValueError("strength is 7; need 0 to 1"),
        "image": UnsupportedImageError("scan: no image"),
        "json": json.JSONDecodeError("x", "{", 0),
        "program": FileNotFoundError("nvidia-smi"),
        "other": TypeError("Doe^John"),
    }[request.path_params["kind"]]


def ask(path, rules=Rules(), method="GET", **headers):  # noqa: B008 - it is frozen
    """Return status, text and headers of a response through the gate."""
    inner = Starlette(
        routes=[
            Route("/datastore/image", _fine, methods=["GET", "PUT", "DELETE"]),
            Route("/fails/{kind}", _fails),
            Route("/", _fine),
        ]
    )
    path, _, query = path.partition("?")
    named = {"host": "127.0.0.1:8000", **{k.replace("_", "-"): v for k, v in headers.items()}}
    scope = {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(),
        "query_string": query.encode(), "scheme": "http", "root_path": "", "http_version": "1.1",
        "headers": [(k.encode(), v.encode()) for k, v in named.items()],
        "server": ("127.0.0.1", 8000), "client": ("127.0.0.1", 1),
    }  # fmt: skip
    sent = []

    async def receive():
        return {"type": "http.request", "body": b""}

    async def send(message):
        sent.append(message)

    asyncio.run(Gate(inner, rules)(scope, receive, send))
    starts = [each for each in sent if each["type"] == "http.response.start"]
    assert len(starts) == 1
    body = b"".join(each.get("body", b"") for each in sent).decode()
    return starts[0]["status"], body, {k.decode(): v.decode() for k, v in starts[0]["headers"]}


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "127.0.0.1:8000"},
        {"host": "localhost:8000", "origin": "http://localhost:8000"},
        {"host": "192.168.1.7:8000"},
        {"host": "[::1]:8000"},
        {"host": "label.clinic.example"},
        {"host": "localhost", "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"},
    ],
)
def test_own_requests_pass(headers):
    assert foreign(headers, ("label.clinic.example",)) is None


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"host": "evil.example:8000"},
        {"host": "127.0.0.1:8000", "origin": "https://evil.example"},
        {"host": "127.0.0.1:8000", "origin": "http://127.0.0.1:9000"},
        {"host": "127.0.0.1:8000", "origin": "null"},
        {"host": "127.0.0.1:8000", "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"},
    ],
)
def test_requests_of_other_web_sites_do_not(headers):
    assert foreign(headers, ())
    status, body, _ = ask("/", **{k.replace("-", "_"): v for k, v in headers.items()})
    assert not headers or status == 403, body


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_changes_are_off_unless_asked_for(method):
    status, body, _ = ask("/datastore/image?id=scan", method=method)

    assert status == 403
    assert "--allow-changes" in body
    assert ask("/datastore/image?id=scan", Rules(allows_changes=True), method)[0] == 200


@pytest.mark.parametrize("name", ["image", "id", "label", "tag", "session_id"])
@pytest.mark.parametrize("path", ["../x", "/etc/x", "a/b", "a%5cb", "..", ".ssh", "%00"])
def test_no_name_of_a_client_is_a_path(name, path):
    rules = Rules(allows_changes=True)
    for method in ("GET", "PUT"):
        assert ask(f"/datastore/image?{name}={path}", rules, method)[0] == 400
    assert is_plain_name("Zähne 1.2.840")


@pytest.mark.parametrize("path", ["..", "../instances", "studies/..", "a/%2e%2e/b", "..\\\\b", "."])
def test_no_question_to_the_pacs_leads_out_of_its_dicomweb(path):
    assert ask(f"/proxy/dicom/wado/{path}")[0] == 400
    assert not leads_out("/proxy/dicom/qido/studies/1.2.840/series")


def test_token_is_asked_for_where_there_is_one():
    rules = Rules(token="secret")

    assert ask("/", rules)[0] == 401
    assert ask("/", rules, authorization="Bearer wrong")[0] == 401
    assert ask("/", rules, authorization="Bearer secret")[0] == 200
    status, _, headers = ask("/?token=secret", rules)
    assert (status, headers["location"]) == (303, "/")
    assert "HttpOnly" in headers["set-cookie"]
    assert ask("/", rules, cookie=headers["set-cookie"].partition(";")[0])[0] == 200


@pytest.mark.parametrize(
    ("kind", "status", "text"),
    [
        ("label", 404, "no such image or label"),
        ("value", 400, "strength is 7"),
        ("image", 400, "scan: no image"),
        ("json", 400, "not JSON"),
        ("program", 404, "not on this server"),
        ("other", 500, "unexpected TypeError"),
    ],
)
def test_no_error_is_a_bare_500(kind, status, text):
    found, body, _ = ask(f"/fails/{kind}")

    assert found == status
    assert text in json.loads(body)["detail"]
    assert "secret" not in body
    assert "Doe" not in body
