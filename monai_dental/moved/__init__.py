"""Where modules were up to version 0.1: its bundles, and other programs, still use these names.

This folder is on the package's search path, behind the package itself: each file in it stands for
a module of its name in `monai_dental`, warns, and leads to the new place.
"""

import importlib
import sys
import warnings


def lead(old: str, new: str) -> None:
    """Make the old name of a module the new module.

    Args:
        old: The old name, in full.
        new: The new one, in full.
    """
    warnings.warn(f"{old} has moved to {new}", DeprecationWarning, stacklevel=3)
    sys.modules[old] = importlib.import_module(new)
