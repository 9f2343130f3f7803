"""A PACS that stores instances by STOW-RS (PS3.18 10.5), with QIDO-RS and WADO-RS as proof."""

from __future__ import annotations

import contextlib
import functools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from monai_dental.batch.target import StoredObject
from monai_dental.errors import PacsError, PacsUnavailableError
from monai_dental.pacs.address import DicomwebAddress
from monai_dental.pacs.dicomweb import multipart
from monai_dental.pacs.dicomweb.http import (
    TOKEN,
    BrokenAnswerError,
    HttpClient,
    NotThereError,
    chunks,
)
from monai_dental.pacs.parcel import ASK_BACK, STATUS, InstanceKey, Parcel, ParcelTarget
from monai_dental.pacs.retry import BRIEF, Patience, Streak

OUTPUT_TOKENS = ("MONAI_DENTAL_OUTPUT_TOKEN", TOKEN)
"""Environment variables of a target's token; the second is used if the first is not set."""

_INSTANCE = 'multipart/related; type="application/dicom"; transfer-syntax=*'  # as it was stored
_OUT_OF_RESOURCES = range(0xA700, 0xA800)
_DUPLICATE = 0x0111
_SOP_INSTANCE_UID, _REFERENCED_UID = "00080018", "00081155"
_FAILED, _REASON = "00081198", "00081197"
_BREAKS = 3


class DicomwebTarget(ParcelTarget):
    """A DICOMweb service as target of derived instances; an `ObjectTarget` too.

    An instance counts as stored once a search finds it and the service returns the same pixels. A
    target can be pickled; each process then has its own connections. A target is for one thread.

    Args:
        address: The service.
        patience: How long to retry if the service does not answer.
        tokens: Environment variables; the first one that is set holds the bearer token.
        scratch: Folder for copies that are fetched and compared; None for the system's own.
        proof: Proof that an instance has arrived: `ASK_BACK` or `STATUS`.
    """

    def __init__(
        self,
        address: DicomwebAddress,
        patience: Patience | None = None,
        tokens: tuple[str, ...] = OUTPUT_TOKENS,
        *,
        scratch: Path | None = None,
        proof: str = ASK_BACK,
    ) -> None:
        self.address, self._scratch, self._proof = address, scratch, proof
        self._patience, self._tokens = patience or Patience(), tokens
        self._client: HttpClient | None = None
        self._streak = Streak()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle without the connections."""
        make = functools.partial(DicomwebTarget, scratch=self._scratch, proof=self._proof)
        return make, (self.address, self._patience, self._tokens)

    def prepare(self) -> None:
        """Check that the service can be reached and authorizes us; takes about a second at most.

        Raises:
            PacsError: It cannot be reached, or does not authorize us.
            AddressError: A token would be sent over an unencrypted connection.
        """
        client = HttpClient(self.address, BRIEF, self._tokens)
        with contextlib.closing(client):
            client.get_json("/studies", {"limit": "1"})

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def send(self, parcel: Parcel) -> str:
        """Send an instance, and check that it has arrived; see `ParcelTarget.send`."""
        with self._streak.watch(parcel.key.sop_instance_uid):
            reason = self._send(parcel)
            if reason in _OUT_OF_RESOURCES:
                raise PacsUnavailableError(f"{self.address}: is out of resources: {reason:04X}")
            if reason not in (None, _DUPLICATE):
                raise PacsError(
                    f"{parcel.name}: the PACS refuses it: (0008,1197) Failure Reason {reason:04X}"
                )
            if self._proof == STATUS:
                return STATUS
            return self._prove(parcel)

    def find(self, stored: StoredObject) -> StoredObject | None:
        """Ask whether the service still has an instance; see `ObjectTarget.find`.

        Raises:
            PacsError: It does not answer.
        """
        return stored if self._has(InstanceKey.parse(stored.location)) else None

    def _send(self, parcel: Parcel) -> int | None:
        """Send an instance; return the Failure Reason if it is refused, or None."""
        body, content_type = multipart.encode(parcel)
        client, answer = self._open(), None
        # A broken answer is ignored: the proof shows whether the instance has arrived.
        with (
            contextlib.closing(body),
            contextlib.suppress(BrokenAnswerError),
            client.request(
                "POST", "/studies", accept="application/dicom+json", body=body,
                content_type=content_type,
            ) as response,
        ):  # fmt: skip
            is_told = response.headers.get("Content-Type", "").partition(";")[0].endswith("json")
            answer = client.read_json(response) if is_told else None
            if answer is None and response.status_code == 409:
                raise PacsError(f"{self.address}: refuses the instance without a reason")
        return dict(_failures(answer)).get(parcel.key.sop_instance_uid)

    def _prove(self, parcel: Parcel) -> str:
        # An archive may index an instance some time after it has stored it.
        if not self._patience.until(lambda: self._has(parcel.key)):
            raise PacsError(f"{parcel.name}: the PACS accepted it, but a query does not find it")
        with tempfile.TemporaryFile(dir=self._scratch) as copy:
            fetch(self._open(), parcel.key, copy, parcel.longest_copy)
            return parcel.prove(copy)

    def _has(self, key: InstanceKey) -> bool:
        path = f"/studies/{key.study_instance_uid}/series/{key.series_instance_uid}/instances"
        try:
            found = self._open().get_json(path, {"SOPInstanceUID": key.sop_instance_uid})
        except NotThereError:  # some services answer so for an unknown study
            return False
        return key.sop_instance_uid in [value_of(each, _SOP_INSTANCE_UID) for each in found or ()]

    def _open(self) -> HttpClient:
        self._client = self._client or HttpClient(self.address, self._patience, self._tokens)
        return self._client


def fetch(client: HttpClient, key: InstanceKey, stream: BinaryIO, max_bytes: int) -> None:
    """Fetch an instance by WADO-RS, as it was stored (PS3.18 10.4).

    Args:
        client: The service.
        key: The instance.
        stream: The file to write; emptied at each of the three attempts.
        max_bytes: Maximum size.

    Raises:
        NotThereError: The service does not have it.
        PacsUnavailableError: The service does not answer.
        PacsError: It sends something else, or too much, or breaks off at each attempt.
    """
    path = "/studies/{}/series/{}/instances/{}".format(*str(key).split("/"))
    for attempt in range(1, _BREAKS + 1):
        stream.seek(0)
        stream.truncate()
        try:
            with client.request("GET", path, accept=_INSTANCE) as response:
                media_type = response.headers.get("Content-Type", "")
                multipart.read_only_part(media_type, chunks(response, max_bytes), stream)
                return
        except BrokenAnswerError:
            if attempt == _BREAKS:
                raise


def value_of(item: Any, tag: str) -> Any:
    """Return the first value of an element in the DICOM JSON Model (PS3.18 F.2), or None.

    Args:
        item: A dataset in JSON, or whatever a service sends instead.
        tag: Eight hexadecimal digits.
    """
    element = item.get(tag) if isinstance(item, dict) else None
    values = element.get("Value") if isinstance(element, dict) else None
    return values[0] if isinstance(values, list) and values else None


def _failures(answer: Any) -> Iterator[tuple[str, int]]:
    # The service may answer with one dataset, or with a list of one.
    for dataset in answer if isinstance(answer, list) else [answer]:
        sequence = dataset.get(_FAILED) if isinstance(dataset, dict) else None
        for item in (sequence or {}).get("Value") or () if isinstance(sequence, dict) else ():
            reason = value_of(item, _REASON)
            yield str(value_of(item, _REFERENCED_UID)), reason if isinstance(reason, int) else 0
