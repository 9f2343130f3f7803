"""A study of an Orthanc as source of a batch, and the Orthanc as its target."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing
from typing import Any, BinaryIO

from pydicom import Dataset

from monai_dental.batch.target import StoredObject
from monai_dental.pacs.dicomweb.http import TOKEN
from monai_dental.pacs.dicomweb.target import OUTPUT_TOKENS
from monai_dental.pacs.orthanc.rest import OrthancAddress, OrthancClient
from monai_dental.pacs.parcel import InstanceKey, check_copy, pack
from monai_dental.pacs.retry import BRIEF, Patience, Streak
from monai_dental.pacs.source import FoundInstance


class OrthancStudy:
    """A study; an `Archive`.

    Args:
        address: Orthanc's address.
        found: The study's instances, with Orthanc's identifiers.
    """

    def __init__(self, address: OrthancAddress, found: dict[InstanceKey, str]) -> None:
        self._address, self._found = address, found

    def __str__(self) -> str:
        """Orthanc's address."""
        return str(self._address)

    def connect(self) -> OrthancStudyClient:
        """Return a client for one thread; see `Archive.connect`."""
        client = OrthancClient(self._address, Patience(), (TOKEN,))
        return OrthancStudyClient(client, self._found)

    def close(self) -> None:
        """Do nothing: each client has its own connections."""


class OrthancStudyClient:
    """One thread's access to a study; a `Client`."""

    def __init__(self, client: OrthancClient, found: dict[InstanceKey, str]) -> None:
        self._client, self._found = client, found

    def search(self) -> Iterator[FoundInstance]:
        """Return the instances of the study; see `Client.search`."""
        return map(FoundInstance, self._found)

    def fetch(self, found: FoundInstance, stream: BinaryIO, max_bytes: int) -> None:
        """Fetch an instance as stored; see `Client.fetch`."""
        self._client.fetch(self._found[found.key], stream, max_bytes)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


class OrthancTarget:
    """An Orthanc as target of derived instances; an `ObjectTarget`.

    An instance counts as stored once Orthanc returns the same pixels. A target can be pickled; each
    process then has its own connections. A target is for one thread.
    """

    def __init__(self, address: OrthancAddress) -> None:
        self._address = address
        self._client: OrthancClient | None = None
        self._streak = Streak()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle without the connections."""
        return OrthancTarget, (self._address,)

    def prepare(self) -> None:
        """Check that Orthanc can be reached and authorizes us; takes about a second at most.

        Raises:
            PacsError: It cannot be reached, or does not authorize us.
        """
        with closing(OrthancClient(self._address, BRIEF, OUTPUT_TOKENS)) as client:
            client.last_change()

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def store(self, derived: Dataset) -> StoredObject:
        """Send an instance, and check that it has arrived; see `ObjectTarget.store`.

        Raises:
            PacsUnavailableError: Orthanc cannot be reached, accepts nothing, or failed with five
                instances in a row.
            PacsError: It refuses the instance, or keeps another one.
            CorruptImageError: The instance cannot be written.
        """
        parcel = pack(derived)
        with self._streak.watch(parcel.key.sop_instance_uid):
            with parcel.open() as stream:
                identifier = self._open().store(stream.read())
            with tempfile.TemporaryFile() as copy:
                self._open().fetch(identifier, copy, parcel.longest_copy)
                check_copy(parcel, copy)
        return parcel.stored

    def find(self, stored: StoredObject) -> StoredObject | None:
        """Ask whether Orthanc still has an instance; see `ObjectTarget.find`."""
        return stored if self._open().has(stored.sop_instance_uid) else None

    def _open(self) -> OrthancClient:
        self._client = self._client or OrthancClient(self._address, Patience(), OUTPUT_TOKENS)
        return self._client
