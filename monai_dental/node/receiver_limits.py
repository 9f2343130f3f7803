"""pynetdicom's server with bounds on what a peer can make it hold, and TLS that cannot block it.

pynetdicom 3.0 reads a PDU of any length into memory, collects a dataset of any length, reads ahead
of requests that it has not answered, and makes TLS handshakes in the thread that accepts
connections. Here each of these has a limit.
"""

from __future__ import annotations

import logging
import socket
import socketserver
import sys
import threading
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, BinaryIO

from pynetdicom.transport import AssociationSocket, ThreadedAssociationServer

from monai_dental.errors import unforeseen
from monai_dental.node.log import say
from monai_dental.pacs.dimse.streams import C_STORE_REQUEST, HandlerOfConnection, StreamingDimse

if TYPE_CHECKING:
    from pynetdicom.association import Association
    from pynetdicom.pdu_primitives import P_DATA

    from monai_dental.pacs.dimse.streams import Sink

_HEADER = 6  # bytes before what a PDU's length counts (PS3.8 9.3.1)
_ASSOCIATE_RQ = 1
_LONGEST_REQUEST = 1 << 20  # of an A-ASSOCIATE-RQ, which Maximum Length Received does not bound
_CHUNK = 1 << 16
_LONGEST_COMMAND = 1 << 16
_INVALID_PDU = "Evt19"  # of the state machine in PS3.8 9.2: ends the association by A-ABORT


class BoundedSocket(AssociationSocket):
    """A connection that reads no PDU beyond a limit, and waits for no peer for ever."""

    max_pdu: int
    on_refused: Callable[[], None]
    _is_begun = False

    def recv(self, nr_bytes: int) -> bytearray:
        """Read so many bytes, fewer where the connection ends before.

        Raises:
            OSError: There are more than the limit, the peer speaks no DICOM, or it fell silent.
        """
        if nr_bytes > self.max_pdu + _LONGEST_REQUEST:
            self._refuse(f"announced a PDU of {nr_bytes} bytes; max-pdu is {self.max_pdu}")
        connection = self.socket
        if connection is None:
            return bytearray()
        content = bytearray(nr_bytes)
        view, done = memoryview(content), 0
        while done < nr_bytes:
            count = connection.recv_into(view[done:])
            if not count:
                break
            done += count
        view.release()
        del content[done:]
        if not self._is_begun:
            self._is_begun = True
            length = int.from_bytes(content[2:_HEADER], "big")
            if done and (content[0] != _ASSOCIATE_RQ or length > _LONGEST_REQUEST):
                self._refuse("sent no A-ASSOCIATE-RQ: speaks no DICOM, or TLS where none is")
        return content

    def _refuse(self, reason: str) -> None:
        say(logging.WARNING, f"{peer_of(self.assoc)} {reason}; its connection is closed")
        self.on_refused()
        # The thread of an association waits for the request that will not come.
        self.assoc.dul.to_user_queue.put(None)
        raise ConnectionError(reason)


class BoundedDimse(StreamingDimse):
    """DIMSE messages of bounded length, one at a time, whose instances go to the disk.

    Args:
        association: The association.
        open_sink: As of `StreamingDimse`.
        max_bytes: Longest dataset; of a longer one nothing is kept.
    """

    def __init__(
        self,
        association: Association,
        open_sink: Callable[[bytes, tuple[str, str, str]], Sink],
        max_bytes: int,
    ) -> None:
        super().__init__(association, open_sink, max_bytes)
        self._reports = 0
        self._reports_lock = threading.Lock()

    def begin_report(self) -> None:
        """Count an N-EVENT-REPORT that is being answered; a second one ends the association."""
        with self._reports_lock:
            self._reports += 1
            is_ahead = self._reports > 1
        if is_ahead:
            self._end("sends without waiting for answers")

    def end_report(self) -> None:
        """Count one that was answered."""
        with self._reports_lock:
            self._reports -= 1

    def receive_primitive(self, primitive: P_DATA) -> None:
        """Take a part of a message."""
        # A peer that waits for answers, as all must that did not agree on more (PS3.7 D.3.3.3),
        # can be one request ahead at most.
        if self.msg_queue.qsize() > 1:
            self._end("sends without waiting for answers")
            return
        message = self.message
        if message is not None:
            size = sum(len(value) for _, value in primitive.presentation_data_value_list)
            if message.encoded_command_set.tell() + size > _LONGEST_COMMAND + self.max_bytes:
                self._end("sent a command set without end")
                return
            is_instance = message.command_set.get("CommandField") == C_STORE_REQUEST
            length = 0 if message.data_set is None else message.data_set.tell()
            if not is_instance and length > _LONGEST_COMMAND:
                self._end("sent another message than an instance without end")
                return
        super().receive_primitive(primitive)

    def _end(self, reason: str) -> None:
        say(logging.WARNING, f"{peer_of(self.assoc)} {reason}; its association is aborted")
        self.dul.event_queue.put(_INVALID_PDU)


class BoundedHandler(HandlerOfConnection):
    """Makes the association of a connection, with the bounds of this module."""

    server: BoundedServer

    def prepare(self, association: Association) -> None:
        """Bound it."""
        server = self.server
        association.dimse = BoundedDimse(association, server.open_sink, server.max_object)
        first = association.dul.event_queue.get_nowait()  # of the socket that is replaced
        assert first == "Evt5"
        association.dul.socket = None
        bounded = BoundedSocket(association, client_socket=self.request)
        bounded.max_pdu = self.server.ae.maximum_pdu_size
        bounded.on_refused = self.server.on_refused
        association.set_socket(bounded)


class BoundedServer(ThreadedAssociationServer):
    """A server of associations with bounds on connections; see the module."""

    daemon_threads = True
    request_queue_size = 64
    open_sink: Callable[[bytes, tuple[str, str, str]], Sink]
    max_object: int
    max_connections: int
    timeout_s: float
    on_refused: Callable[[], None]
    _handshakes = 0
    _count_lock = threading.Lock()

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        """Accept a connection; the handshake of TLS is for its own thread."""
        assert self.socket is not None
        connection, address = self.socket.accept()
        connection.settimeout(self.timeout_s)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection, address

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether there is room for one more connection.

        Up to the limit of associations those above are told so; this bounds the rest.
        """
        if self._handshakes + len(self.active_associations) < self.max_connections:
            return True
        say(logging.WARNING, f"peer {client_address[0]}: too many connections; this one is closed")
        self.on_refused()
        return False

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection."""
        if self.ssl_context is None:
            super().finish_request(request, client_address)
            return
        with self._count_lock:
            self._handshakes += 1
        try:
            request = self.ssl_context.wrap_socket(request, server_side=True)
            request.settimeout(self.timeout_s)
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", None) or type(error).__name__
            say(logging.WARNING, f"peer {client_address[0]}: no TLS: {reason}; connection closed")
            self.on_refused()
            self.shutdown_request(request)
            return
        finally:
            with self._count_lock:
                self._handshakes -= 1
        super().finish_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say that a connection failed, by kind and place of the error alone."""
        error = sys.exc_info()[1]
        reason = "an error" if error is None else unforeseen(error)
        say(logging.WARNING, f"peer {client_address[0]}: {reason}; connection closed")

    def shutdown(self) -> None:
        """Listen no more."""
        socketserver.BaseServer.shutdown(self)
        self.server_close()


def inflated_size(stream: BinaryIO, limit: int) -> int:
    """How many bytes a deflated stream (RFC 1951) holds, up to one beyond a limit.

    Args:
        stream: The stream; one that is broken counts as far as it can be read.
        limit: The limit.
    """
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    size = 0
    waiting = b""
    while size <= limit and not inflater.eof:
        waiting = waiting or stream.read(_CHUNK)
        if not waiting:
            break
        try:
            size += len(inflater.decompress(waiting, _CHUNK))
        except zlib.error:
            break
        waiting = inflater.unconsumed_tail
    return min(size, limit + 1)


def peer_of(association: Association) -> str:
    """How log lines name a peer: by its address; an AE title could hold anything."""
    return f"peer {association.requestor.address}"
