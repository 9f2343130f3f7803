"""Check style and run the tests nearest to the changed files in 30 seconds, for scripts/quick."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAST_START_S = 20.0
"""Seconds after the start when the last test may begin."""
END_S = 29.0
"""Seconds after the start when a running test is stopped."""


def main(arguments: list[str]) -> int:
    """Check the changed files, and run the tests nearest to them.

    Returns:
        0 if all checks that ran passed, else 1.
    """
    began = time.monotonic()
    changed = [Path(name).resolve() for name in arguments] or changed_files()
    changed = [path.relative_to(ROOT) for path in changed if path.is_relative_to(ROOT)]
    if not changed:
        print("nothing has changed")
        return 0
    code = [str(path) for path in changed if path.suffix == ".py" and (ROOT / path).is_file()]
    if code and not _is_styled(code):
        return 1
    tests = nearest_tests(changed)
    if not tests:
        print("no test is near; run scripts/test")
        return 0
    return _run(tests, began)


def changed_files() -> list[Path]:
    """Return the files that differ from the last commit, including new ones."""
    commands = (["diff", "--name-only", "HEAD"], ["ls-files", "--others", "--exclude-standard"])
    names = [
        subprocess.run(
            ["git", *command], cwd=ROOT, check=True, capture_output=True, text=True
        ).stdout.splitlines()
        for command in commands
    ]
    return [ROOT / name for name in sorted({*names[0], *names[1]})]


def nearest_tests(changed: list[Path]) -> list[Path]:
    """Return the test files that the changed files affect, the nearest first.

    Changed tests come first, then those named like a changed module, then those that import it, and
    last those named like the modules that import it.

    Args:
        changed: Paths below the checkout's root.
    """
    tests = {path: _imports(path) for path in sorted((ROOT / "tests").rglob("test_*.py"))}
    modules = {_module(path) for path in changed if path.parts[0] == "monai_dental"} - {None}
    modules |= {room for room in map(_room_that_offers, modules) if room}
    users = {
        _module(path.relative_to(ROOT))
        for path in (ROOT / "monai_dental").rglob("*.py")
        if modules and _imports(path) & modules
    } - {None}
    groups = [
        [path for path in tests if path.relative_to(ROOT) in changed],
        [path for path in tests for each in changed if path == _mirror(each)],
        [path for path, names in tests.items() if names & modules],
        [path for path in tests for user in users if path == _mirror(_path(str(user)))],
    ]
    rooms = {ROOT.joinpath("tests", *path.parts[1:-1]) for path in changed}
    for group in groups:
        group.sort(key=lambda path: path.parent not in rooms)  # those of the same room first
    return list(dict.fromkeys(path.relative_to(ROOT) for group in groups for path in group))


class Deadline:
    """A pytest plugin that starts no test after a time, and reports how many were left.

    Args:
        until: The time, on the clock of `time.monotonic`.
    """

    def __init__(self, until: float) -> None:
        self._until = until
        self._count = 0
        self._begun = 0
        self.has_stopped = False

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Count the tests."""
        self._count = len(items)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Count the tests that start."""
        self._begun += 1

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """End the session after the time."""
        if time.monotonic() > self._until and self._begun < self._count:
            self.has_stopped = True
            self._session.shouldstop = "time is up"

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Store the session, to end it later."""
        self._session = session

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Report how many tests were left."""
        left = self._count - self._begun
        if left > 0:
            terminalreporter.write_line(f"{left} more of {self._count} are for scripts/test")


def _run(tests: list[Path], began: float) -> int:
    command = [sys.executable, __file__, "--pytest", str(began + LAST_START_S), *map(str, tests)]
    environment = {"OMP_NUM_THREADS": "2", **os.environ}
    with subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True) as process:
        try:
            return process.wait(began + END_S - time.monotonic())
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            print("\ntime is up: the last test above did not end; run scripts/test with its file")
            return 1
        except KeyboardInterrupt:
            os.killpg(process.pid, signal.SIGKILL)
            return 130


def _is_styled(files: list[str]) -> bool:
    ruff = [sys.executable, "-m", "ruff"]
    results = [
        subprocess.run([*ruff, *command, *files], cwd=ROOT, check=False).returncode
        for command in (["check", "--quiet"], ["format", "--check", "--quiet"])
    ]
    if results[1]:
        print("these files are not formatted; run ruff format")
    return not any(results)


def _imports(path: Path) -> set[str | None]:
    """Return the modules of this package that a file imports from."""
    found: set[str | None] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def _module(path: Path) -> str | None:
    if path.suffix != ".py":
        return None
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def _room_that_offers(module: str | None) -> str | None:
    """Return the room whose `__init__` re-exports from a module."""
    room = str(module).rpartition(".")[0]
    init = ROOT / _path(room).with_suffix("") / "__init__.py"
    return room if init.is_file() and module in _imports(init) else None


def _path(module: str) -> Path:
    return Path(*module.split(".")).with_suffix(".py")


def _mirror(path: Path) -> Path | None:
    """Return the test file of a module, a script or a bundle, by name."""
    tests = ROOT / "tests"
    if path.parts[0] == "bundles":
        return tests / "bundles" / f"test_{path.parts[1].rpartition('_')[2]}.py"
    if path.suffix == ".md":
        return tests / "test_docs.py"
    if path.parts[0] == "monai_dental":
        return tests.joinpath(*path.parts[1:-1], f"test_{path.stem}.py")
    return tests.joinpath(*path.parts[:-1], f"test_{path.stem}.py")


def _run_pytest(until: float, tests: list[str]) -> int:
    deadline = Deadline(until)
    code = pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests], plugins=[deadline])
    right = code == 0 or (code == pytest.ExitCode.INTERRUPTED and deadline.has_stopped)
    return 0 if right else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--pytest"]:
        status = _run_pytest(float(sys.argv[2]), sys.argv[3:])
        sys.stdout.flush()
        os._exit(status)  # torch takes seconds to exit
    sys.exit(main(sys.argv[1:]))
