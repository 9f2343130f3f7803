"""Waiting room of connections that have not yet requested an association (PS3.8 9.3.2)."""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from monai_dental.node.log import say

TIMEOUT_S = 10.0
"""How long a connection may take for the TLS handshake, and then for its request, in seconds."""
MOST_OF_A_HOST, MOST = 32, 96
"""How many connections of one host, and of all hosts, may wait at the same time."""

_HEADER = 6  # bytes of a PDU that its length does not count (PS3.8 9.3.1)
_ASSOCIATE_RQ = 1
_LONGEST_REQUEST = 1 << 20  # of an A-ASSOCIATE-RQ, which Maximum Length Received does not limit


class NotAdmittedError(Exception):
    """A connection is not admitted; the message says why, or is "" if it needs no log line."""


@dataclass(eq=False)
class _Waiting:
    """A connection that waits.

    Attributes:
        is_put_out: Whether it was closed to make room for another.
    """

    connection: socket.socket
    host: str
    is_put_out: bool = False


class Lobby:
    """Waiting room that admits connections once they have requested an association.

    Waiting connections delay no others. A connection that closes, like a load balancer's probe, is
    forgotten at once. A silent or slow one may wait a few seconds. If too many wait, the one that
    has waited longest is closed, of the same host or of the host with the most connections. So a
    peer that sends its request at once is always admitted.

    Args:
        tls: TLS context; None without TLS.
        timeout_s: How long a connection may wait, in seconds.
        on_refused: Called for each connection that is refused, except those that close.
    """

    def __init__(
        self, tls: ssl.SSLContext | None, timeout_s: float, on_refused: Callable[[], None]
    ) -> None:
        self._tls, self._timeout_s, self._on_refused = tls, timeout_s, on_refused
        self._waiting: list[_Waiting] = []
        self._lock = threading.Lock()

    def admit(self, connection: socket.socket, host: str) -> tuple[socket.socket, bytes] | None:
        """Wait for the request of a connection; call it in the connection's own thread.

        Returns:
            The connection, with TLS if the lobby has TLS, and its complete A-ASSOCIATE-RQ; None if
            the connection was refused and closed.
        """
        waiting = self._enter(connection, host)
        try:
            return self._read_request(waiting)
        except NotAdmittedError as error:
            self._refuse(waiting, str(error))
        except (OSError, ValueError) as error:  # from the other side, or from TLS
            reason = getattr(error, "reason", None) or type(error).__name__
            is_timeout = isinstance(error, TimeoutError)
            said = (
                f"asked for no association within {self._timeout_s:g} s"
                if is_timeout
                else (f"no TLS: {reason}" if self._tls is not None else "")
            )
            self._refuse(waiting, said)
        finally:
            with self._lock:
                self._waiting.remove(waiting)
        return None

    def _enter(self, connection: socket.socket, host: str) -> _Waiting:
        waiting = _Waiting(connection, host)
        with self._lock:
            of_hosts = Counter(each.host for each in self._waiting if not each.is_put_out)
            crowded = host if of_hosts[host] >= MOST_OF_A_HOST else None
            if crowded is None and of_hosts.total() >= MOST:
                crowded = of_hosts.most_common(1)[0][0]
            if crowded is not None:
                oldest = next(
                    each for each in self._waiting if each.host == crowded and not each.is_put_out
                )
                oldest.is_put_out = True
                with contextlib.suppress(OSError):  # a TLS socket's own would forget its state
                    socket.socket.shutdown(oldest.connection, socket.SHUT_RDWR)
            self._waiting.append(waiting)
        return waiting

    def _read_request(self, waiting: _Waiting) -> tuple[socket.socket, bytes]:
        if self._tls is not None:
            waiting.connection.settimeout(self._timeout_s)  # for the whole handshake
            shaken = self._tls.wrap_socket(
                waiting.connection, server_side=True, do_handshake_on_connect=False
            )
            with self._lock:
                waiting.connection = shaken
            shaken.do_handshake()
        deadline = time.monotonic() + self._timeout_s
        head = _read(waiting.connection, _HEADER, deadline)
        if not head:
            raise NotAdmittedError("")
        length = int.from_bytes(head[2:], "big")
        if head[0] != _ASSOCIATE_RQ or len(head) < _HEADER or length > _LONGEST_REQUEST:
            raise NotAdmittedError(
                "sent no A-ASSOCIATE-RQ: does not speak DICOM, or speaks TLS to a port without it"
            )
        body = _read(waiting.connection, length, deadline)
        if len(body) < length:
            raise NotAdmittedError("")
        return waiting.connection, head + body

    def _refuse(self, waiting: _Waiting, reason: str) -> None:
        if waiting.is_put_out:
            reason = "asked for no association, and had to make room for others"
        if reason:
            say(logging.WARNING, f"peer {waiting.host} {reason}; its connection is closed")
            self._on_refused()
        with contextlib.suppress(OSError):
            waiting.connection.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            waiting.connection.close()


def _read(connection: socket.socket, size: int, deadline: float) -> bytes:
    """Read `size` bytes, or fewer if the connection ends.

    Raises:
        OSError: They do not arrive in time.
    """
    content = bytearray()
    while len(content) < size:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        connection.settimeout(left)
        piece = connection.recv(min(size - len(content), 1 << 16))
        if not piece:
            break
        content += piece
    return bytes(content)
