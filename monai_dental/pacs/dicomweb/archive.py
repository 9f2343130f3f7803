"""A PACS that is searched by QIDO-RS (PS3.18 10.6), with retrieval by WADO-RS (PS3.18 10.4)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from monai_dental.errors import PacsError
from monai_dental.pacs.address import DicomwebAddress, queries
from monai_dental.pacs.dicomweb.http import TOKEN, HttpClient
from monai_dental.pacs.dicomweb.target import fetch, value_of
from monai_dental.pacs.parcel import InstanceKey
from monai_dental.pacs.retry import Patience
from monai_dental.pacs.source import FoundInstance

_PAGE = 500
_STUDY, _SERIES, _INSTANCE, _CLASS = "0020000D", "0020000E", "00080018", "00080016"


class DicomwebArchive:
    """A DICOMweb service with a query; an `Archive`.

    Args:
        address: The service and the query.
        patience: How long to retry if the service does not answer.
    """

    def __init__(self, address: DicomwebAddress, patience: Patience | None = None) -> None:
        self._address, self._patience = address, patience or Patience()

    def __str__(self) -> str:
        """The address without the query."""
        return str(self._address)

    def connect(self) -> DicomwebClient:
        """Return a client for one thread; see `Archive.connect`."""
        return DicomwebClient(self._address, self._patience)

    def close(self) -> None:
        """Do nothing: each client has its own connections."""


class DicomwebClient:
    """One thread's access to a DICOMweb service; a `Client`, with the archive's arguments.

    Raises:
        AddressError: A token would go over a connection that is not encrypted.
    """

    def __init__(self, address: DicomwebAddress, patience: Patience) -> None:
        self._address = address
        self._client = HttpClient(address, patience, (TOKEN,))

    def search(self) -> Iterator[FoundInstance]:
        """Search for instances, page by page; see `Client.search`.

        The search ends at an empty page, since a service may return fewer results than requested. A
        service that ignores the offset would return the first page forever.
        """
        for query in queries(self._address):
            offset = 0
            known: set[InstanceKey] = set()
            while page := self._page(query, offset):
                found = {each.key for each in page}
                if found <= known:
                    raise PacsError(
                        f"{self._address}: returns the same page of a search again; need a service "
                        f"that supports offset"
                    )
                known |= found
                yield from page
                offset += len(page)

    def fetch(self, found: FoundInstance, stream: BinaryIO, max_bytes: int) -> None:
        """Fetch an instance as it was stored; see `Client.fetch`."""
        fetch(self._client, found.key, stream, max_bytes)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _page(self, query: dict[str, str], offset: int) -> list[FoundInstance]:
        wanted = {**query, "limit": str(_PAGE), "offset": str(offset)}
        answer = self._client.get_json("/instances", wanted)
        if answer is None:
            return []
        if not isinstance(answer, list):
            raise PacsError(f"{self._address}: does not answer a search with a list")
        return [_found(item, self._address) for item in answer]


def _found(item: object, address: DicomwebAddress) -> FoundInstance:
    uids = [value_of(item, tag) for tag in (_STUDY, _SERIES, _INSTANCE)]
    if not all(isinstance(uid, str) for uid in uids):
        raise PacsError(f"{address}: lists an instance without its UIDs")
    sop_class = value_of(item, _CLASS)
    return FoundInstance(InstanceKey(*uids), sop_class if isinstance(sop_class, str) else "")
