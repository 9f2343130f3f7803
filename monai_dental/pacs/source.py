"""Instances that a query finds in a PACS, as the source of a batch."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from monai_dental.batch.source import Instance
from monai_dental.dicom.head import read_head
from monai_dental.errors import CorruptImageError, DatasetError, PacsError
from monai_dental.pacs.parcel import InstanceKey
from monai_dental.pacs.retry import Streak
from monai_dental.pacs.source_spool import SourceSpool

MAX_BYTES = 1 << 30
"""Maximum size of a fetched instance, in bytes."""
_FETCHERS = 4


@dataclass(frozen=True)
class FoundInstance:
    """An instance that a search found.

    Attributes:
        key: The UIDs that identify it.
        sop_class_uid: Its SOP Class UID; "" if the PACS does not give it.
    """

    key: InstanceKey
    sop_class_uid: str = ""


class Client(Protocol):
    """One thread's access to a PACS."""

    def search(self) -> Iterator[FoundInstance]:
        """Yield the instances that the query finds.

        Raises:
            PacsError: The PACS cannot be queried.
        """

    def fetch(self, found: FoundInstance, stream: BinaryIO, max_bytes: int) -> None:
        """Write an instance of limited size to a file, which is emptied first.

        Raises:
            PacsUnavailableError: The PACS does not answer.
            PacsError: The PACS does not have the instance, or sends something else.
        """

    def close(self) -> None:
        """Close connections and associations."""


class Archive(Protocol):
    """A PACS, from which several threads can fetch."""

    def connect(self) -> Client:
        """Return a client for one thread; nothing is sent yet."""

    def close(self) -> None:
        """Close what is open besides the clients."""


class PacsSource:
    """The instances of a PACS that a query finds; a `RemoteSource`.

    An instance is identified by its SOP Instance UID: if its outcome is recorded, it is not fetched
    again, even if the PACS has corrected its header since.

    Args:
        archive: The PACS, with the query.
        spool_bytes: Disk space for files that are still to be processed.

    Raises:
        DatasetError: The query finds nothing.
        PacsError: The PACS cannot be queried.
    """

    def __init__(self, archive: Archive, spool_bytes: int) -> None:
        self._archive, self._spool_bytes = archive, spool_bytes
        self._spool: SourceSpool | None = None
        self._here = threading.local()
        self._clients: list[Client] = []
        self._lock = threading.Lock()
        self._streak = Streak()
        with closing(archive.connect()) as client:
            # The same instance may match several of the queries, or move to another page.
            self._found = {str(found.key): found for found in client.search()}
        if not self._found:
            raise DatasetError(f"{archive}: the query finds no instance")

    @property
    def fetchers(self) -> int:
        """How many threads fetch at the same time."""
        return _FETCHERS

    def __len__(self) -> int:
        """Return the number of instances."""
        return len(self._found)

    def __iter__(self) -> Iterator[Instance]:
        """Return the instances in the order of study, series and instance."""
        for name in sorted(self._found):
            found = self._found[name]
            place = self._files.path(name)
            uid = found.key.sop_instance_uid
            shown = Path(name) if found.key.is_valid else Path(f"invalid-{place.stem}")
            yield Instance(place, shown, sop_instance_uid=uid, stamp="")

    def prepare(self, spool: Path) -> None:
        """Make the spool; see `RemoteSource.prepare`."""
        self._spool = SourceSpool(spool, self._spool_bytes, MAX_BYTES)
        self._places = {self._spool.path(name): found for name, found in self._found.items()}

    def close(self) -> None:
        """Remove the spool, and end all associations and connections."""
        with self._lock:
            clients, self._clients = self._clients, []
        for client in clients:
            client.close()
        self._archive.close()
        if self._spool is not None:
            self._spool.close()

    def reserve(self, instance: Instance) -> bool:
        """Reserve space in the spool; see `RemoteSource.reserve`."""
        return self._files.reserve(instance.path)

    def fetch(self, instance: Instance) -> None:
        """Fetch an instance, and check its UID; see `RemoteSource.fetch`."""
        found = self._places[instance.path]
        if not found.key.is_valid:
            raise PacsError("the PACS lists it with an invalid UID; need a valid UID to fetch it")
        with self._streak.watch(str(found.key)), self._files.open(instance.path) as stream:
            self._client().fetch(found, stream, self._files.max_file_bytes)
            stream.flush()
            _check_uid(stream, found.key)

    def release(self, instance: Instance) -> None:
        """Remove the file of an instance; see `RemoteSource.release`."""
        self._files.remove(instance.path)

    @property
    def _files(self) -> SourceSpool:
        if self._spool is None:
            raise ValueError("prepare was not called")
        return self._spool

    def _client(self) -> Client:
        client: Client | None = getattr(self._here, "client", None)
        if client is None:
            client = self._here.client = self._archive.connect()
            with self._lock:
                self._clients.append(client)
        return client


def _check_uid(stream: BinaryIO, key: InstanceKey) -> None:
    try:
        uid = read_head(stream.fileno(), "SOPInstanceUID")["SOPInstanceUID"]
    except CorruptImageError as error:
        raise PacsError(f"the PACS sends {error}") from None
    if uid != key.sop_instance_uid:
        raise PacsError("the PACS sends another instance than the one asked for")
