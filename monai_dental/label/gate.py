"""The gate before MONAI Label's server: who may send which requests.

MONAI Label answers any web site that the user's browser visits (its CORS allows every origin, with
credentials), writes files to paths that a client names, and answers errors with a bare 500.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import re
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monai_dental.errors import MonaiDentalError, unexpected

COOKIE = "monai_dental_token"
"""Cookie that holds the token in a browser that received it in an address."""

_NAMES = ("image", "id", "label", "tag", "session_id", "study", "user")
"""Query parameters that MONAI Label uses in paths."""

_PLAIN = re.compile(r"[^/\\\x00-\x1f]{1,255}")
_CHANGES = ("PUT", "DELETE")


@dataclass(frozen=True)
class Rules:
    """Rules of the gate.

    Attributes:
        hosts: Further names by which clients may address this machine.
        token: Token that clients must send; None admits everyone who can reach the server.
        allows_changes: Whether clients may add, replace and remove files of the datastore.
    """

    hosts: tuple[str, ...] = ()
    token: str | None = None
    allows_changes: bool = False


class Gate:
    """Middleware that runs before all others of MONAI Label's server."""

    def __init__(self, app: ASGIApp, rules: Rules) -> None:
        self._app, self._rules = app, rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, refuse, or pass on one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = self._answer(Request(scope))
        if answer is not None:
            await answer(scope, receive, send)
            return
        await self._pass(scope, receive, send)

    def _answer(self, request: Request) -> Response | None:
        rules = self._rules
        reason = foreign(request.headers, rules.hosts)
        if reason is not None:
            return _told(403, reason)
        query = dict(parse_qsl(request.url.query, keep_blank_values=True))
        if rules.token is not None:
            if "token" in query and _same(query["token"], rules.token):
                return _let_in(request, rules.token)
            if not any(_same(each, rules.token) for each in _tokens(request)):
                return _told(401, "need the server's token: Authorization: Bearer TOKEN")
        for name in _NAMES:
            if name in query and not is_plain_name(query[name]):
                return _told(400, f"{name} is not a plain name; need one without a path")
        if request.scope["path"].startswith("/proxy/") and leads_out(request.scope["path"]):
            return _told(400, "the path leads out of the DICOMweb service")
        is_change = request.method in _CHANGES and request.url.path.startswith("/datastore")
        if is_change and not rules.allows_changes:
            return _told(
                403, f"{request.method} is disabled; start the server with --allow-changes"
            )
        return None

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the server answer; replace a bare 500 by the message of its error."""
        is_begun = False
        is_failed = False

        async def send_checked(message: Message) -> None:
            nonlocal is_begun, is_failed
            is_start = message["type"] == "http.response.start"
            plain = Headers(raw=message["headers"]).get("content-type", "") if is_start else ""
            if is_start and message["status"] == 500 and plain.startswith("text/plain"):
                is_failed = True  # its error is raised next, and has a message
            if is_failed:
                return
            is_begun = True
            await send(message)

        error: Exception | None = None
        try:
            await self._app(scope, receive, send_checked)
        except Exception as caught:  # noqa: BLE001 - reported to the client, without patient data
            error = caught
        if not is_begun and (is_failed or error is not None):
            await _told(*_meaning(error))(scope, receive, send)


def foreign(headers: Mapping[str, str], hosts: tuple[str, ...]) -> str | None:
    """Return why a request counts as one from another web site, or None.

    A web site whose name resolves to this machine (DNS rebinding) sends that name as Host. It
    cannot send a numeric address, or a name of this machine.

    Args:
        headers: The request's headers, by lower-case name.
        hosts: Further names of this machine.
    """
    host = headers.get("host", "")
    name = (urlsplit(f"//{host}").hostname or "").lower()
    own = {"localhost", socket.gethostname().lower(), *(each.lower() for each in hosts)}
    if not (_is_address(name) or name in own):
        return "Host is not a name of this machine; start the server with --allow-host NAME"
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != host:
        return "the request comes from another web site"
    is_link = headers.get("sec-fetch-mode") == "navigate"
    if headers.get("sec-fetch-site") in ("cross-site", "same-site") and not is_link:
        return "the request comes from another web site"
    return None


def is_plain_name(text: str) -> bool:
    """Return whether a client's text is a plain name, and not a path."""
    return text == "" or (_PLAIN.fullmatch(text) is not None and not text.startswith("."))


def leads_out(path: str) -> bool:
    """Return whether a path, decoded once, could lead to other parts of a PACS.

    MONAI Label passes it on to an HTTP client that decodes it again and resolves dots in it.
    """
    return re.search(r"[%\\]|(^|/)\.{1,2}(/|$)", path) is not None


def _is_address(name: str) -> bool:
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(name)
        return True
    return False


def _tokens(request: Request) -> tuple[str, str]:
    return (
        request.headers.get("authorization", "").removeprefix("Bearer "),
        request.cookies.get(COOKIE, ""),
    )


def _same(one: str, other: str) -> bool:
    return secrets.compare_digest(one.encode(), other.encode())


def _let_in(request: Request, token: str) -> Response:
    """Give a browser the token as a cookie, and remove it from the address."""
    answer = RedirectResponse(request.url.path, 303)
    answer.set_cookie(COOKIE, token, httponly=True, samesite="strict")
    return answer


def _told(status: int, reason: str) -> Response:
    return JSONResponse({"detail": reason}, status)


def _meaning(error: Exception | None) -> tuple[int, str]:
    """Return status and message for an error that MONAI Label answers with a bare 500."""
    if type(error).__name__ in ("ImageNotFoundException", "LabelNotFoundException"):
        return 404, "no such image or label in the datastore"
    if isinstance(error, json.JSONDecodeError):
        return 400, "the parameters are not JSON"
    if isinstance(error, (MonaiDentalError, ValueError)):
        return 400, str(error)
    if isinstance(error, FileNotFoundError):
        return 404, "a file that this needs is not on this server"
    text: Any = getattr(error, "msg", None)  # MONAILabelException has its own message
    if isinstance(text, str) and text:
        return 404, text
    return 500, "an unexpected error" if error is None else unexpected(error)
