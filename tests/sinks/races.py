"""Several writers at the same moment."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from resources.errors import FencedOut
from resources.sinks.contract import Sink
from tests.contracts.sink_steps import TARGET, fence, keys_of, rows_of


def race(sinks: Mapping[str, Sink], mark: int | None, new: int) -> dict[str, str]:
    """Let several sinks write at the same moment from one watermark; what became of each."""
    start = threading.Barrier(len(sinks))
    results: dict[str, str] = {}

    def write(who: str, sink: Sink) -> None:
        start.wait()
        try:
            sink.merge(TARGET, rows_of({new: who}), keys_of(), fence(mark, new))
            results[who] = "won"
        except FencedOut:
            results[who] = "lost"

    threads = [threading.Thread(target=write, args=pair) for pair in sinks.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results
