"""Reading ahead in two threads: order, errors and ends are those of one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from resources.model.change import LogSlice
from resources.model.position import BinlogPosition, ServerIdentity
from resources.mysql.binlog.array_pool import ArrayPool
from resources.mysql.binlog.batches import FoundRows
from resources.mysql.binlog.gatherer import Piece
from resources.mysql.binlog.read_ahead import read_ahead
from resources.mysql.kernels import walk_state as w


def end_of_slice(offset: int) -> LogSlice:
    end = BinlogPosition("binlog.000001", offset, "", ServerIdentity("mysql", "x"))
    return LogSlice([], end, 0, 0, 0)


def inconvertible() -> FoundRows:
    """A row of a table slot that has no shape."""
    runs = np.zeros((1, w.RUN_FIELDS), np.int64)
    data, rows = np.zeros(1, np.uint8), np.zeros(1, np.int64)
    return FoundRows(data, rows, runs, 1, [], "binlog.000001", ArrayPool())


def offsets(slices: Iterator[LogSlice], count: int) -> list[int]:
    """Where the next slices end."""
    ends = [next(slices).end for _ in range(count)]
    return [end.offset for end in ends if isinstance(end, BinlogPosition)]


def threads() -> set[str]:
    return {t.name for t in threading.enumerate() if t.name.startswith("binlog ")}


def endless(closed: Callable[[], bool]) -> Iterator[Piece]:
    offset = 0
    while not closed():
        offset += 1
        yield end_of_slice(offset)


def test_an_error_of_the_walk_comes_after_the_slices_before_it() -> None:
    def produce(closed: Callable[[], bool]) -> Iterator[Piece]:
        yield from map(end_of_slice, range(50))
        raise KeyError("the walk's")

    slices = read_ahead(produce)
    assert offsets(slices, 50) == list(range(50))
    with pytest.raises(KeyError, match="the walk's"):
        next(slices)
    assert not threads()


def test_an_error_of_a_conversion_ends_the_walk() -> None:
    def produce(closed: Callable[[], bool]) -> Iterator[Piece]:
        yield end_of_slice(1)
        yield inconvertible()
        yield from endless(closed)

    slices = read_ahead(produce)
    assert offsets(slices, 1) == [1]
    with pytest.raises(IndexError):
        next(slices)
    assert not threads()


def test_closing_ends_both_threads_whatever_they_wait_for() -> None:
    slices = read_ahead(endless)
    assert offsets(slices, 3) == [1, 2, 3]
    assert threads() == {"binlog walk", "binlog convert"}
    slices.close()
    assert not threads()
