"""A PACS that is searched by C-FIND, with retrieval by C-GET or C-MOVE (PS3.4 annex C)."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import BinaryIO

from pydicom import Dataset, uid

from monai_dental.dicom.codecs import COMPRESSED
from monai_dental.dicom.quiet import quiet_pydicom
from monai_dental.errors import PacsError
from monai_dental.pacs.address import DimseAddress, queries
from monai_dental.pacs.dimse.association import NotOfferedError
from monai_dental.pacs.dimse.listener import Listener
from monai_dental.pacs.dimse.query_scu import QueryScu
from monai_dental.pacs.dimse.target import AE_TITLE, persist
from monai_dental.pacs.parcel import InstanceKey
from monai_dental.pacs.retry import Patience
from monai_dental.pacs.source import FoundInstance

# Keys of PS3.4 C.6.2.1, and other attributes of the patient and study modules. Keys in neither list
# are keys of the instance.
_STUDY_KEYS = (
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "StudyID",
    "StudyDescription",
    "ReferringPhysicianName",
    "ModalitiesInStudy",
    "SOPClassesInStudy",
    "InstitutionName",
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientBirthTime",
    "PatientSex",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "OtherPatientNames",
    "EthnicGroup",
)
_SERIES_KEYS = (
    "SeriesInstanceUID",
    "Modality",
    "SeriesNumber",
    "SeriesDescription",
    "SeriesDate",
    "SeriesTime",
    "BodyPartExamined",
    "Laterality",
    "ProtocolName",
    "PerformedProcedureStepStartDate",
    "PerformedProcedureStepStartTime",
    "PerformedProcedureStepDescription",
    "StationName",
    "Manufacturer",
    "ManufacturerModelName",
    "InstitutionalDepartmentName",
    "PerformingPhysicianName",
    "OperatorsName",
    "SeriesType",
    "PatientPosition",
)
_NATIVE = (
    uid.ExplicitVRLittleEndian,
    uid.ImplicitVRLittleEndian,
    uid.DeflatedExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
)
_SYNTAXES = (*map(str, _NATIVE), *COMPRESSED)
_CLASSES = (
    uid.DigitalIntraOralXRayImageStorageForPresentation,
    uid.DigitalXRayImageStorageForPresentation,
    uid.DigitalIntraOralXRayImageStorageForProcessing,
    uid.DigitalXRayImageStorageForProcessing,
    uid.ComputedRadiographyImageStorage,
    uid.CTImageStorage,
)
"""SOP classes that a dental instance may have, for a PACS that does not give the class."""


class DimseArchive:
    """An application entity with a query; an `Archive`.

    Args:
        address: The application entity and the query.
        calling_ae_title: Our own AE title, which it may need to know.
        patience: How long to retry if it does not answer.
        listener: Receives the instances by C-MOVE, and is stopped by `close`; None for C-GET.
    """

    def __init__(
        self,
        address: DimseAddress,
        calling_ae_title: str = AE_TITLE,
        patience: Patience | None = None,
        listener: Listener | None = None,
    ) -> None:
        self._address, self._title = address, calling_ae_title
        self._patience, self._listener = patience or Patience(), listener

    def __str__(self) -> str:
        """The address without the query."""
        return str(self._address)

    def connect(self) -> DimseClient:
        """Return a client for one thread; see `Archive.connect`."""
        return DimseClient(self._address, self._title, self._patience, self._listener)

    def close(self) -> None:
        """Stop the listener; see `Archive.close`."""
        if self._listener is not None:
            self._listener.stop()
            self._listener = None


class DimseClient:
    """One thread's access to an application entity; a `Client`, with the archive's arguments."""

    def __init__(
        self,
        address: DimseAddress,
        calling_ae_title: str,
        patience: Patience,
        listener: Listener | None = None,
    ) -> None:
        self._address, self._patience, self._listener = address, patience, listener
        self._scu = QueryScu(address, calling_ae_title)

    def search(self) -> Iterator[FoundInstance]:
        """Search for studies, their series and their instances; see `Client.search`.

        The search goes level by level (PS3.4 C.4.1.3.1.1): many archives support no other.
        """
        is_listening = self._listener is not None
        persist(
            lambda: self._scu.check_fetch(is_listening=is_listening), self._address, self._patience
        )
        for query in queries(self._address):
            levels = _split(query)
            for study in self._uids("STUDY", levels[0]):
                for series in self._uids("SERIES", levels[1], StudyInstanceUID=study):
                    above = {"StudyInstanceUID": study, "SeriesInstanceUID": series}
                    for match in self._find("IMAGE", levels[2], **above):
                        key = InstanceKey(study, series, match["SOPInstanceUID"])
                        yield FoundInstance(key, match["SOPClassUID"])

    def fetch(self, found: FoundInstance, stream: BinaryIO, max_bytes: int) -> None:
        """Fetch an instance, as stored if the PACS does so; see `Client.fetch`."""
        try:
            content = self._fetch(found, max_bytes)
        except NotOfferedError as error:
            raise PacsError(f"cannot be fetched: {error}") from None
        stream.seek(0)
        stream.truncate()
        with content:
            content.seek(0)
            shutil.copyfileobj(content, stream)

    def close(self) -> None:
        """Release the associations."""
        self._scu.close()

    def _fetch(self, found: FoundInstance, max_bytes: int) -> BinaryIO:
        classes = (found.sop_class_uid,) if found.sop_class_uid else tuple(map(str, _CLASSES))
        contexts = [(each, syntax) for each in classes for syntax in _SYNTAXES]
        listener = self._listener

        def fetch() -> BinaryIO:
            if listener is not None:
                return self._scu.move(found.key, listener)
            return self._scu.get(found.key, contexts, max_bytes)

        return persist(fetch, self._address, self._patience)

    def _uids(self, level: str, keys: dict[str, str], **above: str) -> list[str]:
        """Return the unique keys of all matches at a level."""
        keyword = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID"}[level]
        return [match[keyword] for match in self._find(level, keys, **above) if match[keyword]]

    def _find(self, level: str, keys: dict[str, str], **above: str) -> list[dict[str, str]]:
        wanted = {
            "STUDY": ("StudyInstanceUID",),
            "SERIES": ("SeriesInstanceUID",),
            "IMAGE": ("SOPInstanceUID", "SOPClassUID"),
        }[level]
        with quiet_pydicom():
            identifier = Dataset()
            identifier.QueryRetrieveLevel = level
            for keyword, value in ({**dict.fromkeys(wanted, ""), **keys, **above}).items():
                setattr(identifier, keyword, value)
            if not all(value.isascii() for value in keys.values()):
                identifier.SpecificCharacterSet = "ISO_IR 192"

        def find() -> list[dict[str, str]]:
            found = list(self._scu.find(identifier))
            with quiet_pydicom():
                return [{each: str(match.get(each) or "") for each in wanted} for match in found]

        return persist(find, self._address, self._patience)


def _split(query: dict[str, str]) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """Split a query into the keys of studies, of series and of instances."""
    study = {key: value for key, value in query.items() if key in _STUDY_KEYS}
    series = {key: value for key, value in query.items() if key in _SERIES_KEYS}
    image = {key: query[key] for key in query if key not in study and key not in series}
    if "Modality" in series:  # else every study would be searched
        study.setdefault("ModalitiesInStudy", series["Modality"])
    return study, series, image
