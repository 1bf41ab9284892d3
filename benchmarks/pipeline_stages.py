"""Where the time of a sync goes: what each stage took, timed in the run itself.

In: a block that runs a sync. Out: wall and CPU time per stage. Decoding, capture and merging
overlap in threads, so the stages' wall times add up to more than the run's; a stage's CPU time is
that of its own thread, without the threads that DuckDB and Arrow keep.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import wraps
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar
from unittest.mock import patch

P = ParamSpec("P")
T = TypeVar("T")
Wrap = Callable[[str, Callable[..., Any]], Callable[..., Any]]


class Stages:
    """Times the stages of every sync within the block."""

    def __init__(self) -> None:
        self._wall: dict[str, float] = {}
        self._cpu: dict[str, float] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Wrap the stages' functions."""
        from cdc_assets.engine import write
        from resources.mysql.binlog.decoder import LogDecoder
        from resources.mysql.binlog.gatherer import Gatherer
        from resources.mysql.source import MySQLSource
        from resources.sinks.duckdb import DuckDBSink
        from resources.stores.change_log import ChangeLog, SegmentWriter

        self._wrap("walk", LogDecoder, "pieces", self._steps)
        self._wrap("convert", Gatherer, "take", self._call)
        self._wrap("wait for the log", MySQLSource, "stream_changes", self._steps)
        self._wrap("segment write", SegmentWriter, "write", self._call)
        self._wrap("segment commit", SegmentWriter, "commit", self._call)
        self._wrap("segment read", ChangeLog, "read", self._steps)
        self._wrap("reduce", write, "reduce_changes", self._call)
        self._wrap("merge", DuckDBSink, "merge", self._call)
        self._wrap("close the file", DuckDBSink, "close", self._call)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Put the functions back."""
        self._stack.close()

    def lines(self) -> list[str]:
        """Return a line per stage."""
        return [
            f"{stage:16} {self._wall[stage]:6.2f} s  {self._cpu[stage]:6.2f} CPU s of its thread"
            for stage in self._wall
        ]

    def _wrap(self, stage: str, owner: object, name: str, how: Wrap) -> None:
        self._wall[stage] = self._cpu[stage] = 0.0
        wrapped = how(stage, getattr(owner, name))
        self._stack.enter_context(patch.object(owner, name, wrapped))

    def _add(self, stage: str, began: float, used: float) -> None:
        self._wall[stage] += time.perf_counter() - began
        self._cpu[stage] += time.thread_time() - used

    def _call(self, stage: str, function: Callable[P, T]) -> Callable[P, T]:
        @wraps(function)
        def timed(*args: P.args, **kwargs: P.kwargs) -> T:
            began, used = time.perf_counter(), time.thread_time()
            try:
                return function(*args, **kwargs)
            finally:
                self._add(stage, began, used)

        return timed

    def _steps(self, stage: str, function: Callable[P, Iterator[T]]) -> Callable[P, Iterator[T]]:
        @wraps(function)
        def timed(*args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
            items = iter(function(*args, **kwargs))
            while True:
                began, used = time.perf_counter(), time.thread_time()
                try:
                    item = next(items)
                except StopIteration:
                    return
                finally:
                    self._add(stage, began, used)
                yield item

        return timed
