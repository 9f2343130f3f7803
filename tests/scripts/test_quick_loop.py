"""scripts/quick: the tests that are nearest to a change, in under 30 seconds."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def loop(load_script):
    return load_script("quick_loop")


def nearest(loop, *names):
    return [path.as_posix() for path in loop.nearest_tests([Path(name) for name in names])]


def test_test_of_the_same_name_comes_first_and_those_that_import_it_follow(loop):
    tests = nearest(loop, "monai_dental/noise/estimate.py")

    assert tests[0] == "tests/noise/test_estimate.py"
    assert tests[1] == "tests/noise/test_model.py"
    assert "tests/report/test_compare.py" in tests  # of a module that uses it


def test_changed_test_is_run_itself(loop):
    assert nearest(loop, "tests/test_layout.py") == ["tests/test_layout.py"]


@pytest.mark.parametrize(
    ("changed", "test"),
    [
        ("bundles/dental_xray_denoising_dae/configs/train.json", "tests/bundles/test_dae.py"),
        ("docs/scale.md", "tests/test_docs.py"),
        ("scripts/quick_loop.py", "tests/scripts/test_quick_loop.py"),
    ],
)
def test_other_files_have_their_tests_too(loop, changed, test):
    assert nearest(loop, changed) == [test]


@pytest.fixture
def checkout(tmp_path):
    """A checkout of one tested module."""
    for name in ("pyproject.toml", "scripts/quick_loop.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "monai_dental").mkdir()
    (tmp_path / "monai_dental" / "__init__.py").touch()
    (tmp_path / "monai_dental" / "sums.py").write_text(
        '"""Sums."""\n\n\ndef twice(x: int) -> int:\n    """Twice."""\n    return 2 * x\n'
    )
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_sums.py").write_text(
        "from monai_dental.sums import twice\n\n\ndef test_twice():\n    assert twice(2) == 4\n"
    )
    return tmp_path


def run_loop(checkout, *names):
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    command = [sys.executable, checkout / "scripts" / "quick_loop.py"]
    return subprocess.run(
        [*command, *(checkout / name for name in names)],
        cwd=checkout, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_line_that_is_wrong_is_found(checkout):
    assert run_loop(checkout, "monai_dental/sums.py").returncode == 0

    module = checkout / "monai_dental" / "sums.py"
    module.write_text(module.read_text().replace("2 * x", "3 * x"))
    done = run_loop(checkout, "monai_dental/sums.py")

    assert done.returncode == 1
    assert "assert 6 == 4" in done.stdout


def test_style_is_checked_first(checkout):
    module = checkout / "monai_dental" / "sums.py"
    module.write_text(module.read_text().replace("2 * x", "2*x"))

    done = run_loop(checkout, "monai_dental/sums.py")

    assert done.returncode == 1
    assert "run ruff format" in done.stdout


def test_no_test_begins_late_and_what_is_left_is_counted(checkout):
    script = checkout / "scripts" / "quick_loop.py"
    script.write_text(script.read_text().replace("LAST_START_S = 20.0", "LAST_START_S = 0.0"))
    test = checkout / "tests" / "test_sums.py"
    test.write_text(test.read_text() + "\n\ndef test_late():\n    raise AssertionError\n")

    done = run_loop(checkout, "monai_dental/sums.py")

    assert done.returncode == 0
    assert "1 more of 2 are for scripts/test" in done.stdout


def test_test_that_does_not_end_is_ended(checkout):
    script = checkout / "scripts" / "quick_loop.py"
    script.write_text(script.read_text().replace("END_S = 29.0", "END_S = 4.0"))
    test = checkout / "tests" / "test_sums.py"
    test.write_text("import threading\n\n\ndef test_sums():\n    threading.Event().wait(300)\n")
    began = time.monotonic()

    done = run_loop(checkout, "tests/test_sums.py")

    assert done.returncode == 1
    assert "time is up" in done.stdout
    assert time.monotonic() - began < 60
