"""What stands around the code: workflow, forms, citation, hooks, and where versions are told."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import monai_dental

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.mark.parametrize(
    ("schema", "pattern"),
    [
        ("github-workflows", ".github/workflows/*.yml"),
        ("github-issue-forms", ".github/ISSUE_TEMPLATE/[!c]*.yml"),
        ("github-issue-config", ".github/ISSUE_TEMPLATE/config.yml"),
        ("citation-file-format", "CITATION.cff"),
    ],
)
def test_file_is_what_its_reader_takes(schema, pattern):
    files = sorted(ROOT.glob(pattern))
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}"]

    done = subprocess.run([*command, *files], capture_output=True, text=True, check=False)

    assert files
    assert done.returncode == 0, done.stdout


def test_workflow_runs_what_ci_runs():
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")

    assert re.search(r"run: .*\bbash \.ci/run$", text, re.M)


@pytest.mark.skipif(not shutil.which("actionlint"), reason="no actionlint; pipx install it")
def test_actionlint_finds_nothing():
    done = subprocess.run(["actionlint", *WORKFLOWS], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout


def test_hook_formats_a_file_before_it_is_committed(tmp_path):
    shutil.copy(ROOT / ".pre-commit-config.yaml", tmp_path)
    (tmp_path / ".venv").symlink_to(sys.prefix, target_is_directory=True)
    source = tmp_path / "sums.py"
    source.write_text("x=1\n")
    environment = {**os.environ, "PRE_COMMIT_HOME": str(tmp_path / "cache")}
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    subprocess.run(["git", "add", source.name, ".pre-commit-config.yaml"], cwd=tmp_path, check=True)
    command = [sys.executable, "-m", "pre_commit", "run", "ruff-format"]

    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )

    assert done.returncode == 1, done.stdout
    assert source.read_text() == "x = 1\n"


def test_version_of_the_project_is_told_in_one_place():
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("docs/**/*.ipynb")]
    others = [ROOT / "CITATION.cff", ROOT / "pyproject.toml", ROOT / "docs" / "conf.py", *WORKFLOWS]
    version = re.compile(rf"(?<![\d.]){re.escape(monai_dental.__version__)}(?![\d.])")

    for path in {*pages, *others} - {ROOT / "CHANGELOG.md"}:
        assert not version.search(path.read_text(encoding="utf-8")), path
