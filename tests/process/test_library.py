"""The library does not change the process that imports it; only a program's entry point may."""

from __future__ import annotations

import ast
from pathlib import Path

import monai_dental

PACKAGE = Path(monai_dental.__file__).parent
CALLS = {
    "os.environ.update", "os.environ.setdefault", "os.environ.pop", "os.putenv", "os.chdir",
    "os.umask", "signal.signal", "logging.disable", "logging.basicConfig",
    "warnings.simplefilter", "warnings.filterwarnings", "locale.setlocale",
    "socket.setdefaulttimeout", "torch.set_num_threads", "cv2.setNumThreads",
    "faulthandler.enable",
}  # fmt: skip
TARGETS = {
    "os.environ", "sys.excepthook", "threading.excepthook", "warnings.showwarning", "sys.modules",
}  # fmt: skip
MAY = {
    "cli": "entries of programs",
    "moved": "the names of modules that have moved",
    "batch/workers/local.py": "the entry of a worker process",
    "benchmark/speed.py": "likewise",
    "synthetic/export.py": "likewise",
    "batch/workers/ray.py": "for as long as Ray lives, and then as it was",
    "inference/backends.py": "for one import, and then as it was",
    "dicom/quiet.py": "within catch_warnings",
    "pacs/quiet.py": "which commands call, and nothing of the library",
    "web/engine.py": "within catch_warnings",
    "web/server.py": "a program of its own, which `cli/serve.py` runs, and then as it was",
    "report/pairs.py": "within catch_warnings",
    "process/threads.py": "for one computation, and then as it was",
}


def changes(path: Path) -> list[str]:
    """The changes that a source file makes to its process."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in CALLS:
            found.append(ast.unparse(node.func))
        targets = node.targets if isinstance(node, ast.Assign | ast.Delete) else ()
        for target in targets:
            name = ast.unparse(target.value if isinstance(target, ast.Subscript) else target)
            if name in TARGETS:
                found.append(name)
    return found


def test_only_entries_of_programs_change_the_process():
    found = {
        str(path.relative_to(PACKAGE)): names
        for path in sorted(PACKAGE.rglob("*.py"))
        if (names := changes(path))
    }

    assert {
        path: names
        for path, names in found.items()
        if not any(path == place or path.startswith(f"{place}/") for place in MAY)
    } == {}
    for place in MAY:  # none is left that needs no leave any more
        assert any(path == place or path.startswith(f"{place}/") for path in found), place
