"""What the tests of the command line share."""

from __future__ import annotations

import pytest


@pytest.fixture
def png(radiograph_file, picture):
    return radiograph_file(picture(8, rows=48, columns=40), ".png")
