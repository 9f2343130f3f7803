"""How the C library treats memory that was freed."""

from __future__ import annotations

import ctypes
from contextlib import suppress

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h
_KEPT, _LARGEST = 512 << 20, 32 << 20  # bytes; mallopt accepts no larger threshold than the second


def keep_freed_memory() -> None:
    """Let glibc keep freed memory for later allocations; do nothing with other C libraries.

    Each step of a training allocates and frees the same blocks. By default glibc returns blocks of
    some megabytes to the system, and at the next allocation the system clears each of their pages.
    After this call it keeps blocks of up to 32 MiB, 512 MiB of them at the top of each arena.

    References:
        mallopt(3).
    """
    with suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, _LARGEST)
        mallopt(_M_TRIM_THRESHOLD, _KEPT)
