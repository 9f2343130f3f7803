"""Independent random streams, which keep image i the same forever."""

from __future__ import annotations

import zlib

import numpy as np

PHANTOM_VERSION = 1
"""Part of every seed; incremented when the same index would give different pixels."""


def random_stream(index: int, name: str) -> np.random.Generator:
    """Return the random generator for one purpose (such as `"lesions"`) of phantom `index`.

    Streams of different names are independent: an additional draw in one does not affect the
    others.
    """
    key = zlib.crc32(name.encode("ascii"))
    seed = np.random.SeedSequence([PHANTOM_VERSION, index], spawn_key=(key,))
    return np.random.Generator(np.random.PCG64(seed))
