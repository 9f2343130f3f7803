"""The read-only page of a node, for this machine or for anyone with its token."""

from __future__ import annotations

import ipaddress
import json
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import PurePath
from typing import Any

from monai_dental.errors import PacsError
from monai_dental.viewer import assets
from monai_dental.web.policy import refusal

TOKEN = "MONAI_DENTAL_PAGE_TOKEN"
"""Environment variable of the token that lets other machines open the page."""

_SHORTEST_TOKEN = 16
_PAGE = files("monai_dental.node").joinpath("page")
_SHARED = files("monai_dental.web").joinpath("page")
_FILES: dict[str, Callable[[], str]] = {
    "": lambda: _PAGE.joinpath("index.html").read_text("utf-8"),
    "page/node.js": lambda: _PAGE.joinpath("node.js").read_text("utf-8"),
    "page/node.css": lambda: _PAGE.joinpath("node.css").read_text("utf-8"),
    "page/page.css": lambda: _SHARED.joinpath("page.css").read_text("utf-8"),
    "viewer/viewer.css": assets.style,
    "viewer/elements.js": lambda: assets.module("elements.js"),
    "viewer/theme.js": lambda: assets.module("theme.js"),
}
_TYPES = {".js": "text/javascript", ".css": "text/css", "": "text/html"}


@dataclass(frozen=True)
class Answer:
    """The answer to a request."""

    status: int
    content: bytes
    media_type: str = "text/plain; charset=utf-8"


class NodePage:
    """The answers to a browser; no request changes anything.

    Without a token, only this machine may send requests, by one of its own addresses. With a token,
    that is the first part of each path.

    Args:
        status: Returns the state of the node, for JSON.

    Raises:
        PacsError: The token in the environment can be guessed, or cannot be part of a URL.
    """

    def __init__(self, status: Callable[[], dict[str, Any]]) -> None:
        self._status = status
        self._token = os.environ.get(TOKEN, "")
        is_safe = all(char.isascii() and (char.isalnum() or char in "-_") for char in self._token)
        if self._token and (len(self._token) < _SHORTEST_TOKEN or not is_safe):
            raise PacsError(
                f"{TOKEN}: need {_SHORTEST_TOKEN} or more letters, digits, - and _; such as "
                "`openssl rand -hex 16` makes"
            )

    def answer(
        self, path: str, headers: Mapping[str, str], peer: str, own: tuple[str, int]
    ) -> Answer:
        """Answer a GET request.

        Args:
            path: Its path, as received.
            headers: Its headers, by lower-case name.
            peer: IP address of the client.
            own: Our IP address and port that received the request.
        """
        rest = path.removeprefix("/")
        if self._token:
            token, _, rest = rest.partition("/")
            if not secrets.compare_digest(token.encode(), self._token.encode()):
                return Answer(404, b"need /health, /metrics, or /TOKEN/ for the page\n")
            hosts = frozenset({headers.get("host", "")})
        elif not ipaddress.ip_address(peer.partition("%")[0]).is_loopback:
            return Answer(
                403, f"refused: the page is for this machine, or needs {TOKEN}\n".encode()
            )
        else:
            names = (f"[{own[0]}]" if ":" in own[0] else own[0], "localhost")
            hosts = frozenset(f"{name}:{own[1]}" for name in names)
        if (reason := refusal(headers, hosts)) is not None:
            return Answer(403, f"refused: {reason}\n".encode())
        if rest == "status.json":
            return Answer(200, json.dumps(self._status()).encode(), "application/json")
        if rest not in _FILES:
            return Answer(404, b"need /health, /metrics or / for the page\n")
        kind = _TYPES[PurePath(rest).suffix]
        return Answer(200, _FILES[rest]().encode(), f"{kind}; charset=utf-8")
