#!/usr/bin/env python3
"""Draw docs/images/architecture.svg: the path of the data, and the rooms on their floors.

The floors are those in tests/test_layout.py; rooms that are not listed there are not drawn.
"""

from __future__ import annotations

import ast
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "images" / "architecture.svg"

WIDTH = 960
FLOOR_HEIGHT = 44
FLOORS_TOP = 196

WAY = (
    ("file or PACS", "DICOM, JPG, PNG, …"),
    ("formats, dicom", "read"),
    ("Radiograph", "pixels, encoding"),
    ("inference", "a bundle's network"),
    ("formats, dicom", "write"),
    ("file or PACS", "the same format"),
)


STYLE = """
  svg { --text: #1b1f24; --faint: #57606a; --box: #f6f8fa; --edge: #8c959f; --accent: #0969da; }
  @media (prefers-color-scheme: dark) {
    svg { --text: #e6edf3; --faint: #9198a1; --box: #212830; --edge: #6e7681; --accent: #58a6ff; }
    .ground { fill: #131416; }
  }
  .ground { fill: #ffffff; }
  .box { fill: var(--box); stroke: var(--edge); }
  .value { fill: var(--box); stroke: var(--accent); stroke-width: 2; }
  .arrow { stroke: var(--edge); stroke-width: 1.5; marker-end: url(#tip); }
  .tip { fill: var(--edge); }
  .name { fill: var(--text); }
  .note { fill: var(--faint); font-size: 12px; }
  .title { fill: var(--faint); }
"""
"""Styles that follow the reader's theme; a background of its own keeps it legible on any page."""


def read_floors() -> list[list[str]]:
    """Return the rooms of each floor, from the top down."""
    tree = ast.parse((ROOT / "tests" / "test_layout.py").read_text(encoding="utf-8"))
    (value,) = (
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id == "FLOORS"
    )
    package = ROOT / "monai_dental"
    floors = [
        [
            room
            for room in rooms.split()
            if (package / room).is_dir() or (package / f"{room}.py").is_file()
        ]
        for rooms in ast.literal_eval(value)
    ]
    return [rooms for rooms in reversed(floors) if rooms]


def draw(floors: list[list[str]]) -> str:
    """Return the drawing as SVG.

    Args:
        floors: The rooms of each floor, from the top down.
    """
    height = FLOORS_TOP + FLOOR_HEIGHT * len(floors) + 20
    title = "The rooms: each imports only from rooms on floors below its own"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        'font-family="system-ui, sans-serif" font-size="14" text-anchor="middle">',
        "<title>The way of the data through the package, and its rooms on their floors</title>",
        f"<style>{STYLE}</style>",
        '<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" '
        'markerHeight="7" orient="auto"><path class="tip" d="M0 0L10 5L0 10z"/></marker></defs>',
        f'<rect class="ground" width="{WIDTH}" height="{height}" rx="8"/>',
        _text(WIDTH / 2, 28, "The way of the data", "title"),
        *_draw_way(),
        _text(WIDTH / 2, FLOORS_TOP - 22, title, "title"),
    ]
    for number, rooms in enumerate(floors):
        parts += _draw_floor(rooms, FLOORS_TOP + FLOOR_HEIGHT * number)
    parts.append(f'<path class="arrow" d="M40 {FLOORS_TOP + 6}V{height - 28}"/>')
    return "\n".join([*parts, "</svg>", ""])


def _draw_way() -> list[str]:
    parts = []
    step = (WIDTH - 20) / len(WAY)
    for number, (name, note) in enumerate(WAY):
        left = 10 + step * number
        middle = left + step / 2
        kind = "value" if name == "Radiograph" else "box"
        parts.append(_box(left + 9, 48, step - 18, 62, kind))
        parts.append(_text(middle, 75, name, "name"))
        parts.append(_text(middle, 96, note, "note"))
        if number:
            parts.append(f'<path class="arrow" d="M{left - 8:.0f} 79H{left + 8:.0f}"/>')
    note = "denoise, batch, node and label all take this way; training reads the same radiographs"
    return [*parts, _text(WIDTH / 2, 136, note, "note")]


def _draw_floor(rooms: list[str], top: float) -> list[str]:
    width, gap = 124, 14
    left = (WIDTH - len(rooms) * width - (len(rooms) - 1) * gap) / 2
    parts = []
    for number, room in enumerate(rooms):
        x = left + number * (width + gap)
        kind = "value" if room == "radiograph" else "box"
        parts.append(_box(x, top, width, FLOOR_HEIGHT - 12, kind))
        parts.append(_text(x + width / 2, top + 21, room, "name"))
    return parts


def _box(left: float, top: float, width: float, height: float, kind: str) -> str:
    return (
        f'<rect class="{kind}" x="{left:.0f}" y="{top:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" rx="6"/>'
    )


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.0f}" y="{y:.0f}">{escape(text)}</text>'


if __name__ == "__main__":
    PICTURE.write_text(draw(read_floors()), encoding="utf-8")
