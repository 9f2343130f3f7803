"""Who may ask the server: a browser of this machine that knows the address, and no other web site.

A page of the internet can make a browser send requests to 127.0.0.1, and by DNS rebinding can name
it as its own host. So each request is checked: Host, Origin, Sec-Fetch-Site, and the token.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_OWN_SITE = ("none", "same-origin")

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The page's Content-Security-Policy: nothing is asked of anyone but this server."""

_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def refusal(headers: Mapping[str, str], hosts: frozenset[str]) -> str | None:
    """Return why a request is refused, or None.

    Args:
        headers: Its headers, by lower-case name.
        hosts: What Host may be, "127.0.0.1:8000" for instance.
    """
    if headers.get("host", "") not in hosts:
        return "Host is not this server's address"
    origin = headers.get("origin")
    if origin is not None and origin.removeprefix("http://") not in hosts:
        return "Origin is another web site"
    if headers.get("sec-fetch-site", "none") not in _OWN_SITE:
        return "the request comes from another web site"
    return None


class Hardened:
    """Middleware that lets a page ask nobody but its own server, and nobody frame or keep it.

    Args:
        app: What answers; a header of its own stays.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def send_hardened(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    if name not in headers:
                        headers[name] = value
            await send(message)

        await self._app(scope, receive, send_hardened)


class Guard:
    """Middleware that answers only requests of the page, under its secret path.

    Args:
        app: What answers them; it sees the path without the token.
        token: First part of the path.
        hosts: As of `refusal`.
    """

    def __init__(self, app: ASGIApp, token: str, hosts: frozenset[str]) -> None:
        self._app, self._token, self._hosts = Hardened(app), token, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or refuse one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # no WebSockets here
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
