"""Memory that the C library keeps."""

from __future__ import annotations

import ctypes
import platform
import subprocess
import sys

import pytest

from monai_dental.process.memory import keep_freed_memory

# Allocates 24 MiB and frees them; prints how much of it the system gave for this block alone, and
# how much the C library has kept.
_ALLOCATE = """
import ctypes
from monai_dental.process.memory import keep_freed_memory

class Info(ctypes.Structure):
    _fields_ = [(f"field_{n}", ctypes.c_size_t) for n in range(10)]

library = ctypes.CDLL(None)
library.mallinfo2.restype = Info
library.malloc.restype = ctypes.c_void_p
library.free.argtypes = [ctypes.c_void_p]
if KEPT:
    keep_freed_memory()
before = library.mallinfo2().field_4
block = library.malloc(24 << 20)
alone = library.mallinfo2().field_4 - before
library.free(block)
print(alone >> 20, library.mallinfo2().field_9 >> 20)
"""


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc" or not hasattr(ctypes.CDLL(None), "mallinfo2"),
    reason="needs glibc 2.33 or later",
)
def test_freed_blocks_are_kept():
    figures = []
    for kept in (False, True):
        command = [sys.executable, "-c", _ALLOCATE.replace("KEPT", str(kept))]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        figures.append([int(word) for word in done.stdout.split()])

    assert figures[0] == [24, 0]
    assert figures[1][0] == 0
    assert figures[1][1] >= 24


def test_nothing_happens_where_the_c_library_has_no_such_option(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())

    keep_freed_memory()
