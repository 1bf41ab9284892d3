"""The process that runs cases and may die of one.

In: a run's seed and targets, the number of the first case. Out: JSON lines on a pipe: the name of
each case before it runs, and what became of it. Too much time kills the process by a signal, even
inside compiled code.
"""

from __future__ import annotations

import faulthandler
import itertools
import json
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any

from tests.fuzz.cases import TARGETS, CaseName, make, names
from tests.fuzz.guarded_heap import guarded_arrays

_MEMORY = 6 << 30
_CASES = 100_000
_WAITING = 10
_GUARDED = 4
"""Every so many cases all arrays are guarded, not only the inputs: it takes time."""


def prepare(targets: Iterable[str]) -> None:
    """Compile all there is to compile, guard the inputs, and limit what a case may take."""
    for name in targets:
        TARGETS[name].warm_up()
        TARGETS[name].guard_inputs()
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    faulthandler.enable()
    for number in (signal.SIGPROF, signal.SIGALRM):
        faulthandler.register(number, chain=True)


def work(cases: Iterable[CaseName], pipe: Any, seconds: float) -> None:
    """Run cases one after the other.

    Args:
        cases: Their names.
        pipe: Where the lines go.
        seconds: CPU time a case may take; ten times as much may pass on the clock.
    """
    for name in cases:
        case = make(name)
        _say(pipe, begin=str(name))
        begun = time.process_time()
        _allow(seconds)
        try:
            with guarded_arrays() if name.number % _GUARDED == 0 else nullcontext():
                outcome = TARGETS[name.target].run(case)
        except Exception as error:
            _allow(0)
            _say(pipe, error=type(error).__name__, text=traceback.format_exc())
        else:
            _allow(0)
            _say(pipe, outcome=outcome, seconds=time.process_time() - begun)


def _say(pipe: Any, **words: str | float) -> None:
    pipe.write(json.dumps(words) + "\n")


def _allow(seconds: float) -> None:
    """Die after so much CPU time, or ten times as long without it; 0 takes that back."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, seconds * _WAITING)


def main(arguments: list[str]) -> None:
    """Run as a process: file descriptor, seconds for a case, then one case, or a run's part."""
    to, seconds, what, *rest = arguments
    with os.fdopen(int(to), "w", buffering=1) as pipe:
        if ":" in what:
            cases: Iterable[CaseName] = [CaseName.parse(what)]
            prepare([CaseName.parse(what).target])
        else:
            first, *targets = rest
            cases = itertools.islice(names(targets, int(what), int(first)), _CASES)
            prepare(targets)
        work(cases, pipe, float(seconds))


if __name__ == "__main__":
    main(sys.argv[1:])
    os._exit(0)  # arrays of the guarded heap may live on to where Python is half gone
