"""Capture in a thread of its own, so that reading the log and merging overlap.

In: what capture needs. Out: the segments it committed, in bunches, in the run's own thread.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cdc_assets.engine.capture import capture_by_policy
from cdc_assets.engine.pipeline import Pipeline
from cdc_assets.engine.report import CaptureReport
from cdc_assets.engine.sharing import capture_or_follow
from resources.errors import ConfigError
from resources.model.place import Place
from resources.model.position import Position
from resources.model.source import SeekableSource
from resources.stores.leases import Lease
from resources.stores.segments import Segment


@contextmanager
def capturing(
    pipeline: Pipeline,
    lease: Lease | None,
    report: CaptureReport,
    follow_for: float,
    stop_at: Place | None,
    stopped: Callable[[], bool],
) -> Iterator[Iterator[list[Segment]]]:
    """Capture in a thread; give out the segments committed since the last look.

    Args:
        pipeline: The opened pipeline.
        lease: The right to capture; None if the log is shared, where it is taken up if it is free.
        report: Filled as it goes.
        follow_for: Seconds to tail; 0 ends at the position the server has now.
        stop_at: Ends at this place, or at the position the server has now if that comes first.
        stopped: Asked at boundaries; True ends the capture.

    Yields:
        Lists of segments, each list as long as merging the one before took. Raises in the
        caller's thread what capture raised.
    """
    ready: queue.Queue[Segment | BaseException | None] = queue.Queue()
    abandoned = threading.Event()
    deadline = time.monotonic() + follow_for

    def stop() -> bool:
        late = follow_for > 0 and time.monotonic() >= deadline
        return abandoned.is_set() or late or stopped()

    def read() -> None:
        try:
            until = None if follow_for > 0 else _end_of_run(pipeline, stop_at)
            segments = (
                capture_or_follow(pipeline, until, stop, report)
                if lease is None
                else capture_by_policy(pipeline, lease, until, stop, report)
            )
            for segment in segments:
                ready.put(segment)
            ready.put(None)
        except BaseException as error:  # handed to the run's own thread
            ready.put(error)

    thread = threading.Thread(target=read, name="capture", daemon=True)
    thread.start()
    try:
        yield _drained(ready)
    finally:
        abandoned.set()
        thread.join()


def _end_of_run(pipeline: Pipeline, stop_at: Place | None) -> Position:
    if stop_at is None:
        return pipeline.source.current_position()
    if not isinstance(pipeline.source, SeekableSource):
        raise ConfigError(
            "a polled source has no places to stop at", remedy="leave `stop_at` out of the run"
        )
    return pipeline.source.stop_position(stop_at)


def _drained(
    ready: queue.Queue[Segment | BaseException | None],
) -> Iterator[list[Segment]]:
    while True:
        batch: list[Segment] = []
        item: Segment | BaseException | None = ready.get()
        while isinstance(item, Segment):
            batch.append(item)
            try:
                item = ready.get_nowait()
            except queue.Empty:
                break
        if batch:
            yield batch
        if isinstance(item, BaseException):
            raise item
        if item is None:
            return
