"""Requests to a DICOMweb service, with retries, authorization, and limits on the answers.

This uses requests, not dicomweb-client, which holds each stored or retrieved instance in memory as
a whole, does not limit the size of an answer, and follows redirections.
"""

from __future__ import annotations

import ipaddress
import json
import os
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from monai_dental.errors import AddressError, PacsError, PacsUnavailableError
from monai_dental.pacs.address import DicomwebAddress
from monai_dental.pacs.extra import require
from monai_dental.pacs.retry import FaultError, Patience

if TYPE_CHECKING:
    from requests import PreparedRequest, Response, Session

    from monai_dental.pacs.dicomweb.multipart import Body

TOKEN = "MONAI_DENTAL_TOKEN"
"""Environment variable of the bearer token."""

_CONNECT_S, _READ_S = 10.0, 120.0
_BUSY = (408, 425, 429, 502, 503, 504)
_FAULT = 500  # a temporary fault of the service, or one with this instance
_NO_ENTRY = (401, 403, 407)
_UNQUOTED = "*?,:;@/!$'()"  # allowed in a query without encoding (RFC 3986 3.4)
_CHUNK = 1 << 16
_MAX_JSON_BYTES = 64 << 20


class NotThereError(PacsError):
    """The service has no such resource (404, 410)."""


class HttpClient:
    """A service and the connections to it, for one thread.

    A request without an answer, or with a status that means "later" (429, 5xx), is sent again after
    a pause that honours `Retry-After`. Certificates are always verified, by the authorities of
    `REQUESTS_CA_BUNDLE` if it is set. Redirections are errors: they could send a token or a
    patient's image anywhere. Over plain HTTP, a login in ~/.netrc is sent only to this machine;
    requests to this machine use no proxy.

    Args:
        address: The service.
        patience: Number of attempts, and pauses between them.
        tokens: Environment variables; the first one that is set holds the bearer token.

    Raises:
        AddressError: A token would be sent over an unencrypted connection.
        MissingPackageError: requests is not installed.
    """

    def __init__(
        self, address: DicomwebAddress, patience: Patience, tokens: tuple[str, ...] = (TOKEN,)
    ) -> None:
        require("requests")
        self._address, self._tokens = address, tokens
        self._session = _open_session(address, patience, tokens)
        parts = urllib.parse.urlsplit(address.url)
        self._proxies = {"no_proxy": parts.hostname or ""} if _is_here(parts) else None

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    @contextmanager
    def request(
        self,
        method: str,
        path: str,
        *,
        accept: str,
        body: Body | bytes | None = None,
        content_type: str = "",
        query: dict[str, str] | None = None,
    ) -> Iterator[Response]:
        """Send a request, and yield its answer, whose body has not been read yet.

        Args:
            method: GET or POST.
            path: Path below the base URL of the service.
            accept: Media types that the answer may have.
            body: The body, sent piece by piece; a retry sends it from the beginning.
            content_type: Media type of the body.
            query: Query parameters.

        Raises:
            PacsUnavailableError: There is no answer, or we are not authorized.
            FaultError: The service failed (5xx), or its answer ends too early.
            PacsError: The service refuses the request.
        """
        import requests

        url = self._address.url + path
        if query:
            # Orthanc 1.10 treats a percent-encoded wildcard as a literal character.
            url += f"?{urllib.parse.urlencode(query, safe=_UNQUOTED, quote_via=urllib.parse.quote)}"
        # No compression: Orthanc needs a second for a panoramic radiograph, longer than to send it.
        headers = {"Accept": accept, "Accept-Encoding": "identity"}
        if body is not None:
            headers["Content-Type"] = content_type
        try:
            response = self._session.request(
                method, url, data=body, headers=headers, timeout=(_CONNECT_S, _READ_S),
                allow_redirects=False, stream=True, proxies=self._proxies,
            )  # fmt: skip
        except requests.exceptions.SSLError:
            raise PacsUnavailableError(
                f"{self._address}: its certificate cannot be verified; need one from an authority "
                "that this machine trusts, or that is in the file that REQUESTS_CA_BUNDLE names"
            ) from None
        except (requests.exceptions.RequestException, OSError) as error:
            raise PacsUnavailableError(
                f"{self._address}: cannot be reached: {_kind(error)}"
            ) from None
        try:
            self._check(response)
            yield response
        except requests.exceptions.RequestException:
            raise BrokenAnswerError(f"{self._address}: its answer ends too early") from None
        finally:
            response.close()

    def get_json(self, path: str, query: dict[str, str] | None = None) -> Any:
        """Get an answer in JSON.

        Args:
            path: Path below the base URL of the service.
            query: Query parameters.

        Returns:
            The decoded answer; None for No Content (204).

        Raises:
            PacsError: As for `request`; or the answer is not JSON, or is too large.
        """
        with self.request("GET", path, accept="application/dicom+json", query=query) as response:
            if response.status_code == 204:
                return None
            return self.read_json(response)

    def read_json(self, response: Response) -> Any:
        """Decode an answer in JSON; see `get_json`."""
        try:
            return json.loads(b"".join(chunks(response, _MAX_JSON_BYTES)))
        except (ValueError, RecursionError):
            raise PacsError(f"{self._address}: does not answer in JSON") from None

    def _check(self, response: Response) -> None:
        status = response.status_code
        if 200 <= status < 300 or status == 409:  # STOW-RS: the answer lists what it refuses
            return
        said = f"{self._address}: answers with HTTP status {status}"
        if status in _NO_ENTRY:
            raise PacsUnavailableError(
                f"{said}; need a valid token in {self._tokens[0]}, or a login for this host in "
                "~/.netrc"
            )
        if status in (404, 410):
            raise NotThereError(said)
        if 300 <= status < 400:
            raise PacsUnavailableError(f"{said}, a redirection; need the address of the service")
        if status in (*_BUSY, 507):
            raise PacsUnavailableError(said)
        raise FaultError(said) if status >= _FAULT else PacsError(said)


class BrokenAnswerError(FaultError):
    """An answer ended before it was complete."""


def chunks(response: Response, max_bytes: int) -> Iterator[bytes]:
    """Yield the body of an answer, piece by piece, up to a maximum size in bytes.

    Raises:
        PacsError: It is larger.
    """
    said = response.headers.get("Content-Length", "")
    count = int(said) if said.isdecimal() else 0
    if count <= max_bytes:
        count = 0
        for chunk in response.iter_content(_CHUNK):
            count += len(chunk)
            if count > max_bytes:
                break
            yield chunk
    if count > max_bytes:
        raise PacsError(f"the answer is larger than {max_bytes / (1 << 20):.0f} MiB, the limit")


def _open_session(address: DicomwebAddress, patience: Patience, tokens: tuple[str, ...]) -> Session:
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.util.retry import Retry

    retry = Retry(
        total=patience.attempts - 1,
        allowed_methods=None,  # POST too: sending the same instance again changes nothing
        status_forcelist=(*_BUSY, _FAULT),
        backoff_factor=patience.first_pause_s / 2,  # urllib3 waits 0, 2, 4, 8… times that
        backoff_max=int(patience.longest_pause_s),
        retry_after_max=int(patience.longest_pause_s),
        raise_on_status=False,
    )
    session = requests.Session()
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry))
    token = next((os.environ[name] for name in tokens if os.environ.get(name)), "")
    parts = urllib.parse.urlsplit(address.url)
    is_readable_by_others = parts.scheme != "https" and not _is_here(parts)
    if token and is_readable_by_others:
        raise AddressError(f"{address}: would send a token unencrypted; need dicomweb+https")
    if token:
        session.auth = _bearer(token)
    elif is_readable_by_others:
        session.auth = lambda request: request  # else requests would send a login in ~/.netrc
    return session


def _bearer(token: str) -> Callable[[PreparedRequest], PreparedRequest]:
    # A login in ~/.netrc would override a token in the session's headers.
    def authorize(request: PreparedRequest) -> PreparedRequest:
        request.headers["Authorization"] = f"Bearer {token}"
        return request

    return authorize


def _is_here(parts: urllib.parse.SplitResult) -> bool:
    """Return whether a URL is on this machine."""
    host = parts.hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _kind(error: BaseException) -> str:
    """Return why a connection failed, without the URL and query that such messages quote."""
    from urllib3.exceptions import MaxRetryError, NameResolutionError
    from urllib3.exceptions import TimeoutError as TimeoutError_

    reason: Any = error.args[0] if error.args else error
    while isinstance(reason, MaxRetryError) and reason.reason is not None:
        reason = reason.reason
    if isinstance(reason, NameResolutionError):
        return "its host has no IP address"
    for each in _causes(reason):
        if isinstance(each, OSError) and each.strerror:
            return each.strerror
    return "timed out" if isinstance(reason, TimeoutError_) else type(reason).__name__


def _causes(error: Any) -> Iterator[BaseException]:
    while isinstance(error, BaseException):
        yield error
        error = error.__cause__ or error.__context__
