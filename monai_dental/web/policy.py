"""The security headers of each response, and the check of requests.

A page on the internet can make a browser send requests to 127.0.0.1, and by DNS rebinding under its
own host name. Host, Origin and Sec-Fetch-Site of each request are therefore checked.
"""

from __future__ import annotations

from collections.abc import Mapping

_OWN_SITE = ("none", "same-origin")

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The page's Content-Security-Policy: requests go only to this server."""

HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Headers of each response."""


def refusal(headers: Mapping[str, str], hosts: frozenset[str]) -> str | None:
    """Return the reason to refuse a request, or None.

    Args:
        headers: The request's headers, by lower-case name.
        hosts: Allowed values of Host, for example "127.0.0.1:8000".
    """
    if headers.get("host", "") not in hosts:
        return "Host is not this server's address"
    origin = headers.get("origin")
    if origin is not None and origin.removeprefix("http://") not in hosts:
        return "Origin is another web site"
    if headers.get("sec-fetch-site", "none") not in _OWN_SITE:
        return "the request comes from another web site"
    return None
