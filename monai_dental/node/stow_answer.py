"""The response to a STOW-RS request (PS3.18 10.5.3): a status, and what was stored."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from xml.etree.ElementTree import Element, SubElement, tostring

from pydicom.datadict import keyword_for_tag

from monai_dental.node.stow_parts import Outcome

JSON, XML = "application/dicom+json", "application/dicom+xml"

_SOP_CLASS, _SOP_INSTANCE, _RETRIEVE_URL = "00081150", "00081155", "00081190"
_FAILURE, _FAILED, _STORED, _OTHER = "00081197", "00081198", "00081199", "0008119A"


def media_type_of(accept: str) -> str | None:
    """Return the media type of the response, or None if the request accepts none we offer.

    Args:
        accept: The Accept header; "" if there is none.
    """
    wanted = [each.partition(";")[0].strip().lower() for each in accept.split(",")]
    if not accept.strip() or {JSON, "application/json", "application/*", "*/*"} & set(wanted):
        return JSON
    return XML if {XML, "application/xml", "text/xml"} & set(wanted) else None


def status_of(outcomes: Sequence[Outcome]) -> int:
    """Return the HTTP status: 200 if all were stored, 202 if some were, 409 if none was.

    If none was stored for lack of space, it is 503: the sender should try again later.
    """
    failures = [each.failure for each in outcomes if each.failure is not None]
    if not failures:
        return 200
    if len(failures) < len(outcomes):
        return 202
    return 503 if all(each.is_full for each in outcomes) else 409


def encode(outcomes: Sequence[Outcome], media_type: str) -> bytes:
    """Return the Store Instances Response.

    Args:
        outcomes: The outcome of each part, at least one.
        media_type: `JSON` or `XML`.
    """
    dataset = _dataset(outcomes)
    if media_type == JSON:
        return json.dumps(dataset).encode()
    root = Element("NativeDicomModel", xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM")
    _add_elements(root, dataset)
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root)


def _dataset(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return the response in the DICOM JSON Model (PS3.18 F.2).

    Retrieve URLs are empty: nothing can be retrieved from a node.
    """
    items: dict[str, list[dict[str, Any]]] = {_FAILED: [], _STORED: [], _OTHER: []}
    for each in outcomes:
        item: dict[str, Any] = {}
        if each.sop_instance_uid:
            item[_SOP_CLASS] = {"vr": "UI", "Value": [each.sop_class_uid]}
            item[_SOP_INSTANCE] = {"vr": "UI", "Value": [each.sop_instance_uid]}
        if each.failure is None:
            items[_STORED].append({**item, _RETRIEVE_URL: {"vr": "UR"}})
        else:
            item[_FAILURE] = {"vr": "US", "Value": [each.failure]}
            items[_FAILED if each.sop_instance_uid else _OTHER].append(item)
    found = {tag: {"vr": "SQ", "Value": value} for tag, value in items.items() if value}
    return {_RETRIEVE_URL: {"vr": "UR"}, **found}


def _add_elements(parent: Element, dataset: dict[str, Any]) -> None:
    """Add elements in the Native DICOM Model (PS3.19 A.1)."""
    for tag, element in dataset.items():
        said = {"tag": tag, "vr": element["vr"], "keyword": keyword_for_tag(tag)}
        made = SubElement(parent, "DicomAttribute", said)
        for number, value in enumerate(element.get("Value", ()), 1):
            if element["vr"] == "SQ":
                _add_elements(SubElement(made, "Item", number=str(number)), value)
            else:
                SubElement(made, "Value", number=str(number)).text = str(value)
