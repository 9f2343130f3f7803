"""Lets Sphinx read docstrings with the backticks of Markdown, and links to folders."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

_CODE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
_LINK_TO_FOLDER = re.compile(r"\[([^\]\n]+)\]\((?!\w+:)[^)#\s]*/\)")


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect to Sphinx."""
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("autodoc-process-docstring", _process_docstring, priority=400)  # napoleon: 500
    app.connect("source-read", _process_page)
    return {"parallel_read_safe": True}


def docstring_as_rest(text: str) -> str:
    """Return a docstring as reStructuredText.

    Code between single backticks may be followed by a letter (`UID`s) and hold a colon; a bar is
    a bar, not the beginning of a substitution.

    Args:
        text: The docstring, its code between single backticks as in Markdown.
    """
    parts = _CODE.split(text)
    words = [part.replace("|", r"\|") for part in parts[::2]]
    codes = [f"``{' '.join(part.split())}``" for part in parts[1::2]]
    pieces = [words[0]]
    for code, after in zip(codes, words[1:], strict=True):
        pieces += [code, rf"\ {after}" if after[:1].isalnum() else after]
    return "".join(pieces)


def _process_docstring(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    lines[:] = docstring_as_rest("\n".join(lines)).split("\n")


def _process_page(app: Sphinx, name: str, source: list[str]) -> None:
    source[0] = _LINK_TO_FOLDER.sub(r"\1", source[0])  # a folder has no page
