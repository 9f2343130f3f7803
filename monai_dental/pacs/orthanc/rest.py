"""Orthanc's REST interface; https://orthanc.uclouvain.be/book/users/rest.html."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, BinaryIO

from monai_dental.errors import AddressError, PacsError
from monai_dental.pacs.address import DicomwebAddress, parse_address
from monai_dental.pacs.dicomweb.http import HttpClient, chunks
from monai_dental.pacs.parcel import InstanceKey
from monai_dental.pacs.retry import Patience

_IDENTIFIER = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{8}){4}")
_PAGE = 100
_JSON = "application/json"


class OrthancAddress(DicomwebAddress):
    """The address of Orthanc's REST interface: http(s)://HOST[:PORT][/PATH]."""

    def __str__(self) -> str:
        """The URL."""
        return self.url


def parse_url(text: str) -> OrthancAddress:
    """Read the URL of an Orthanc.

    Raises:
        AddressError: It is not valid, or has credentials or a query.
    """
    if not text.startswith(("http://", "https://")):
        raise AddressError(
            "the URL of Orthanc does not begin with http:// or https://; need one of the two"
        )
    try:
        address = parse_address(f"dicomweb+{text}")
    except AddressError as error:
        raise AddressError(str(error).replace("dicomweb+http", "http")) from None
    assert isinstance(address, DicomwebAddress)
    if address.query:
        raise AddressError(f"{address.url}: has a query; need the URL of Orthanc without one")
    return OrthancAddress(address.url)


@dataclass(frozen=True)
class Changes:
    """A page of the changes of an Orthanc.

    Attributes:
        instances: Orthanc's identifier of each new instance, with the change's number.
        last: Number of the last change on the page.
        is_done: Whether there are no more changes.
    """

    instances: tuple[tuple[str, int], ...]
    last: int
    is_done: bool


class OrthancClient:
    """One thread's access to an Orthanc; arguments are those of `HttpClient`.

    Raises:
        AddressError: A token would be sent over an unencrypted connection.
    """

    def __init__(
        self, address: OrthancAddress, patience: Patience, tokens: tuple[str, ...]
    ) -> None:
        self._address = address
        self._client = HttpClient(address, patience, tokens)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def last_change(self) -> int:
        """Return the number of the last change.

        Raises:
            PacsError: It does not answer, or is not an Orthanc.
        """
        return self._number(self._client.get_json("/changes?last"), "Last")

    def changes(self, since: int) -> Changes:
        """Return the changes after a change, at most a hundred.

        Raises:
            PacsError: It does not answer, or is not an Orthanc.
        """
        query = {"since": str(since), "limit": str(_PAGE)}
        answer = self._client.get_json("/changes", query)
        found = answer.get("Changes") if isinstance(answer, dict) else None
        if not isinstance(found, list):
            raise self._stranger()
        came = tuple(
            (str(each.get("ID")), self._number(each, "Seq"))
            for each in found
            if isinstance(each, dict) and each.get("ChangeType") == "NewInstance"
        )
        last = self._number(answer, "Last") if found else since
        return Changes(came, last, answer.get("Done") is not False)

    def study_of(self, instance: str) -> str:
        """Return Orthanc's identifier of the study of an instance.

        Raises:
            NotThereError: There is no such instance.
            PacsError: It does not answer, or is not an Orthanc.
        """
        self._check(instance)
        answer = self._client.get_json(f"/instances/{instance}/study")
        study = str(answer.get("ID", "")) if isinstance(answer, dict) else ""
        self._check(study)
        return study

    def stable_instances(self, study: str) -> dict[InstanceKey, str] | None:
        """Return Orthanc's identifiers of a study's instances, or None if it is not stable yet.

        Args:
            study: Orthanc's identifier of the study.

        Raises:
            NotThereError: There is no such study.
            PacsError: It does not answer, or is not an Orthanc.
        """
        self._check(study)
        answer = self._client.get_json(f"/studies/{study}")
        study_uid = _tag(answer, "StudyInstanceUID")
        if not answer.get("IsStable", True):
            return None
        series = {
            each.get("ID"): _tag(each, "SeriesInstanceUID")
            for each in self._list(f"/studies/{study}/series")
        }
        found = {}
        for each in self._list(f"/studies/{study}/instances"):
            if each.get("ParentSeries") in series:
                self._check(str(each.get("ID")))
                uid = series[each["ParentSeries"]]
                found[InstanceKey(study_uid, uid, _tag(each, "SOPInstanceUID"))] = each["ID"]
        return found

    def fetch(self, identifier: str, stream: BinaryIO, max_bytes: int) -> None:
        """Write the file of an instance, as stored, to a stream, which is emptied first.

        Raises:
            PacsUnavailableError: It does not answer.
            PacsError: It does not have the instance, or the file is too large.
        """
        stream.seek(0)
        stream.truncate()
        path = f"/instances/{identifier}/file"
        with self._client.request("GET", path, accept="application/dicom") as response:
            for chunk in chunks(response, max_bytes):
                stream.write(chunk)

    def store(self, content: bytes) -> str:
        """Store an instance, and return Orthanc's identifier of it.

        If Orthanc has another instance with the same UIDs, it may keep that one without an error.

        Raises:
            PacsUnavailableError: It does not answer, or accepts nothing.
            PacsError: It refuses the instance.
        """
        answer = self._post("/instances", content, "application/dicom")
        identifier = str(answer.get("ID", "")) if isinstance(answer, dict) else ""
        if not _IDENTIFIER.fullmatch(identifier):  # one of its filters dropped it
            raise PacsError(f"{self._address}: refuses the instance")
        return identifier

    def has(self, sop_instance_uid: str) -> bool:
        """Return whether there is an instance with this UID.

        Raises:
            PacsError: It does not answer.
        """
        answer = self._post("/tools/lookup", sop_instance_uid.encode(), "text/plain")
        return any(each.get("Type") == "Instance" for each in answer or ())

    def _post(self, path: str, content: bytes, content_type: str) -> Any:
        with self._client.request(
            "POST", path, accept=_JSON, body=content, content_type=content_type
        ) as response:
            return self._client.read_json(response)

    def _list(self, path: str) -> list[dict[str, Any]]:
        answer = self._client.get_json(path)
        if not isinstance(answer, list) or not all(isinstance(each, dict) for each in answer):
            raise self._stranger()
        return answer

    def _check(self, identifier: str) -> None:
        if not _IDENTIFIER.fullmatch(identifier):
            raise self._stranger()

    def _number(self, answer: Any, name: str) -> int:
        value = answer.get(name) if isinstance(answer, dict) else None
        if not isinstance(value, int):
            raise self._stranger()
        return value

    def _stranger(self) -> PacsError:
        return PacsError(f"{self._address}: does not answer as Orthanc does; need its URL")


def _tag(answer: Any, keyword: str) -> str:
    tags = answer.get("MainDicomTags") if isinstance(answer, dict) else None
    return str(tags.get(keyword, "")) if isinstance(tags, dict) else ""
