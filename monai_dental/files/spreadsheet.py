"""Safe text for spreadsheet cells."""

from __future__ import annotations

_ACTIVE = ("=", "+", "-", "@", "\t", "\r")


def as_cell(value: object) -> object:
    """Return a value that a spreadsheet shows as text and does not evaluate as a formula.

    Args:
        value: Value for a CSV file. Text that a spreadsheet would take for a formula gets a leading
            apostrophe, which all spreadsheets take as a mark of text; other values are unchanged.
    """
    is_active = isinstance(value, str) and value.startswith(_ACTIVE)
    return f"'{value}" if is_active else value
