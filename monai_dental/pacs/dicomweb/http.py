"""Requests to a DICOMweb service: patient, authorized, and never larger than expected.

By requests, and not by dicomweb-client, which takes what it stores as bytes and what it retrieves
as datasets, each whole in memory; sets no limit to an answer; and follows redirections.
"""

from __future__ import annotations

import ipaddress
import json
import os
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from monai_dental.errors import AddressError, PacsError, PacsUnavailableError
from monai_dental.pacs.address import DicomwebAddress
from monai_dental.pacs.extra import require
from monai_dental.pacs.retry import FaultError, Patience

if TYPE_CHECKING:
    from requests import PreparedRequest, Response, Session

TOKEN = "MONAI_DENTAL_TOKEN"
"""Environment variable of the bearer token."""

_CONNECT_S, _READ_S = 10.0, 120.0
_BUSY = (408, 425, 429, 502, 503, 504)
_FAULT = 500  # of the service just now, or with this very instance
_NO_ENTRY = (401, 403, 407)
_UNQUOTED = "*?,:;@/!$'()"  # what a query may hold as it is (RFC 3986 3.4)
_CHUNK = 1 << 16
_MAX_JSON_BYTES = 64 << 20


class Body(Protocol):
    """What is sent with a request."""

    def __len__(self) -> int:
        """Return the number of bytes."""

    def read(self, size: int = -1, /) -> bytes:
        """Some of what follows."""

    def seek(self, position: int, whence: int = 0, /) -> int:
        """Go there."""

    def tell(self) -> int:
        """Where it stands."""


class NotThereError(PacsError):
    """The service has no such thing (404, 410)."""


class HttpClient:
    """A service and the connections to it. For one thread.

    A request that is not answered, or with a status that says "later" (429, 5xx), is sent again
    after a pause, for which `Retry-After` is honoured. Certificates are always checked, by the
    authorities of `REQUESTS_CA_BUNDLE` where that is set. Redirections are errors: they could take
    a token, or a patient's image, anywhere. What ~/.netrc has for the host goes over plain HTTP to
    this machine alone, and what is for this machine through no proxy.

    Args:
        address: The service.
        patience: How often a request is sent, with which pauses.
        tokens: Environment variables; the first one that is set holds the bearer token.

    Raises:
        AddressError: A token would go over a connection that is not encrypted.
        MissingPackageError: requests is not there.
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
        body: Body | None = None,
        content_type: str = "",
        query: dict[str, str] | None = None,
    ) -> Iterator[Response]:
        """Send a request, and give its answer, whose body is not read yet.

        Args:
            method: GET or POST.
            path: Below the base of the service.
            accept: Which media types the answer may have.
            body: What is sent, piece by piece; a retry reads it from the first byte again.
            content_type: Its media type.
            query: Parameters.

        Raises:
            PacsUnavailableError: There is no answer, or none that lets us in.
            FaultError: The service failed (5xx), or its answer breaks off.
            PacsError: The service refuses the request.
        """
        import requests

        url = self._address.url + path
        if query:
            # Orthanc 1.10 takes a wildcard for a letter where it is percent-encoded.
            url += f"?{urllib.parse.urlencode(query, safe=_UNQUOTED, quote_via=urllib.parse.quote)}"
        # Orthanc takes a second to compress a panoramic radiograph: longer than to send it.
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
                f"{self._address}: its certificate cannot be verified; need one of an authority "
                "that is known here, or in the file that REQUESTS_CA_BUNDLE names"
            ) from None
        except (requests.exceptions.RequestException, OSError) as error:
            raise PacsUnavailableError(
                f"{self._address}: cannot be reached: {_kind(error)}"
            ) from None
        try:
            self._check(response)
            yield response
        except requests.exceptions.RequestException:
            raise BrokenAnswerError(f"{self._address}: its answer breaks off") from None
        finally:
            response.close()

    def get_json(self, path: str, query: dict[str, str] | None = None) -> Any:
        """Read what the service says in JSON.

        Args:
            path: Below the base of the service.
            query: Parameters.

        Returns:
            The decoded answer; None where the service says that there is nothing (204).

        Raises:
            PacsError: As of `request`, or it is no JSON, or too large.
        """
        with self.request("GET", path, accept="application/dicom+json", query=query) as response:
            if response.status_code == 204:
                return None
            return self.read_json(response)

    def read_json(self, response: Response) -> Any:
        """Decode an answer in JSON; see `get_json`."""
        try:
            return json.loads(read_limited(response, _MAX_JSON_BYTES))
        except (ValueError, RecursionError):
            raise PacsError(f"{self._address}: does not answer in JSON") from None

    def _check(self, response: Response) -> None:
        status = response.status_code
        if 200 <= status < 300 or status == 409:  # of STOW-RS: with a list of what it refuses
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
            raise PacsUnavailableError(f"{said}, elsewhere; need the address where it is")
        if status in (*_BUSY, 507):
            raise PacsUnavailableError(said)
        raise FaultError(said) if status >= _FAULT else PacsError(said)


class BrokenAnswerError(FaultError):
    """An answer ended before it was whole."""


def read_limited(response: Response, max_bytes: int) -> bytes:
    """The body of an answer.

    Args:
        response: The answer.
        max_bytes: How large it may be; no more than that is taken into memory.

    Raises:
        PacsError: It is larger.
    """
    content = bytearray()
    for chunk in chunks(response, max_bytes):
        content += chunk
    return bytes(content)


def chunks(response: Response, max_bytes: int) -> Iterator[bytes]:
    """The body of an answer, piece by piece.

    Args:
        response: The answer.
        max_bytes: How large it may be.

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
        allowed_methods=None,  # a POST too: the same instance again changes nothing
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
        raise AddressError(f"{address}: a token would be readable on the way; need dicomweb+https")
    if token:
        session.auth = _bearer(token)
    elif is_readable_by_others:
        session.auth = lambda request: request  # or what ~/.netrc has for the host would be sent
    return session


def _bearer(token: str) -> Callable[[PreparedRequest], PreparedRequest]:
    # As a header of the session a token would give way to what ~/.netrc has for the host.
    def authorize(request: PreparedRequest) -> PreparedRequest:
        request.headers["Authorization"] = f"Bearer {token}"
        return request

    return authorize


def _is_here(parts: urllib.parse.SplitResult) -> bool:
    """Whether a URL leads to this machine."""
    host = parts.hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _kind(error: BaseException) -> str:
    """What hindered a connection, without the address that such messages quote, query and all."""
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
