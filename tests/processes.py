"""Processes for tests that kill some: forked from one that has imported and decoded already.

In: functions of test modules. Out: `CONTEXT`, a multiprocessing context. A process of its own would
import for seconds first, and load the kernels.
"""

from __future__ import annotations

import multiprocessing

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.preloaded"])
