"""The record of a derivation: how a derived instance was made, and from which source.

Each `record_…` changes a copy of the source in place.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

from pydicom import Dataset
from pydicom import Sequence as DicomSequence
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import UID, PositronEmissionTomographyImageStorage

import monai_dental
from monai_dental.dicom.elements import integer, items, put, texts
from monai_dental.dicom.quiet import PYDICOM_ERRORS, quiet_pydicom
from monai_dental.errors import CorruptImageError

_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
_LONG_STRING = 64
_SHORT_TEXT = 1024
_SERIES_NUMBER_STEP = 1000
_UTC_OFFSET = re.compile(r"[+-](0\d|1[0-4])[0-5]\d")


@dataclass(frozen=True)
class Derivation:
    """How pixels were made from a source image, for the record in the derived instance.

    Attributes:
        description: What was done, in a few ASCII words without patient data: "Noise reduction".
        model_name: Name of the model, such as that of a bundle.
        model_version: Its version.
        weights_digest: SHA-256 of its weights (of its config if it has none), 64 hexadecimal
            digits.
        strength: Fraction of the noise that is removed, in [0, 1].
        created: When the derived instance was made; None omits the time, so that the same input
            gives the same bytes.
    """

    description: str
    model_name: str
    model_version: str
    weights_digest: str
    strength: float
    created: datetime | None = None

    def __post_init__(self) -> None:
        """Check that the values can be written into a dataset."""
        if len(self.weights_digest) != 64 or set(self.weights_digest) - set("0123456789abcdef"):
            raise ValueError("weights_digest must be a SHA-256: 64 lower-case hexadecimal digits")
        if not 0.0 <= self.strength <= 1.0:
            raise ValueError(f"strength is {self.strength}; need 0 to 1")
        for text in (self.description, self.model_name, self.model_version):
            # The source may have any character set; a backslash would start another value.
            if not text or not text.isascii() or not text.isprintable() or "\\" in text:
                raise ValueError(f"'{text}' must be printable ASCII without a backslash")
        if len(self.description) > 40:
            raise ValueError(f"description of {len(self.description)} characters; need at most 40")

    @property
    def identity(self) -> str:
        """What distinguishes this derivation from another of the same source; not its time."""
        parts = (self.description, self.model_name, self.model_version, self.weights_digest)
        return "\n".join((*parts, f"{self.strength:.6g}"))


def is_enhanced(dataset: Dataset) -> bool:
    """Return whether an instance is enhanced multi-frame, complete or not.

    The record of such an instance is in functional groups.
    """
    return (
        any(keyword in dataset for keyword in _GROUPS)
        or "Enhanced" in UID(str(dataset.get("SOPClassUID", ""))).name
    )


def is_own(dataset: Dataset) -> bool:
    """Return whether this package derived an instance, as far as its header can be read."""
    with quiet_pydicom(), contextlib.suppress(*PYDICOM_ERRORS):
        return any(
            item[:].get("Manufacturer") == "monai_dental"  # a copy, as in `select`
            for item in items(dataset, "ContributingEquipmentSequence")
        )
    return False


def record_series(derived: Dataset, derivation: Derivation) -> None:
    """Name the derived series after the source's."""
    added = f"[{derivation.description}]"
    earlier = derived.get("SeriesDescription")
    kept = earlier[: _LONG_STRING - len(added) - 1].strip() if isinstance(earlier, str) else ""
    put(derived, "SeriesDescription", f"{kept} {added}".strip())
    number = _SERIES_NUMBER_STEP
    with contextlib.suppress(CorruptImageError):  # a broken number counts as absent
        number = integer(derived, "SeriesNumber", 0) + _SERIES_NUMBER_STEP
    # An IS holds 32-bit two's complement integers (PS3.5 6.2).
    is_integer_string = -(1 << 31) <= number < 1 << 31
    put(derived, "SeriesNumber", number if is_integer_string else _SERIES_NUMBER_STEP)


def record_creation(derived: Dataset, derivation: Derivation) -> None:
    """Record when the derived instance was made; all other dates remain the source's."""
    for keyword in ("InstanceCreationDate", "InstanceCreationTime", "InstanceCreatorUID"):
        derived.pop(keyword, None)
    if derivation.created is not None:
        created = derivation.created.astimezone(_timezone(derived))
        derived.InstanceCreationDate = created.strftime("%Y%m%d")
        derived.InstanceCreationTime = created.strftime("%H%M%S.%f")


def _timezone(dataset: Dataset) -> tzinfo | None:
    """Return the time zone of a dataset (PS3.3 C.12.1.1.8), or None for this machine's."""
    with contextlib.suppress(*PYDICOM_ERRORS):
        offset = str(dataset.get("TimezoneOffsetFromUTC", "")).strip()
        if _UTC_OFFSET.fullmatch(offset):
            return datetime.strptime(offset, "%z").tzinfo
    return None


def record_image_type(derived: Dataset) -> None:
    """Set Image Type and each Frame Type to DERIVED (PS3.3 C.7.6.1.1.2)."""
    values = texts(derived, "ImageType")
    # For these SECONDARY is an error: value 2 is PRIMARY whatever was done to the pixels.
    keeps_second = is_enhanced(derived) or (
        derived.SOPClassUID == PositronEmissionTomographyImageStorage
    )
    second = values[1] if keeps_second and len(values) > 1 else "SECONDARY"
    put(derived, "ImageType", ["DERIVED", second, *values[2:]])
    for keyword in _GROUPS:
        for group in items(derived, keyword):
            for macro in group.elements():
                for item in macro.value if isinstance(macro.value, DicomSequence) else ():
                    if "FrameType" in item:
                        put(item, "FrameType", ["DERIVED", *texts(item, "FrameType")[1:]])


def record_derivation(
    derived: Dataset,
    header: Dataset,
    derivation: Derivation,
    *,
    is_resampled: bool = False,
    notes: Sequence[str] = (),
) -> None:
    """Record what was done, and to which image.

    Args:
        derived: The copy: its General Reference module is changed, or the Derivation Image macro
            of each frame if it is enhanced.
        header: The source.
        derivation: How the pixels were made.
        is_resampled: Whether the size of the pixel matrix has changed.
        notes: Values that were interpreted differently from what the source says; ASCII.
    """
    groups = items(derived, "PerFrameFunctionalGroupsSequence")
    shared = items(derived, "SharedFunctionalGroupsSequence")
    if not groups and not shared:
        _describe(derived, derivation, _source_item(header, is_resampled), notes)
        return
    # A macro is in the shared or in the per-frame functional groups, never in both.
    is_shared = bool(shared) and ("DerivationImageSequence" in shared[0] or not groups)
    for number, group in enumerate(shared if is_shared else groups, start=1):
        item = Dataset()
        source = _source_item(header, is_resampled, None if is_shared else number)
        _describe(item, derivation, source, notes)
        put(group, "DerivationImageSequence", [*items(group, "DerivationImageSequence"), item])
    _add_evidence(derived, header)


def record_equipment(derived: Dataset, derivation: Derivation) -> None:
    """Add this package and the model to the contributing equipment."""
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [_code_item(codes.DCM.ProcessingEquipment)]
    item.Manufacturer = "monai_dental"
    item.ManufacturerModelName = derivation.model_name[:_LONG_STRING]
    item.SoftwareVersions = [
        f"monai_dental {monai_dental.__version__}",
        f"model {derivation.model_version}"[:_LONG_STRING],
    ]
    item.ContributionDescription = (
        f"{derivation.description}, strength {derivation.strength:g}, "
        f"SHA-256 of the model {derivation.weights_digest}"
    )
    if derivation.created is not None:
        item.ContributionDateTime = derivation.created.strftime("%Y%m%d%H%M%S.%f%z")
    earlier = items(derived, "ContributingEquipmentSequence")
    put(derived, "ContributingEquipmentSequence", [*earlier, item])


def _code_item(code: Code) -> Dataset:
    item = Dataset()
    item.CodeValue = code.value
    item.CodingSchemeDesignator = code.scheme_designator
    item.CodeMeaning = code.meaning
    return item


def _source_item(header: Dataset, is_resampled: bool, frame: int | None = None) -> Dataset:
    item = _reference(header)
    if frame is not None:
        item.ReferencedFrameNumber = frame
    item.PurposeOfReferenceCodeSequence = [
        _code_item(codes.DCM.SourceImageForImageProcessingOperation)
    ]
    item.SpatialLocationsPreserved = "NO" if is_resampled else "YES"
    return item


def _reference(header: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = header.SOPClassUID
    item.ReferencedSOPInstanceUID = header.SOPInstanceUID
    return item


def _describe(
    holder: Dataset, derivation: Derivation, source: Dataset, notes: Sequence[str]
) -> None:
    earlier = holder.get("DerivationDescription")
    said = "; ".join((f"{derivation.description}, strength {derivation.strength:g}", *notes))
    if isinstance(earlier, str) and earlier:
        said = f"{earlier[: _SHORT_TEXT - len(said) - 2]}; {said}"
    put(holder, "DerivationDescription", said)
    # CID 7203 has no code for noise reduction; this is the closest.
    earlier_codes = items(holder, "DerivationCodeSequence")
    put(holder, "DerivationCodeSequence", [*earlier_codes, _code_item(codes.DCM.Smoothing)])
    put(holder, "SourceImageSequence", [source])


def _add_evidence(derived: Dataset, header: Dataset) -> None:
    """List the source by study and series, as enhanced instances do for all their frames."""
    series = Dataset()
    series.SeriesInstanceUID = header.get("SeriesInstanceUID")
    series.ReferencedSOPSequence = [_reference(header)]
    study = Dataset()
    study.StudyInstanceUID = header.get("StudyInstanceUID")
    study.ReferencedSeriesSequence = [series]
    earlier = items(derived, "SourceImageEvidenceSequence")
    put(derived, "SourceImageEvidenceSequence", [*earlier, study])
