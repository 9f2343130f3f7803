"""The files around the code: workflow, forms, citation, hooks, and version numbers."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import monai_dental

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

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


@pytest.mark.parametrize("path", sorted(ROOT.glob("bundles/*/configs/metadata.json")))
def test_bundles_ask_for_versions_that_go_together(path):
    metadata = json.loads(path.read_text(encoding="utf-8"))
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8")

    assert metadata["required_packages_version"]["monai_dental"] == monai_dental.__version__
    # That of the oldest Python, so that each can install it.
    for name in ("monai", "numpy", "torch"):
        version = metadata["pytorch_version" if name == "torch" else f"{name}_version"]
        assert re.search(
            rf"^{name}=={re.escape(version)}( ; python_full_version < '3.11')?$", pins, re.M
        )


def test_constraints_pin_what_each_extra_names():
    # Those of `label` are for an environment of its own, with constraints-label.txt.
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {k: v for k, v in project["optional-dependencies"].items() if k != "label"}
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = {
        canonicalize_name(pin.name): next(iter(pin.specifier)).version
        for pin in of_this_python(line for line in lines if not line.startswith("#"))
    }

    wanted = of_this_python(chain(project["dependencies"], *extras.values()))

    assert len(wanted) > 50
    for requirement in wanted:
        if requirement.name != project["name"]:
            version = pins.get(canonicalize_name(requirement.name))
            assert version, requirement
            assert requirement.specifier.contains(version), requirement


def test_constraints_of_label_add_to_the_others_alone():
    pinned = [
        {
            canonicalize_name(Requirement(line).name)
            for line in (ROOT / name).read_text(encoding="utf-8").splitlines()
            if not line.startswith(("#", "-c "))
        }
        for name in ("constraints.txt", "constraints-label.txt")
    ]

    assert not pinned[0] & pinned[1]


def of_this_python(lines):
    requirements = map(Requirement, lines)
    return [each for each in requirements if each.marker is None or each.marker.evaluate()]
