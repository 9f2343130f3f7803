"""Independent random streams, so that image i is the same for ever."""

from __future__ import annotations

import zlib

import numpy as np

PHANTOM_VERSION = 1
"""Part of every seed; raised whenever the same index would give other pixels."""


def random_stream(index: int, name: str) -> np.random.Generator:
    """Return the generator of one concern (such as `"lesions"`) of phantom `index`.

    Streams of different names are independent: a further draw in one leaves the others as they are.
    """
    key = zlib.crc32(name.encode("ascii"))
    seed = np.random.SeedSequence([PHANTOM_VERSION, index], spawn_key=(key,))
    return np.random.Generator(np.random.PCG64(seed))
