"""Streaming of instances to and from an association, and all uses of pynetdicom's private names.

pynetdicom 3.0 holds several copies of each dataset that it sends or receives in memory. Its issue
517 led to `STORE_SEND_CHUNKED_DATASET` and `STORE_RECV_CHUNKED_DATASET`. These are settings of the
whole process: the first queues all pieces at once, and the second writes patient data to /tmp
without a limit. Until pynetdicom has something better, only this file uses its private attributes:

* `Association._reactor_checkpoint` and `_is_paused`: to send our own messages, as each of its
  `send_…` methods does. No upstream issue asks for a public way.
* `AssociationSocket._shutdown_socket`: to end a connection in the middle of a PDU. No upstream
  issue.
* `RequestHandler._create_association`: to set limits before anything is received. No upstream
  issue; 331 is similar.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from pydicom.uid import UID
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import create_file_meta, encode_file_meta
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.transport import RequestHandler

from monai_dental.dicom.identity import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from monai_dental.errors import PacsError

if TYPE_CHECKING:
    from pydicom import Dataset
    from pynetdicom.association import Association

C_STORE_REQUEST = 0x0001  # Command Field (PS3.7 9.3.1)
_PREAMBLE = bytes(128) + b"DICM"
_LOW = 2  # Priority (PS3.7 9.3.1.1)
_PDV_HEADER = 6  # bytes that Maximum Length Received counts (PS3.8 9.3.5)
_LONGEST_PDU = 1 << 17  # if the other side sets no limit
_AHEAD = 16  # PDUs that wait to be sent
_LOOK_S = 0.0005


class TooLargeError(PacsError):
    """A dataset is larger than the limit."""


class Sink(Protocol):
    """A file that is written piece by piece."""

    def write(self, content: Any, /) -> object:
        """Write a piece."""

    def discard(self) -> None:
        """Discard the file."""


class SpooledDataset(io.BytesIO):
    """A dataset that is written to a sink as it is received, up to a limit.

    Args:
        open_sink: Opens the sink.
        max_bytes: The limit.

    Attributes:
        sink: The sink; None if it could not be opened.
        error: The first error, or None; after an error, the rest is read and discarded.
    """

    def __init__(self, open_sink: Callable[[], Sink], max_bytes: int) -> None:
        super().__init__()
        self._max_bytes, self._size = max_bytes, 0
        self.sink: Sink | None = None
        self.error: Exception | None = None
        try:
            self.sink = open_sink()
        except Exception as error:  # noqa: BLE001 - for the code that answers the request
            self.error = error

    def write(self, content: Any, /) -> int:
        """Write a piece to the sink."""
        self._size += len(content)
        if self.error is None and self.sink is not None:
            try:
                if self._size > self._max_bytes:
                    raise TooLargeError(f"is larger than {self._max_bytes >> 20} MiB, the limit")
                self.sink.write(content)
            except Exception as error:  # noqa: BLE001 - for the code that answers the request
                self.error = error
                self.sink.discard()
        return len(content)

    def tell(self) -> int:
        """Return the number of bytes received."""
        return self._size


class StreamingDimse(DIMSEServiceProvider):
    """DIMSE messages whose instances are written to sinks.

    Args:
        association: The association.
        open_sink: Opens the sink of an instance, given the bytes of its file before the dataset,
            and its SOP Class, SOP Instance and Transfer Syntax UID.
        max_bytes: Maximum size of a dataset.
    """

    def __init__(
        self,
        association: Association,
        open_sink: Callable[[bytes, tuple[str, str, str]], Sink],
        max_bytes: int,
    ) -> None:
        super().__init__(association)
        self._open_sink, self.max_bytes = open_sink, max_bytes

    def receive_primitive(self, primitive: P_DATA) -> None:
        """Process a fragment of a message."""
        message = self.message
        if message is not None and message.command_set.get("CommandField") == C_STORE_REQUEST:
            begun = message.data_set
            if begun is not None and not isinstance(begun, SpooledDataset):
                message.data_set = self.spool(begun, message.command_set, message.context_id)
        super().receive_primitive(primitive)

    def spool(self, begun: io.BytesIO, command: Dataset, context_id: int | None) -> SpooledDataset:
        """Return a dataset that writes what was received of it, and what follows, to a sink."""

        def open_sink() -> Sink:
            names = (
                str(command.AffectedSOPClassUID),
                str(command.AffectedSOPInstanceUID),
                next(
                    str(context.transfer_syntax[0])
                    for context in self.assoc.accepted_contexts
                    if context.context_id == context_id
                ),
            )
            return self._open_sink(file_head(*names), names)

        spooled = SpooledDataset(open_sink, self.max_bytes)
        with begun.getbuffer() as content:
            if content:
                spooled.write(content)
        return spooled

    def take(self, event: Any) -> SpooledDataset:
        """Return the dataset of a C-STORE request, in its sink; for a handler of EVT_C_STORE."""
        dataset = event.request.DataSet
        if isinstance(dataset, SpooledDataset):
            return dataset
        # All of it arrived in the PDU of its command.
        return self.spool(dataset or io.BytesIO(), event.request, event.context.context_id)

    def drop(self) -> None:
        """Discard an incomplete message."""
        message, self.message = self.message, None
        dataset = None if message is None else message.data_set
        if isinstance(dataset, SpooledDataset) and dataset.sink is not None:
            dataset.sink.discard()


class HandlerOfConnection(RequestHandler):
    """Handler that makes the association of a connection; it can be changed before it reads."""

    def _create_association(self) -> Association:
        association = super()._create_association()
        self.prepare(association)
        return association

    def prepare(self, association: Association) -> None:
        """Change the association before anything is read."""


def send_instance(
    association: Association,
    names: tuple[str, str],
    context_id: int,
    *,
    chunks: Iterable[bytes],
    timeout_s: float,
) -> int | None:
    """Send an instance (C-STORE), with only a few PDUs in memory at a time.

    Args:
        association: The association.
        names: SOP Class UID and SOP Instance UID.
        context_id: The presentation context.
        chunks: The dataset, encoded in the context's transfer syntax.
        timeout_s: How long the other side may accept nothing, in seconds.

    Returns:
        The status of the answer; None if there is none, and the association is unusable.
    """
    request = C_STORE()
    request.MessageID, request.Priority = 1, _LOW
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = map(UID, names)
    request.DataSet = io.BytesIO()  # `encode_msg` leaves the data set to us
    message = C_STORE_RQ()
    message.primitive_to_message(request)
    limit = association.dimse.maximum_pdu_size or _LONGEST_PDU
    with _paused_reactor(association):
        for command in message.encode_msg(context_id, limit):
            association.dul.send_pdu(command)
        for piece, is_last in _pieces(chunks, limit - _PDV_HEADER):
            if not _has_room(association, timeout_s):
                return None
            data = P_DATA()
            header = b"\x02" if is_last else b"\x00"
            data.presentation_data_value_list.append((context_id, header + piece))
            association.dul.send_pdu(data)
        if not association.is_established:
            return None
        _, answer = association.dimse.get_msg(block=True)
    return getattr(answer, "Status", None)


def close_connection(association: Association) -> None:
    """End the connection of an association, even in the middle of a PDU."""
    if association.dul.socket is not None:
        association.dul.socket._shutdown_socket()


@contextmanager
def _paused_reactor(association: Association) -> Iterator[None]:
    """Pause the association's own thread, which would take the answer to our message."""
    association._reactor_checkpoint.clear()
    while not association._is_paused and association.is_alive():
        time.sleep(_LOOK_S)
    try:
        yield
    finally:
        association._reactor_checkpoint.set()


def _has_room(association: Association, timeout_s: float) -> bool:
    """Wait until some PDUs have been sent; return whether they were."""
    waiting = association.dul.to_provider_queue
    begun, last = time.monotonic(), waiting.qsize()
    while (size := waiting.qsize()) >= _AHEAD:
        if size != last:
            begun, last = time.monotonic(), size
        is_alive = association.is_established and association.dul.is_alive()
        if not is_alive or time.monotonic() - begun > timeout_s:
            return False
        time.sleep(_LOOK_S)
    return association.is_established


def _pieces(chunks: Iterable[bytes], size: int) -> Iterator[tuple[bytes, bool]]:
    """Yield pieces of one size, each with whether it is the last."""
    rest = bytearray()
    for chunk in chunks:
        rest += chunk
        while len(rest) > size:
            yield bytes(rest[:size]), False
            del rest[:size]
    yield bytes(rest), True


def file_head(sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> bytes:
    """Return the bytes of a DICOM file before its dataset (PS3.10 7.1)."""
    meta = create_file_meta(
        sop_class_uid=UID(sop_class_uid),
        sop_instance_uid=UID(sop_instance_uid),
        transfer_syntax=UID(transfer_syntax_uid),
        implementation_uid=IMPLEMENTATION_CLASS_UID,
        implementation_version=IMPLEMENTATION_VERSION_NAME,
    )
    return _PREAMBLE + encode_file_meta(meta)
