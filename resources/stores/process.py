"""Which process holds something, and whether it can still be alive.

In: this machine's process table. Out: a text that names a process for good, so that what a killed
process held need not wait for a time-out on the machine it died on.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

_PROC = Path("/proc")


def this_process() -> str:
    """Return `boot id/pid namespace/pid/start time`; empty where the system cannot tell.

    The start time tells a process from a later one with its number; boot id and namespace tell
    whether a reader sees the same process table (see proc(5)).
    """
    space = _space()
    started = _started(os.getpid())
    return f"{space}/{os.getpid()}/{started}" if space and started else ""


def is_gone(process: str) -> bool:
    """Return True only if the process is known to have ended: same boot, same table, not in it."""
    space, _, rest = process.rpartition("/")
    space, _, pid = space.rpartition("/")
    if not space or space != _space() or not pid.isdigit():
        return False
    return _started(int(pid)) != rest


@lru_cache(maxsize=1)
def _space() -> str:
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{(_PROC / 'self/ns/pid').readlink()}"
    except OSError:
        return ""


def _started(pid: int) -> str:
    """Return a process's start time in clock ticks, empty if it is not there or a zombie."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()  # the name before may hold anything
    return "" if fields[0] in "ZX" else fields[19]
