"""Processes for tests that kill some: forked from one that has imported and decoded already.

In: functions of test modules. Out: `CONTEXT`, a multiprocessing context. A process of its own would
import for seconds first, and load the kernels. Modules that tests run as processes fork themselves
by `in_child`.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.preloaded"])
KILLED = 137
"""How a process ends that stops itself at once, without any clean-up."""


def in_child(work: Callable[[], None]) -> int:
    """Do the work in a forked process; its exit code."""
    child = os.fork()
    if not child:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
