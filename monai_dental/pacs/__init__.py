"""Picture archives (PACS), by DIMSE and by DICOMweb: where instances come from and go to."""

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
