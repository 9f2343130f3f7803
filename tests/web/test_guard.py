"""Only the page's own browser gets responses, and no other web site."""

import pytest

pytest.importorskip("starlette")

from monai_dental.web.policy import refusal

HOSTS = frozenset({"127.0.0.1:8000", "localhost:8000"})


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "127.0.0.1:8000"},
        {"host": "localhost:8000", "origin": "http://localhost:8000"},
        {"host": "127.0.0.1:8000", "sec-fetch-site": "same-origin"},
        {"host": "127.0.0.1:8000", "sec-fetch-site": "none"},
    ],
)
def test_own_page_is_answered(headers):
    assert refusal(headers, HOSTS) is None


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({}, "Host"),
        ({"host": "evil.example:8000"}, "Host"),  # DNS rebinding
        ({"host": "127.0.0.1:8001"}, "Host"),
        ({"host": "127.0.0.1:8000", "origin": "https://evil.example"}, "Origin"),
        ({"host": "127.0.0.1:8000", "origin": "https://127.0.0.1:8000"}, "Origin"),
        ({"host": "127.0.0.1:8000", "origin": "http://127.0.0.1:8001"}, "Origin"),
        ({"host": "127.0.0.1:8000", "origin": "null"}, "Origin"),
        ({"host": "127.0.0.1:8000", "sec-fetch-site": "cross-site"}, "another web site"),
        ({"host": "127.0.0.1:8000", "sec-fetch-site": "same-site"}, "another web site"),
    ],
)
def test_other_sites_are_refused(headers, reason):
    assert reason in refusal(headers, HOSTS)


def test_server_listens_on_loopback_alone_and_hides_behind_its_token(served):
    root = served.url.rsplit("/", 2)[0]
    without = type(served)(served.process, f"{root}/", served.tmp)

    assert served.url.startswith("http://127.0.0.1:")
    assert without.ask("")[0] == 404
    assert without.ask("api/changes")[0] == 404
    assert without.ask("x" * 24 + "/api/changes")[0] == 404
    assert served.ask("api/changes", Origin="http://evil.example")[0] == 403
    assert served.ask("api/changes", Host="evil.example")[0] == 403
    assert served.ask("api/images?name=a.png", b"x", "POST", Origin="http://evil.example")[0] == 403
    assert served.images() == [] or all(each["name"] != "a.png" for each in served.images())


def test_answers_allow_nothing_from_outside(served):
    _, _, headers = served.ask("")

    assert "default-src 'none'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["referrer-policy"] == "no-referrer"  # the address holds the token
    assert headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in headers
