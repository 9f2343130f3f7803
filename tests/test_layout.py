"""The rooms of the package: each imports only from rooms below it; docs/design.md is the map."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import monai_dental

PACKAGE = Path(monai_dental.__file__).parent

FLOORS = (
    "errors filters metrics process",
    "radiograph networks files noise",
    "dicom",
    "formats phantom bundle",
    "synthetic transforms inference",
    "training",
    "batch benchmark viewer",
    "report",
    "pacs web",
    "label",
    "node",
    "cli",
)
"""From the floor to the roof. Rooms of one floor do not import each other."""

MOVED = {path.stem for path in (PACKAGE / "moved").glob("*.py")} - {"__init__"}


def imported_rooms(path: Path) -> set[str]:
    """The rooms of the package that a file imports from, anywhere in the file."""
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    parts = [name.split(".") for name in names]
    return {part[1] for part in parts if part[0] == "monai_dental" and len(part) > 1}


def test_each_room_imports_only_from_rooms_below_it():
    floor = {room: number for number, rooms in enumerate(FLOORS) for room in rooms.split()}
    upward = []
    for path in sorted(PACKAGE.rglob("*.py")):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if room in ("__init__", "__main__", "moved", "shipped_bundles"):
            continue
        for other in imported_rooms(path) - {room, "__version__"}:
            if floor[other] >= floor[room]:
                upward.append(f"{path.relative_to(PACKAGE)} imports {other}")

    assert not upward


def test_no_module_lies_loose_but_the_four():
    loose = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__"}

    assert loose == {"errors", "radiograph", "filters", "metrics"}


def test_denoising_loads_neither_monai_nor_phantoms_nor_ray_nor_pacs(
    radiograph_file, picture, tmp_path
):
    path = radiograph_file(picture(8), ".png")
    code = (
        "import sys; from monai_dental.cli import main; "
        f"main(['denoise', {str(path)!r}, '--output', {str(tmp_path / 'out')!r}]); "
        "print(sorted(name for name in sys.modules if name.startswith('monai_dental.')), "
        "{'monai', 'ignite', 'scipy', 'pandas', 'matplotlib', 'ray'} & set(sys.modules))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert (tmp_path / "out" / path.name).is_file()
    assert done.stdout.endswith("set()\n")
    for room in ("phantom", "synthetic", "training", "pacs", "node", "label", "benchmark"):
        assert f"monai_dental.{room}" not in done.stdout


def test_public_names_are_those_of_the_rooms():
    for name in monai_dental.__all__:
        assert getattr(monai_dental, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'Denoisr'"):
        _ = monai_dental.Denoisr


@pytest.mark.parametrize("name", sorted(MOVED))
def test_old_place_of_a_module_leads_to_the_new_one(name):
    old = f"monai_dental.{name}"
    sys.modules.pop(old, None)
    with pytest.warns(DeprecationWarning, match=f"{old} has moved to monai_dental") as caught:
        module = importlib.import_module(old)

    new = next(str(each.message) for each in caught if old in str(each.message)).split()[-1]
    assert module is importlib.import_module(new)


def test_every_name_that_bundles_of_version_0_1_hold_is_still_found():
    names = json.loads(Path(__file__).with_name("names_of_version_0_1.json").read_text("utf-8"))
    for name in names:
        module, _, attribute = name.rpartition(".")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            found = importlib.import_module(module)
        assert hasattr(found, attribute), name
