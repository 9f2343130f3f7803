"""What the adapters need beyond the package itself."""

from __future__ import annotations

import importlib

from monai_dental.errors import MissingPackageError, extra_needed


def require(package: str) -> None:
    """Check that a package of the extra `pacs` is there.

    Args:
        package: Its import name.

    Raises:
        MissingPackageError: It is not.
    """
    try:
        importlib.import_module(package)
    except ImportError as error:
        raise MissingPackageError(
            f"{package} is not in this environment; {extra_needed('pacs')}"
        ) from error
