"""Work done at the same moment.

In: functions. Out: what went wrong in them, once all have ended.
"""

from __future__ import annotations

import threading
from collections.abc import Callable


def in_threads(*work: Callable[[], None]) -> list[BaseException]:
    """Do everything at the same time, each in a thread of its own; what went wrong."""
    start = threading.Barrier(len(work))
    errors: list[BaseException] = []

    def run(one: Callable[[], None]) -> None:
        start.wait()
        try:
            one()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(one,)) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors
