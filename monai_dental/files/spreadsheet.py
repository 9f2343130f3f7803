"""Text for cells of a spreadsheet."""

from __future__ import annotations

_ACTIVE = ("=", "+", "-", "@", "\t", "\r")


def as_cell(value: object) -> object:
    """Return what a spreadsheet shows as the text that it is, and does not run as a formula.

    Args:
        value: What goes into a CSV file. Text that a spreadsheet would take for a formula gets an
            apostrophe before it, by which all of them know text; anything else stays.
    """
    is_active = isinstance(value, str) and value.startswith(_ACTIVE)
    return f"'{value}" if is_active else value
