"""What some work took: wall time, and processor time of this process and of all it started.

In: a `with` block. Out: seconds. On a busy machine the processor time is what to compare; a
database server that this process started counts as part of the work.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_TICKS = os.sysconf("SC_CLK_TCK")
_PARENT, _TIMES = 1, slice(11, 15)
"""Fields of /proc/<pid>/stat behind the name: the parent; own and ended children's times."""


@dataclass(frozen=True)
class Spent:
    """What some work took.

    Args:
        seconds: Wall time.
        cpu: Processor seconds, all threads and processes.
    """

    seconds: float
    cpu: float

    @classmethod
    def least(cls, runs: Sequence[Self]) -> Self:
        """Return the best of several runs, each of the two by itself."""
        return cls(min(r.seconds for r in runs), min(r.cpu for r in runs))


class Clock:
    """Measures a `with` block; `spent` is there once the block has ended."""

    spent: Spent

    def __enter__(self) -> Self:
        self._cpu = family_cpu()
        self._began = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        seconds = time.perf_counter() - self._began
        self.spent = Spent(seconds, family_cpu() - self._cpu)


def family_cpu() -> float:
    """Return processor seconds of this process and its descendants so far, to the kernel's tick."""
    stats = {int(p.name): found for p in Path("/proc").glob("[0-9]*") for found in _stat(p)}
    parents = {pid: int(fields[_PARENT]) for pid, fields in stats.items()}
    family = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    ended_too = sum(int(t) for pid in family - {os.getpid()} for t in stats[pid][_TIMES])
    own = os.times()
    return sum(own[:4]) + ended_too / _TICKS


def _stat(process: Path) -> Iterator[list[str]]:
    with suppress(OSError):  # it has ended
        # The name in brackets may hold spaces; what follows it does not.
        yield (process / "stat").read_text().rpartition(")")[2].split()
