"""Writes a page of the API reference for each room of the package before Sphinx reads them."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import monai_dental

if TYPE_CHECKING:
    from sphinx.application import Sphinx

PACKAGE = Path(monai_dental.__file__).parent
NOT_ROOMS = {"moved", "shipped_bundles"}


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect to Sphinx."""
    app.connect("builder-inited", lambda app: write_pages(Path(app.srcdir) / "api" / "rooms"))
    return {"parallel_read_safe": True}


def write_pages(folder: Path) -> None:
    """Write a page for each room, and one for the modules of the package's root.

    Args:
        folder: Where the pages go. Pages of rooms that are gone are removed, and pages that would
            not change are left alone, so that Sphinx does not read them again.
    """
    rooms = {
        path.parent.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("__init__.py")
        if path.parent != PACKAGE
    }
    pages = {
        f"{room.replace('/', '.')}.md": _page(PACKAGE / room, f"{room}/")
        for room in rooms
        if room.split("/")[0] not in NOT_ROOMS
    }
    pages["root.md"] = _page(PACKAGE, "The modules of the root")
    folder.mkdir(parents=True, exist_ok=True)
    for path in set(folder.glob("*.md")) - {folder / name for name in pages}:
        path.unlink()
    for name, text in pages.items():
        path = folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def _page(folder: Path, title: str) -> str:
    docstring = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8")))
    lines = [f"# {title}", "", (docstring or "") if folder != PACKAGE else "", ""]
    for path in sorted(folder.glob("*.py")):
        if path.stem in ("__init__", "__main__"):
            continue
        module = ".".join((PACKAGE.name, *path.relative_to(PACKAGE).with_suffix("").parts))
        lines += [f"## {path.stem}", "", "```{eval-rst}"]
        lines += [f".. automodule:: {module}", "   :members:", "```", ""]
    return "\n".join(lines)
