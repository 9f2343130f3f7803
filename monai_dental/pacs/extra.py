"""Optional packages that the PACS adapters need."""

from __future__ import annotations

import importlib

from monai_dental.errors import MissingPackageError, extra_needed


def require(package: str) -> None:
    """Check that a package of the extra `pacs` is installed, by its import name.

    Raises:
        MissingPackageError: It is not.
    """
    try:
        importlib.import_module(package)
    except ImportError as error:
        raise MissingPackageError(
            f"{package} is not installed in this environment; {extra_needed('pacs')}"
        ) from error
