"""Picture archives (PACS) as source and target of instances, by DIMSE and DICOMweb."""

from monai_dental.pacs.address import (
    Address,
    DicomwebAddress,
    DimseAddress,
    is_pacs,
    parse_address,
)
from monai_dental.pacs.retry import Patience

__all__ = [
    "Address",
    "DicomwebAddress",
    "DimseAddress",
    "Patience",
    "is_pacs",
    "parse_address",
]
