"""Everything that the documentation mentions exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("bundles/*/docs/*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_tests_and_scripts_that_a_page_names_are_there(page):
    text = page.read_text(encoding="utf-8")
    for name, test in re.findall(r"`([\w/]*test_\w+\.py)(?:::(\w+))?", text):
        path = ROOT / "tests" / name.removeprefix("tests/")
        assert path.is_file(), name
        assert not test or f"def {test}(" in path.read_text(encoding="utf-8"), f"{name}::{test}"
    for name in re.findall(r"(?<!/)\bscripts/[\w/.-]*\w", text):
        assert (ROOT / name).exists(), name
