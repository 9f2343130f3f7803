"""What is reported of unexpected errors."""

from __future__ import annotations

import inspect
import re

import numpy as np
import pytest

from monai_dental import filters
from monai_dental.errors import unexpected
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
