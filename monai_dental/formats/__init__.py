"""Image formats: what is read, and how it is written back."""

from monai_dental.formats.registry import (
    SUFFIXES,
    is_supported_name,
    read_radiograph,
    write_radiograph,
)

__all__ = ["SUFFIXES", "is_supported_name", "read_radiograph", "write_radiograph"]
