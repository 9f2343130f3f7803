"""Cores and memory that this process may use."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

_OWN_GROUPS = Path("/proc/self/cgroup")
_GROUPS = Path("/sys/fs/cgroup")


def usable_cores() -> int:
    """Return the number of cores this process may use; containers or batch systems may limit it."""
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    for group in _control_groups("cpu"):
        limit = _words(group / "cpu.max") or [
            *_words(group / "cpu.cfs_quota_us"), *_words(group / "cpu.cfs_period_us")
        ]  # fmt: skip
        if len(limit) == 2 and limit[0].isdecimal():
            cores = min(cores, math.ceil(int(limit[0]) / int(limit[1])))
    return max(1, cores)


def memory_mb() -> int:
    """Return the memory in MiB that this process and others in its container may use."""
    limits = [_installed_bytes()]
    for group in _control_groups("memory"):
        words = _words(group / "memory.max") + _words(group / "memory.limit_in_bytes")
        limits += [int(word) for word in words if word.isdecimal()]
    return min(limits) >> 20


def _installed_bytes() -> int:
    if hasattr(os, "sysconf"):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    import psutil

    return int(psutil.virtual_memory().total)


def _control_groups(controller: str) -> Iterator[Path]:
    """Yield the folders of this process's control groups, v2 and v1, up to the root.

    A container may see its group at the host's path, with its own group mounted as the root.
    """
    for line in _text(_OWN_GROUPS).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = _GROUPS / controller if controllers else _GROUPS
        group = root / path.strip("/")
        yield root
        while group != root:
            yield group
            group = group.parent


def _words(path: Path) -> list[str]:
    return _text(path).split()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
