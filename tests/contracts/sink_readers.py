"""Readers beside a writer: part of the suite of sinks."""

from __future__ import annotations

import itertools
import threading

from resources.sinks.contract import Sink
from tests.contracts.sink_case import SinkCase
from tests.contracts.sink_steps import TARGET, fence, keys_of, load, rows_of
from tests.threads import in_threads

ROUNDS = 6
IDS = range(40)


class SinkReaders(SinkCase):
    """A reader sees the rows of one write, whole, however many are made meanwhile."""

    def test_readers_see_each_write_whole(self, place: str) -> None:
        """Every write sets all rows to its number, so two numbers in one reading are a torn one.

        Where a sink has no transactions a merge may be seen key by key, but never an older row
        after a newer one.
        """
        done = threading.Event()
        seen: list[dict[int, int]] = []
        with self.open(place) as writer, self.open(place) as reader:
            load(writer, TARGET, "0", [rows_of(dict.fromkeys(IDS, "0"))], fence(None, 1))

            def read() -> None:
                while True:
                    is_last = done.is_set()
                    rows = reader.read_table(TARGET.id)
                    names = [int(n) for n in rows["name"].to_pylist()]
                    seen.append(dict(zip(rows["id"].to_pylist(), names, strict=True)))
                    if is_last:
                        return

            def write() -> None:
                try:
                    for number in range(1, ROUNDS + 1):
                        self._write(writer, number)
                finally:
                    done.set()

            assert in_threads(read, write) == []
            whole = writer.capabilities.transactions
        assert all(sorted(rows) == list(IDS) for rows in seen)
        if whole:
            assert all(len(set(rows.values())) == 1 for rows in seen)
        for before, after in itertools.pairwise(seen):
            assert all(before[key] <= after[key] for key in IDS)
        assert set(seen[-1].values()) == {ROUNDS}

    def _write(self, sink: Sink, number: int) -> None:
        rows = rows_of(dict.fromkeys(IDS, str(number)))
        at = fence(number, number + 1)
        if number % 3:
            sink.merge(TARGET, rows, keys_of(), at)
        else:
            load(sink, TARGET, str(number), [rows.slice(0, 20), rows.slice(20)], at)
