"""Access control: only browsers on this machine that know the address, and no other web site.

Each request is checked: Host, Origin, Sec-Fetch-Site (`policy`), and the token.
"""

from __future__ import annotations

import secrets

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monai_dental.web.policy import HEADERS, refusal


class Hardened:
    """Middleware whose headers restrict a page to its own server and forbid framing and caching.

    Args:
        app: The wrapped app; headers that it sets itself are kept.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def send_hardened(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    if name not in headers:
                        headers[name] = value
            await send(message)

        await self._app(scope, receive, send_hardened)


class Guard:
    """Middleware that answers only requests of the page, under its secret path.

    Args:
        app: The wrapped app; it sees the path without the token.
        token: First part of the path.
        hosts: See `refusal`.
    """

    def __init__(self, app: ASGIApp, token: str, hosts: frozenset[str]) -> None:
        self._app, self._token, self._hosts = Hardened(app), token, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or refuse one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # WebSockets are not supported
            return

        reason = refusal(Headers(scope=scope), self._hosts)
        token, _, rest = scope["path"].lstrip("/").partition("/")
        if reason is not None:
            await PlainTextResponse(f"refused: {reason}\n", 403)(scope, receive, send)
        elif not secrets.compare_digest(token.encode(), self._token.encode()):
            text = "nothing here: open the address that the terminal shows, with all its letters\n"
            await PlainTextResponse(text, 404)(scope, receive, send)
        else:
            inner = {**scope, "path": f"/{rest}", "raw_path": f"/{rest}".encode()}
            await self._app(inner, receive, send)
