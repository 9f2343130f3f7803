"""Storage SCP that receives the instances we request by C-MOVE (PS3.4 C.4.2)."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socketserver import BaseServer
from typing import Any, BinaryIO

from pydicom.uid import UID

from monai_dental.dicom.identity import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from monai_dental.errors import PacsError
from monai_dental.pacs.address import DimseAddress
from monai_dental.pacs.extra import require

_SUCCESS, _OUT_OF_RESOURCES, _REFUSED = 0x0000, 0xA700, 0x0124  # PS3.7 C: not authorized
_ASSOCIATIONS = 8
_SILENCE_S = 60.0


class TemporaryFile:
    """An unnamed file that collects an instance; a `Sink`.

    Args:
        head: Its first bytes.
        folder: Its folder; None for the system's own.
    """

    def __init__(self, head: bytes, folder: Path | None) -> None:
        self.stream: BinaryIO = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        self.stream.write(head)

    def write(self, content: Any, /) -> None:
        """Write a piece."""
        self.stream.write(content)

    def discard(self) -> None:
        """Discard the file."""
        self.stream.close()


class Listener:
    """A Storage SCP that accepts only requested instances, and only from one archive.

    Args:
        archive: The archive; only its AE title may call.
        ae_title: Our own AE title, which the archive knows as a destination, with host and port.
        port: Port to listen on; 0 for any free port.
        max_bytes: Maximum size of an instance.
        host: Address to listen on.

    Raises:
        PacsError: It cannot listen there.
        MissingPackageError: pynetdicom is not installed.
    """

    def __init__(
        self,
        archive: DimseAddress,
        ae_title: str,
        port: int,
        *,
        max_bytes: int,
        host: str = "0.0.0.0",
    ) -> None:
        require("pynetdicom")
        from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, evt

        from monai_dental.pacs.dimse.streams import HandlerOfConnection, StreamingDimse

        class Handler(HandlerOfConnection):
            def prepare(self, association: Any) -> None:
                association.dimse = StreamingDimse(
                    association, lambda head, _: TemporaryFile(head, None), max_bytes
                )

        self.ae_title = ae_title
        self._wanted: dict[str, list[BinaryIO]] = {}
        self._lock = threading.Lock()
        entity = AE(ae_title)
        entity.implementation_class_uid = UID(IMPLEMENTATION_CLASS_UID)
        entity.implementation_version_name = IMPLEMENTATION_VERSION_NAME
        entity.require_called_aet = True
        entity.require_calling_aet = [archive.called_ae_title]
        entity.maximum_associations = _ASSOCIATIONS
        entity.network_timeout = _SILENCE_S
        for context in AllStoragePresentationContexts:
            if context.abstract_syntax is not None:
                entity.add_supported_context(context.abstract_syntax, ALL_TRANSFER_SYNTAXES)
        try:
            self._server: Any = entity.make_server(
                (host, port),
                ssl_context=None if archive.tls is None else archive.tls.server_context(),
                evt_handlers=[(evt.EVT_C_STORE, self._take)],
                request_handler=Handler,
            )
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise PacsError(f"{host}:{port}: cannot listen there: {reason}") from error
        threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True).start()

    @property
    def port(self) -> int:
        """The TCP port that the server listens on."""
        return int(self._server.server_address[1])

    def stop(self) -> None:
        """Stop listening, and end all associations."""
        associations = self._server.active_associations
        BaseServer.shutdown(self._server)
        self._server.server_close()
        for association in associations:
            association.abort(block=False)

    @contextmanager
    def wanting(self, sop_instance_uid: str) -> Iterator[list[BinaryIO]]:
        """Accept an instance.

        Yields:
            A list that holds its file once it has arrived; the caller closes it.
        """
        came: list[BinaryIO] = []
        with self._lock:
            self._wanted[sop_instance_uid] = came
        try:
            yield came
        finally:
            with self._lock:
                del self._wanted[sop_instance_uid]

    def _take(self, event: Any) -> int:
        dataset = event.assoc.dimse.take(event)
        if dataset.error is not None or not isinstance(dataset.sink, TemporaryFile):
            return _OUT_OF_RESOURCES
        with self._lock:
            came = self._wanted.get(str(event.request.AffectedSOPInstanceUID))
            if came is not None and not came:
                came.append(dataset.sink.stream)
                return _SUCCESS
        dataset.sink.discard()
        return _SUCCESS if came else _REFUSED
