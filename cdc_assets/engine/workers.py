"""Threads for work on several parts of the same rows, as many as this process has cores.

In: a function and parts, none of which needs another's outcome. Out: the outcomes, in order.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def side_by_side(work: Callable[[T], R], parts: Sequence[T]) -> list[R]:
    """Work on parts at the same time.

    The threads are kept, and shared by all who ask: what is kept per thread is made once.

    Args:
        work: Called once per part; must not call this function itself.
        parts: The parts.

    Raises:
        Exception: What the first part raised for which `work` failed, once all have ended.
    """
    if len(parts) < 2:
        return [work(part) for part in parts]
    futures = [_threads().submit(work, part) for part in parts]
    failed = next((error for f in futures if (error := f.exception()) is not None), None)
    if failed is not None:
        raise failed
    return [f.result() for f in futures]


@cache
def _threads() -> ThreadPoolExecutor:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return ThreadPoolExecutor(max(1, cores or 1), thread_name_prefix="shape")
