"""pynetdicom's server with limits on the memory a peer can use, and TLS that cannot block it.

pynetdicom 3.0 reads PDUs and datasets of any length into memory, reads further requests before it
has answered the first, and makes TLS handshakes in the thread that accepts connections. This
module limits each of these.
"""

from __future__ import annotations

import logging
import socket
import socketserver
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pynetdicom.transport import AssociationSocket, ThreadedAssociationServer

from monai_dental.node.log import LoggedErrors, say
from monai_dental.pacs.dimse.streams import C_STORE_REQUEST, HandlerOfConnection, StreamingDimse

if TYPE_CHECKING:
    from pynetdicom.association import Association
    from pynetdicom.pdu_primitives import P_DATA

    from monai_dental.node.lobby import Lobby
    from monai_dental.pacs.dimse.streams import Sink

_LONGEST_REQUEST = 1 << 20  # beyond max-pdu: some peers count a PDU's header differently
_LONGEST_COMMAND = 1 << 16
_INVALID_PDU = "Evt19"  # of the state machine in PS3.8 9.2: ends the association by A-ABORT


class BoundedSocket(AssociationSocket):
    """A connection with a maximum PDU length, which does not wait forever for a peer."""

    max_pdu: int
    on_refused: Callable[[], None]
    begun = b""
    """Bytes that were read before the association took the connection over."""

    @property
    def ready(self) -> bool:
        """Whether something can be read."""
        return bool(self.begun) or super().ready

    def recv(self, nr_bytes: int) -> bytearray:
        """Read `nr_bytes` bytes, or fewer if the connection ends first.

        Raises:
            OSError: The PDU is longer than the limit, or the peer fell silent.
        """
        if nr_bytes > self.max_pdu + _LONGEST_REQUEST:
            self._refuse(f"announced a PDU of {nr_bytes} bytes; max-pdu is {self.max_pdu}")
        if self.begun:
            read, self.begun = self.begun[:nr_bytes], self.begun[nr_bytes:]
            return bytearray(read)
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
        return content

    def _refuse(self, reason: str) -> None:
        say(logging.WARNING, f"{peer_of(self.assoc)} {reason}; its connection is closed")
        self.on_refused()
        raise ConnectionError(reason)


class BoundedDimse(StreamingDimse):
    """DIMSE messages of limited length, one at a time, whose instances are written to the disk.

    Arguments are those of `StreamingDimse`; longer datasets are discarded.
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
        """Count an N-EVENT-REPORT in progress; abort the association if it is the second one."""
        with self._reports_lock:
            self._reports += 1
            is_ahead = self._reports > 1
        if is_ahead:
            self._end("sends without waiting for answers")

    def end_report(self) -> None:
        """Count an N-EVENT-REPORT as answered."""
        with self._reports_lock:
            self._reports -= 1

    def receive_primitive(self, primitive: P_DATA) -> None:
        """Process a fragment of a message."""
        # Unless more operations were negotiated (PS3.7 D.3.3.3), a peer must wait for answers, and
        # so can be at most one request ahead.
        if self.msg_queue.qsize() > 1:
            self._end("sends without waiting for answers")
            return
        message = self.message
        if message is not None:
            size = sum(len(value) for _, value in primitive.presentation_data_value_list)
            if message.encoded_command_set.tell() + size > _LONGEST_COMMAND + self.max_bytes:
                self._end("sent an endless command set")
                return
            is_instance = message.command_set.get("CommandField") == C_STORE_REQUEST
            length = 0 if message.data_set is None else message.data_set.tell()
            if not is_instance and length > _LONGEST_COMMAND:
                self._end("sent an endless message that is not an instance")
                return
        super().receive_primitive(primitive)

    def _end(self, reason: str) -> None:
        say(logging.WARNING, f"{peer_of(self.assoc)} {reason}; its association is aborted")
        self.dul.event_queue.put(_INVALID_PDU)


class BoundedHandler(HandlerOfConnection):
    """Handler that makes the association of a connection, with the limits of this module."""

    server: BoundedServer

    def prepare(self, association: Association) -> None:
        """Apply the limits to an association."""
        server = self.server
        association.dimse = BoundedDimse(association, server.open_sink, server.max_object)
        first = association.dul.event_queue.get_nowait()  # from the socket that is replaced
        assert first == "Evt5"
        association.dul.socket = None
        bounded = BoundedSocket(association, client_socket=self.request)
        bounded.max_pdu = self.server.ae.maximum_pdu_size
        bounded.on_refused = self.server.on_refused
        bounded.begun = self.server.requests.pop(self.request)
        association.set_socket(bounded)


class BoundedServer(LoggedErrors, ThreadedAssociationServer):
    """A server of associations with limits on connections; see the module."""

    daemon_threads = True
    request_queue_size = 64
    open_sink: Callable[[bytes, tuple[str, str, str]], Sink]
    max_object: int
    timeout_s: float
    on_refused: Callable[[], None]
    lobby: Lobby
    requests: dict[socket.socket, bytes]

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        """Accept a connection; everything after that happens in its own thread."""
        assert self.socket is not None
        connection, address = self.socket.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection, address

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection once it has requested an association."""
        admitted = self.lobby.admit(request, client_address[0])
        if admitted is None:
            return
        connection, begun = admitted
        connection.settimeout(self.timeout_s)
        # Associations beyond their limit are rejected later; this limits how many of those wait.
        if len(self.active_associations) >= self.ae.maximum_associations:
            host = client_address[0]
            say(logging.WARNING, f"peer {host}: too many associations; its connection is closed")
            self.on_refused()
            self.shutdown_request(connection)
            return
        self.requests[connection] = begun
        try:
            super().finish_request(connection, client_address)
        finally:
            self.requests.pop(connection, None)

    def shutdown(self) -> None:
        """Stop listening."""
        socketserver.BaseServer.shutdown(self)
        self.server_close()


def peer_of(association: Association) -> str:
    """Return the name of a peer in log lines: its address, as an AE title could hold anything."""
    return f"peer {association.requestor.address}"
