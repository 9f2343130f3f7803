"""The viewer's files: separate for a server, or as one script for a standalone page."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files

_FOLDER = files("monai_dental.viewer")
_IMPORT = re.compile(r"^import [^;]*? from \"\./([\w-]+\.js)\";\n", re.M | re.S)
_EXPORT = re.compile(r"^export (?=(?:class|const|function|async function|let) )", re.M)


def module_names() -> list[str]:
    """Return the file names of the viewer's modules."""
    folder = _FOLDER.joinpath("modules")
    return sorted(each.name for each in folder.iterdir() if each.name.endswith(".js"))


def module(name: str) -> str:
    """Return a module's text.

    Raises:
        KeyError: There is no such module.
    """
    if name not in module_names():
        raise KeyError(name)
    return _FOLDER.joinpath("modules").joinpath(name).read_text(encoding="utf-8")


def style() -> str:
    """Return the viewer's style sheet."""
    return _FOLDER.joinpath("viewer.css").read_text(encoding="utf-8")


def languages() -> dict[str, dict[str, str]]:
    """Return the words of each language by its tag, from one file each."""
    folder = _FOLDER.joinpath("languages")
    return {
        each.name.removesuffix(".json"): json.loads(each.read_text(encoding="utf-8"))
        for each in sorted(folder.iterdir(), key=lambda each: each.name)
        if each.name.endswith(".json")
    }


@cache
def single_script(*entries: str) -> str:
    """Return modules and all their imports as one script, for a page without a server.

    Browsers do not load modules from file URLs, so a standalone page holds them all in one element.
    The modules import each other only by name, from the same folder, and no two of them share a
    top-level name.
    """
    texts: dict[str, str] = {}

    def add(name: str) -> None:
        if name in texts:
            return
        texts[name] = ""  # avoids endless recursion if modules import each other
        text = module(name)
        for other in _IMPORT.findall(text):
            add(other)
        del texts[name]
        texts[name] = _EXPORT.sub("", _IMPORT.sub("", text))

    for entry in entries:
        add(entry)
    return "\n".join(texts.values())
