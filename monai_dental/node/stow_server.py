"""The STOW-RS server of a node (PS3.18 10.5): `POST /studies` and `POST /studies/UID`."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Callable
from email.message import Message
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from monai_dental.dicom.identity import is_uid
from monai_dental.errors import PacsError
from monai_dental.node.audit import Audit
from monai_dental.node.http_body import BrokenBodyError, LengthError, read_body
from monai_dental.node.intake import Intake
from monai_dental.node.lobby import MOST, TIMEOUT_S
from monai_dental.node.log import LoggedErrors, say
from monai_dental.node.settings import NodeSettings
from monai_dental.node.stow_answer import encode, media_type_of, status_of
from monai_dental.node.stow_parts import MultipartError, Part, Parts

TOKEN = "MONAI_DENTAL_STOW_TOKEN"
"""Environment variable of the bearer token that senders must send."""

_SHORTEST_TOKEN = 16
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750 2.1
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")  # RFC 2046 5.1.1
_SILENT_S = 60.0  # as for a DICOM association
_STOP_S = 10.0
_DRAIN_S, _DRAIN_BYTES = 2.0, 1 << 22
_LATER_S = 30
_MOST_CONNECTIONS = 2 * MOST  # DICOM needs the rest: pynetdicom's select() takes only so many
_TEXT = "text/plain; charset=utf-8"


class _RefusedError(Exception):
    """A request is refused as a whole, with an HTTP status and further headers."""

    def __init__(self, status: int, reason: str, **headers: str) -> None:
        super().__init__(reason)
        self.status, self.headers = status, headers


class _Connection:
    """An accepted connection.

    Attributes:
        socket: Its socket, with TLS if the server has TLS.
        since: When it was accepted, in seconds of the monotonic clock.
        is_waiting: Whether its request header is still incomplete.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.socket, self.since, self.is_waiting = connection, time.monotonic(), True

    def shut(self) -> None:
        """End the connection, whatever its thread is doing."""
        with contextlib.suppress(OSError):  # a TLS socket's own would forget its state
            socket.socket.shutdown(self.socket, socket.SHUT_RDWR)


class StowServer:
    """A STOW-RS server that answers once the stored instances are on the disk and in the queue.

    A connection has a few seconds to send its header, and is closed to make room if too many wait
    to do so. Only after its header does it count as one that sends instances.

    Args:
        settings: Address, TLS, and how many may send at once.
        intake: Stores the instances.
        audit: Records refused senders.

    Raises:
        PacsError: The address cannot be used; there is neither TLS nor a token; or the token is too
            short.
    """

    def __init__(self, settings: NodeSettings, intake: Intake, audit: Audit) -> None:
        assert settings.stow_port is not None
        token = check_token(settings)
        try:
            self._server = _Server((settings.stow_host, settings.stow_port), _Handler)
        except OSError as error:
            raise PacsError(
                f"stow-port: {settings.stow_host}:{settings.stow_port}: cannot listen there: "
                f"{error.strerror or type(error).__name__}"
            ) from error
        self._server.intake, self._server.audit = intake, audit
        self._server.token = hashlib.sha256(token.encode()).digest() if token else None
        self._server.tls = None if settings.tls is None else settings.tls.server_context()
        self._server.places = threading.BoundedSemaphore(settings.associations)
        scheme = "http" if settings.tls is None else "https"
        self.url = f"{scheme}://{settings.stow_host}:{self._server.server_address[1]}/studies"

    def start(self) -> None:
        """Start to serve."""
        threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True).start()

    def stop(self) -> None:
        """Stop listening, and wait a few seconds for requests in progress."""
        self._server.shutdown()
        self._server.server_close()
        deadline = time.monotonic() + _STOP_S
        while self._server.senders and time.monotonic() < deadline:
            time.sleep(0.02)
        self._server.end_all()


def check_token(settings: NodeSettings) -> str:
    """Return the token that senders must send; "" if they show a certificate instead.

    Raises:
        PacsError: There is neither a token nor TLS, or the token can be guessed.
    """
    token = os.environ.get(TOKEN, "")
    if token and (len(token) < _SHORTEST_TOKEN or not _TOKEN.fullmatch(token)):
        raise PacsError(
            f"{TOKEN}: need {_SHORTEST_TOKEN} or more letters, digits, - and _; such as "
            "`openssl rand -hex 16` makes"
        )
    if not token and settings.tls is None:
        raise PacsError(
            f"stow-port: anybody could send; need a token in {TOKEN}, or tls-cert, tls-key and "
            "tls-ca, so that senders show a certificate"
        )
    return token


class _Server(LoggedErrors, ThreadingHTTPServer):
    """A server with limits on its connections."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64
    intake: Intake
    audit: Audit
    token: bytes | None
    tls: ssl.SSLContext | None
    places: threading.BoundedSemaphore
    senders = 0

    def __init__(self, address: tuple[str, int], handler: Callable[..., Any]) -> None:
        self._connections: list[_Connection] = []
        self._lock = threading.Lock()
        super().__init__(address, handler)

    def count_sender(self, change: int) -> None:
        """Change the number of connections that are sending."""
        with self._lock:
            self.senders += change

    def service_actions(self) -> None:
        """End connections that wait too long; called between two connections, and when idle."""
        with self._lock:
            waiting = [each for each in self._connections if each.is_waiting]
        for each in waiting:
            if time.monotonic() - each.since > TIMEOUT_S:
                each.shut()

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection; in its own thread."""
        connection = _Connection(request)
        with self._lock:
            waiting = [each for each in self._connections if each.is_waiting]
            if len(waiting) >= MOST:
                waiting[0].shut()
            self._connections.append(connection)
            if len(self._connections) > _MOST_CONNECTIONS:
                connection.shut()
        try:
            if self.tls is None or self._shake_hands(connection, self.tls, client_address[0]):
                _Handler(connection, client_address, self)
        except OSError:
            pass  # the other side went away
        finally:
            with self._lock:
                self._connections.remove(connection)
            self.shutdown_request(connection.socket)

    def _shake_hands(self, connection: _Connection, tls: ssl.SSLContext, peer: str) -> bool:
        """Make the TLS handshake; return whether it succeeded."""
        try:
            connection.socket.settimeout(TIMEOUT_S)
            shaken = tls.wrap_socket(
                connection.socket, server_side=True, do_handshake_on_connect=False
            )
            connection.socket = shaken
            shaken.do_handshake()
        except (OSError, ValueError) as error:
            if isinstance(error, ssl.SSLError):
                self.refuse(peer, f"no TLS: {error.reason or type(error).__name__}")
            return False
        return True

    def refuse(self, peer: str, reason: str) -> None:
        """Log and count a refused sender."""
        self.intake.counts.add("rejected")
        self.audit.rejected(peer)
        say(logging.WARNING, f"peer {peer}: STOW-RS refused: {reason}")

    def end_all(self) -> None:
        """End all connections."""
        with self._lock:
            connections = list(self._connections)
        for each in connections:
            each.shut()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "monai-dental", ""
    timeout = _SILENT_S
    server: _Server

    def __init__(self, connection: _Connection, client_address: Any, server: _Server) -> None:
        self._entry = connection
        super().__init__(connection.socket, client_address, server)

    def do_POST(self) -> None:
        """Store the instances of a request."""
        self._entry.is_waiting = False
        try:
            self._answer(*self._store())
        except _RefusedError as error:
            if error.status == 401:
                self.server.refuse(self.client_address[0], str(error))
            self._answer(error.status, f"{error}\n".encode(), _TEXT, **error.headers)
            self._drain()

    def do_GET(self) -> None:
        """Refuse: a node serves nothing by GET."""
        self._entry.is_waiting = False
        self._answer(405, b"need POST /studies\n", _TEXT, Allow="POST")

    do_HEAD = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_GET  # noqa: N815 - the base class's names

    def handle_expect_100(self) -> bool:
        """Send no 100 Continue yet: only after the header has been checked."""
        return True

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: a request line could hold anything."""

    def _store(self) -> tuple[int, bytes, str]:
        """Store the instances in the body; return status, answer and media type.

        Raises:
            _RefusedError: The request is refused as a whole.
        """
        self._check_token()
        study = self._study()
        boundary = self._boundary()
        accepted = media_type_of(self.headers.get("Accept", ""))
        if accepted is None:
            raise _RefusedError(406, "need Accept: application/dicom+json or application/dicom+xml")
        try:
            body = read_body(self.headers, self.rfile)
        except LengthError as error:
            raise _RefusedError(411, str(error)) from None
        peer = self.client_address[0]
        parts = Parts(boundary, partial(Part, self.server.intake, study, peer))
        if not self.server.places.acquire(blocking=False):
            raise _RefusedError(503, "too many senders at once", Retry_After=str(_LATER_S))
        self.server.count_sender(1)
        try:
            if self.headers.get("Expect", "").lower() == "100-continue":
                self.send_response_only(100)
                self.end_headers()
            for piece in body:
                parts.write(piece)
            parts.close()
        except (MultipartError, BrokenBodyError) as error:
            self.server.intake.counts.add("broken")
            raise _RefusedError(400, f"the body {error}") from None
        except OSError:
            self.server.intake.counts.add("broken")
            say(logging.WARNING, f"peer {peer}: a STOW-RS request broke off")
            raise
        finally:
            parts.discard()
            self.server.count_sender(-1)
            self.server.places.release()
        for each in parts.outcomes:
            if each.failure is not None:
                self.server.intake.counts.add("refused")
                say(logging.WARNING, f"peer {peer}: instance refused: {each.reason}")
        if not parts.outcomes:
            raise _RefusedError(400, "the body holds no part")
        return status_of(parts.outcomes), encode(parts.outcomes, accepted), accepted

    def _check_token(self) -> None:
        if self.server.token is None:
            return
        scheme, _, given = self.headers.get("Authorization", "").partition(" ")
        digest = hashlib.sha256(given.strip().encode("utf-8", "surrogateescape")).digest()
        if scheme.lower() != "bearer" or not secrets.compare_digest(digest, self.server.token):
            raise _RefusedError(401, "need the bearer token", WWW_Authenticate="Bearer")

    def _study(self) -> str:
        """Return the Study Instance UID in the path; "" if there is none."""
        found = re.fullmatch(r"/studies(?:/([^/]+))?/?", self.path.partition("?")[0])
        if found is None:
            raise _RefusedError(404, "need POST /studies, or POST /studies/UID")
        study = found[1] or ""
        if study and not is_uid(study):
            raise _RefusedError(400, "the study in the path is not a UID")
        return study

    def _boundary(self) -> str:
        header = Message()
        header["Content-Type"] = self.headers.get("Content-Type", "")
        kind = str(header.get_param("type", "application/dicom")).lower()
        is_encoded = self.headers.get("Content-Encoding", "identity").lower() != "identity"
        is_related = header.get_content_type() == "multipart/related"
        if not is_related or kind != "application/dicom" or is_encoded:
            raise _RefusedError(
                415, 'need Content-Type: multipart/related; type="application/dicom"'
            )
        boundary = str(header.get_param("boundary", ""))
        if not _BOUNDARY.fullmatch(boundary):
            raise _RefusedError(400, "need a boundary in Content-Type (RFC 2046 5.1.1)")
        return boundary

    def _answer(self, status: int, content: bytes, kind: str, **headers: str) -> None:
        self.close_connection = True
        if status == 503:
            headers.setdefault("Retry_After", str(_LATER_S))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _drain(self) -> None:
        """Read part of a refused body: otherwise the answer may not reach the sender."""
        deadline, left = time.monotonic() + _DRAIN_S, _DRAIN_BYTES
        with contextlib.suppress(OSError):
            self.connection.settimeout(_DRAIN_S)
            while left > 0 and time.monotonic() < deadline:
                piece = self.connection.recv(1 << 16)
                if not piece:
                    return
                left -= len(piece)
