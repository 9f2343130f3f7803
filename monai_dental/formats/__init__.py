"""Reading and writing of the supported image formats."""

from monai_dental.formats.registry import (
    SUFFIXES,
    is_supported_name,
    read_radiograph,
    write_radiograph,
)

__all__ = ["SUFFIXES", "is_supported_name", "read_radiograph", "write_radiograph"]
