"""Faults on purpose, to see that a run notices each of them.

In: a seeded generator. Out: a process that dies, hangs or raises, by the case's kind.
"""

from __future__ import annotations

import ctypes
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

import numpy as np
import pyarrow as pa

from resources.mysql.kernels.cells import gather, locate
from tests.fuzz.guard import Guard
from tests.fuzz.guarded_heap import guarded_arrays


def _read_too_far() -> None:
    """A kernel reads the byte behind its input."""
    data = Guard(100).place(np.zeros(100, np.uint8))
    gather(locate(data, np.array([99], np.int64), 0, 2), pa.binary())


def _read_behind_an_array() -> None:
    with guarded_arrays():
        cells = locate(np.zeros(9, np.uint8), np.zeros(1, np.int64), 0, 2)
        gather(replace(cells, start=np.array([4096])), pa.binary())


def _write_behind_an_array() -> None:
    with guarded_arrays():
        array = np.zeros(13, np.uint8)
        ctypes.memset(array.ctypes.data + len(array), 0, 1)
        del array


def _hang() -> None:
    while True:
        pass


def _wait() -> None:
    signal.pause()


def _raise() -> None:
    raise KeyError("on purpose")


def _fill_memory() -> None:
    np.ones(1 << 45, np.uint8)


def _nothing() -> None:
    return


KINDS: dict[str, tuple[Callable[[], None], str]] = {
    "reads too far": (_read_too_far, "SIGSEGV"),
    "reads behind an array": (_read_behind_an_array, "SIGSEGV"),
    "writes behind an array": (_write_behind_an_array, "AssertionError"),
    "hangs": (_hang, "SIGPROF"),
    "waits": (_wait, "SIGALRM"),
    "raises": (_raise, "KeyError"),
    "fills memory": (_fill_memory, "MemoryError"),
    "nothing": (_nothing, ""),
}
"""By kind what a case does, and what a run has to say of it."""


@dataclass(frozen=True)
class FaultCase:
    """One case.

    Attributes:
        kind: Which of `KINDS`.
    """

    kind: str

    @property
    def content(self) -> bytes:
        """Its kind."""
        return self.kind.encode()


def make(rng: Random) -> FaultCase:
    """Return a fault."""
    return FaultCase(rng.choice(tuple(KINDS)))


def run(case: FaultCase) -> str:
    """Do what the case says."""
    KINDS[case.kind][0]()
    return "whole"


def warm_up() -> None:
    """Compile the kernels of `_read_too_far`."""
    gather(locate(np.zeros(9, np.uint8), np.array([1], np.int64), 0, 2), pa.binary())


def guard_inputs() -> None:
    """Do nothing: cases bring their own guard."""
