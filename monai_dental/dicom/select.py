"""Selection of instances that are dental radiographs, with reasons to skip the others."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from pydicom import Dataset
from pydicom.uid import UID, MediaStorageDirectoryStorage

from monai_dental.dicom.elements import COLOUR_SPACES, element, items, texts
from monai_dental.dicom.quiet import parsing
from monai_dental.errors import CorruptImageError, RulesError

SHIPPED_RULES = Path(__file__).with_name("selection.json")
"""The default rules."""

COLOUR = "colour; need greyscale"
"""Why an instance in colour is skipped."""

_REGION = "AnatomicRegionSequence"
_ANATOMY = (_REGION, "PrimaryAnatomicStructureSequence")
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
# Defined Terms of (0008,0060), PS3.3 C.7.3.1.1.1: only these are ever quoted.
# fmt: off
_MODALITIES = frozenset((
    "AR", "ASMT", "AU", "BDUS", "BI", "BMD", "CFM", "CR", "CT", "CTPROTOCOL", "DMS", "DG", "DOC",
    "DX", "ECG", "EEG", "EMG", "EOG", "EPS", "ES", "FID", "GM", "HC", "HD", "IO", "IOL", "IVOCT",
    "IVUS", "KER", "KO", "LEN", "LS", "M3D", "MG", "MR", "NM", "OAM", "OCT", "OP", "OPM", "OPT",
    "OPTBSV", "OPTENF", "OPV", "OSS", "OT", "PA", "PLAN", "POS", "PR", "PT", "PX", "REG", "RESP",
    "RF", "RG", "RTDOSE", "RTIMAGE", "RTINTENT", "RTPLAN", "RTRAD", "RTRECORD", "RTSEGANN",
    "RTSTRUCT", "RWV", "SC", "SEG", "SM", "SMR", "SR", "SRF", "STAIN", "TEXTUREMAP", "TG", "US",
    "VA", "XA", "XAPROTOCOL", "XC",
))
# fmt: on


@dataclass(frozen=True)
class Rules:
    """Rules for what is denoised; see `selection.json` for the meaning of each entry.

    Attributes:
        modalities: "always" or "dental" for each modality.
        skipped_image_types: Values of Image Type or Frame Type.
        dental_body_parts: Values of Body Part Examined, upper case, without blanks.
        dental_codes: Code values of the anatomy.
        neutral_body_parts: Values of Body Part Examined with which words count; same form.
        neutral_codes: Code values of the anatomic region with which words count.
        dental_words: Words, lower case.
        word_elements: Keywords of the elements to search for these words.
        device_words: Words with other meanings too, lower case.
        device_elements: Keywords of the elements to search for both kinds of words.
        all_xray: Whether "dental" means "always".
    """

    modalities: dict[str, str]
    skipped_image_types: frozenset[str]
    dental_body_parts: frozenset[str]
    dental_codes: frozenset[str]
    neutral_body_parts: frozenset[str]
    neutral_codes: frozenset[str]
    dental_words: frozenset[str]
    word_elements: frozenset[str]
    device_words: frozenset[str]
    device_elements: frozenset[str]
    all_xray: bool = False

    @property
    def digest(self) -> str:
        """SHA-256 of the rules."""
        parts = [self.modalities, *(sorted(getattr(self, name)) for name in _LISTS), self.all_xray]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    @cached_property
    def _dental_words(self) -> re.Pattern[str]:
        return _pattern(self.dental_words)

    @cached_property
    def _all_words(self) -> re.Pattern[str]:
        return _pattern(self.dental_words | self.device_words)

    def has_dental_word(self, text: str) -> bool:
        """Return whether a free text contains one of the dental words."""
        return self._dental_words.search(text) is not None

    def names_dental_anatomy_or_device(self, text: str) -> bool:
        """Return whether the name of a body part or device contains a dental or device word."""
        return self._all_words.search(text) is not None


_LISTS = tuple(each.name for each in fields(Rules) if each.name not in ("modalities", "all_xray"))


def read_rules(path: Path = SHIPPED_RULES, *, all_xray: bool = False) -> Rules:
    """Read selection rules.

    Args:
        path: A JSON file like `selection.json`; entries that begin with "_" are comments.
        all_xray: Whether to take images of any anatomy.

    Returns:
        The rules.

    Raises:
        RulesError: The file cannot be read, or an entry is missing, unknown or of the wrong type.
    """
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RulesError(f"{path}: cannot be read as JSON rules: {type(error).__name__}") from error
    if not isinstance(content, dict):
        raise RulesError(
            f"{path}: not an object of rules; need a JSON object as in {SHIPPED_RULES}"
        )
    entries = {key: value for key, value in content.items() if not key.startswith("_")}
    if set(entries) != {"modalities", *_LISTS}:
        raise RulesError(f"{path}: need the entries modalities, {', '.join(_LISTS)} and no other")
    modalities = entries["modalities"]
    if not isinstance(modalities, dict) or set(modalities.values()) - {"always", "dental"}:
        raise RulesError(f'{path}: modalities must map each modality to "always" or "dental"')
    for name in _LISTS:
        if not isinstance(entries[name], list) or not all(
            isinstance(v, str) for v in entries[name]
        ):
            raise RulesError(f"{path}: {name} must be a list of strings")
    lists = {name: frozenset(entries[name]) for name in _LISTS}
    return Rules(modalities=modalities, all_xray=all_xray, **lists)


def reason_to_skip(dataset: Dataset, rules: Rules) -> str | None:
    """Return why an instance, its pixels not decoded, is not selected by the rules.

    Returns:
        The reason, which quotes only terms of the standard, or None if the instance is selected.

    Raises:
        CorruptImageError: The instance is truncated before it can be identified.
    """
    with parsing(dataset, "broken DICOM"):
        return _reason(dataset, rules)


def _reason(dataset: Dataset, rules: Rules) -> str | None:
    sop_class = _sop_class(dataset)
    if sop_class == MediaStorageDirectoryStorage or "DirectoryRecordSequence" in dataset:
        return "a DICOMDIR, not an instance"
    has_pixels = any(keyword in dataset for keyword in _PIXELS)
    name = sop_class.name if sop_class is not None and sop_class.is_valid else ""
    if name.endswith("Storage") and "Image Storage" not in name and not has_pixels:
        return f"not an image: {name}"
    if "Encapsulated" in name:
        return f"not an image: {name}"
    modality = str(dataset.get("Modality") or "").strip()
    if modality and modality not in rules.modalities:
        known = modality if modality in _MODALITIES else "unknown"
        return f"{element('Modality')} is {known}; the rules select {', '.join(rules.modalities)}"
    tags = list(dataset.keys())  # without decoding their values
    if not any(tag.group == 0x0008 for tag in tags):
        raise CorruptImageError("the file meta information is broken: no data set follows it")
    if not has_pixels or "Rows" not in dataset:
        raise CorruptImageError("(7FE0,0010) Pixel Data is missing: the instance is truncated")
    if not modality:
        return f"{element('Modality')} is missing"
    return _reason_of_image(dataset, rules, modality)


def may_be_grey(dataset: Dataset) -> bool:
    """Return whether an instance has three channels, in a supported colour space.

    It may still be grey: some devices send grey images as RGB, and only the pixels show it. See
    `to_radiograph`.
    """
    with parsing(dataset, "broken DICOM"):
        return dataset.get("SamplesPerPixel") == 3 and _photometric(dataset) in COLOUR_SPACES


def _photometric(dataset: Dataset) -> str:
    return str(dataset.get("PhotometricInterpretation") or "").strip()


def _has_colours(dataset: Dataset) -> bool:
    samples = dataset.get("SamplesPerPixel") or 1
    return samples != 1 or _photometric(dataset).startswith(
        ("RGB", "YBR", "PALETTE", "HSV", "ARGB", "CMYK")
    )


def _reason_of_image(dataset: Dataset, rules: Rules, modality: str) -> str | None:
    if _has_colours(dataset) and not may_be_grey(dataset):
        return COLOUR
    if "PixelData" not in dataset:
        return "pixels are floats; need integers"
    if not rules.skipped_image_types.isdisjoint(_image_types(dataset)):
        return f"{element('ImageType')} is one that the rules skip"
    is_any_anatomy = rules.all_xray or rules.modalities[modality] == "always"
    if not is_any_anatomy and not _is_dental(dataset, rules):
        return f"{element('Modality')} is {modality} without dental anatomy; --all-xray selects it"
    return None


def _sop_class(dataset: Dataset) -> UID | None:
    value = dataset.get("SOPClassUID")
    file_meta = getattr(dataset, "file_meta", None)
    if not value and file_meta is not None:
        value = file_meta.get("MediaStorageSOPClassUID")
    return UID(str(value)) if value else None


def _image_types(dataset: Dataset) -> Iterator[str]:
    yield from texts(dataset, "ImageType")
    for group in items(dataset, "SharedFunctionalGroupsSequence"):
        for macro in items(group, "CTImageFrameTypeSequence"):
            yield from texts(macro, "FrameType")


def _pattern(words: frozenset[str]) -> re.Pattern[str]:
    either = "|".join(re.escape(word) for word in sorted(words))
    return re.compile(rf"(?<![^\W_])({either})(?![^\W_])" if either else r"(?!)", re.IGNORECASE)


def _is_dental(dataset: Dataset, rules: Rules) -> bool:
    # pydicom replaces bytes with the decoded text, and the bytes are lost: use copies.
    copied = dataset[:]
    body_part = _text(copied, "BodyPartExamined")
    name = re.sub(r"[\s-]", "", body_part).upper()
    if name in rules.dental_body_parts or rules.names_dental_anatomy_or_device(body_part):
        return True
    if any(
        _text(code, "CodeValue") in rules.dental_codes
        or rules.names_dental_anatomy_or_device(_text(code, "CodeMeaning"))
        for code in _anatomy(dataset, *_ANATOMY)
    ):
        return True
    if name not in ("", *rules.neutral_body_parts):
        return False
    regions = {_text(code, "CodeValue") for code in _anatomy(dataset, _REGION)}
    if regions - rules.neutral_codes - {""}:
        return False
    return any(
        rules.has_dental_word(_text(copied, keyword)) for keyword in rules.word_elements
    ) or any(
        rules.names_dental_anatomy_or_device(_text(copied, keyword))
        for keyword in rules.device_elements
    )


def _text(dataset: Dataset, keyword: str) -> str:
    return str(dataset.get(keyword) or "").replace("_", " ")


def _anatomy(dataset: Dataset, *keywords: str) -> Iterator[Dataset]:
    holders = [dataset]
    for group in items(dataset, "SharedFunctionalGroupsSequence"):
        holders += items(group, "FrameAnatomySequence")
    for holder in holders:
        for keyword in keywords:
            yield from (item[:] for item in items(holder, keyword))
