"""What scripts/quick runs: style, and the tests nearest to the changed files, in 30 seconds."""

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
"""No test begins later than this after the start."""
END_S = 29.0
"""A test that runs until then is ended."""


def main(arguments: list[str]) -> int:
    """Check the changed files, and run the tests that are nearest to them.

    Returns:
        0 = all that was run is right, 1 = something is not.
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
    """Return the files that differ from the last commit, new ones too."""
    commands = (["diff", "--name-only", "HEAD"], ["ls-files", "--others", "--exclude-standard"])
    names = [
        subprocess.run(
            ["git", *command], cwd=ROOT, check=True, capture_output=True, text=True
        ).stdout.splitlines()
        for command in commands
    ]
    return [ROOT / name for name in sorted({*names[0], *names[1]})]


def nearest_tests(changed: list[Path]) -> list[Path]:
    """Return the test files that changed files touch, the nearest first.

    Changed tests come first; then those that mirror a changed module by their names; those that
    import it; and those that mirror the modules that import it.

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
        group.sort(key=lambda path: path.parent not in rooms)  # those of the room first
    return list(dict.fromkeys(path.relative_to(ROOT) for group in groups for path in group))


class Deadline:
    """A pytest plugin: lets no test begin after a moment, and tells how many were left.

    Args:
        until: The moment, of `time.monotonic`.
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
        """Count the tests that begin."""
        self._begun += 1

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """End the session after the moment."""
        if time.monotonic() > self._until and self._begun < self._count:
            self.has_stopped = True
            self._session.shouldstop = "time is up"

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Keep the session, to end it."""
        self._session = session

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Tell how many tests were left."""
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
        print("the format of these files is not ruff's; run ruff format")
    return not any(results)


def _imports(path: Path) -> set[str | None]:
    """The modules of this package that a file imports from."""
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
    """The room whose `__init__` re-exports from a module."""
    room = str(module).rpartition(".")[0]
    init = ROOT / _path(room).with_suffix("") / "__init__.py"
    return room if init.is_file() and module in _imports(init) else None


def _path(module: str) -> Path:
    return Path(*module.split(".")).with_suffix(".py")


def _mirror(path: Path) -> Path | None:
    """The test file of a module, a script or a bundle, by their names."""
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
        os._exit(status)  # torch takes seconds to leave
    sys.exit(main(sys.argv[1:]))
