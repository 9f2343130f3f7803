"""Conversion of DICOM datasets to radiographs, and of results to derived instances."""

from monai_dental.dicom.derive import Derivation, derive, encode_dataset
from monai_dental.dicom.quiet import PYDICOM_ERRORS, instance_name, quiet_pydicom
from monai_dental.dicom.read import read_dataset, to_radiograph

__all__ = [
    "PYDICOM_ERRORS",
    "Derivation",
    "derive",
    "encode_dataset",
    "instance_name",
    "quiet_pydicom",
    "read_dataset",
    "to_radiograph",
]
