"""What is reported of unexpected errors."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import numpy as np
import pytest

from monai_dental import filters
from monai_dental.errors import unexpected, without_path
from monai_dental.filters import blend


def test_unexpected_error_is_told_by_kind_and_the_last_line_of_the_package():
    with pytest.raises(TypeError) as caught:
        blend(np.zeros((2, 2), np.float32), None, 0.5)

    told = unexpected(caught.value)

    place = re.fullmatch(r"unexpected TypeError at filters\.py:(\d+)", told)
    lines, first = inspect.getsourcelines(filters.blend)
    assert first <= int(place[1]) < first + len(lines)


def test_unexpected_error_from_elsewhere_has_no_place():
    assert unexpected(ValueError("MARKER")) == "unexpected ValueError"


def test_message_about_a_file_is_told_without_its_path():
    path = Path("/a/b.png")

    for prefix in ("", "file "):
        text = f"{prefix}{path}: cannot be read; {path} is gone"
        assert without_path(text, path) == "cannot be read; the file is gone"
    assert without_path(OSError(f"{path} is gone"), path, "the mask") == "the mask is gone"
    assert without_path("/a/c.png: is gone", path) == "/a/c.png: is gone"
