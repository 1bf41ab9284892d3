"""The stream of a polled source: rounds, one after the other, as slices of a log.

In: polled tables and the position to begin at. Out: slices; the position after each is complete.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from resources.model.change import LogSlice, TableNotice
from resources.model.position import PollMark, PollPosition, ServerIdentity
from resources.sql.flavor import Flavor, PollTable
from resources.sql.marks import all_ends
from resources.sql.rounds import Round
from resources.sql.slices import empty_slice, slice_of

EMPTY_SLICE_SECONDS = 0.9
_STOP_SECONDS = 0.2


@dataclass
class PollStream:
    """One run over the polled tables.

    Args:
        flavor: The source.
        tables: By `database.table`.
        marks: Where to begin; tables without one from their first row.
        identity: The server.
        page_rows: Most rows of a page.
        grace_us: Grace period, microseconds.
        ledger_entries: Most entries of one table's ledger.
        stop: True ends the stream before the next page.
    """

    flavor: Flavor
    tables: Mapping[str, PollTable]
    marks: dict[str, PollMark]
    identity: ServerIdentity
    page_rows: int
    grace_us: int
    ledger_entries: int
    stop: Callable[[], bool]
    _seq: int = field(default=0, init=False)
    _restarted: set[str] = field(default_factory=set, init=False)

    def once(self, limits: Mapping[str, int | None]) -> Iterator[LogSlice]:
        """Yield one round up to the given ids, recorded gaps included."""
        yield from self._round({t: high for t, high in limits.items() if t in self.tables})

    def follow(self, interval: float) -> Iterator[LogSlice]:
        """Yield rounds until told to stop, `interval` seconds apart."""
        while not self.stop():
            yield from self._round(self._greatest(list(self.tables)))
            resume = time.monotonic() + interval
            while not self.stop() and (left := resume - time.monotonic()) > 0:
                yield empty_slice(self._position())
                self._pause(min(left, EMPTY_SLICE_SECONDS))

    def _round(self, limits: Mapping[str, int | None]) -> Iterator[LogSlice]:
        bounds = {table: high for table, high in limits.items() if high is not None}
        notices = self._restarts(bounds)
        work = [t for name, t in self.tables.items() if self._has_work(name, bounds.get(name))]
        round_ = Round(self.flavor, work, self.page_rows, self.grace_us, self.ledger_entries)
        unsaid = bool(notices)
        for step in round_.run(self.marks, bounds) if work else ():
            if step is None:
                yield empty_slice(self._position())
            else:
                self.marks[str(step.table.id)] = step.mark
                unsaid = unsaid or step.page is None
                if step.page is not None:
                    now = round_.now_us()
                    part = slice_of(step.table, step.page, self._position(), self._seq, now)
                    self._seq += part.rows
                    yield part
            if self.stop():
                break
        if unsaid:
            yield empty_slice(self._position(), notices)

    def _has_work(self, table: str, bound: int | None) -> bool:
        mark = self.marks.get(table, PollMark())
        fresh = bound is not None and (mark.high is None or bound > mark.high)
        return fresh or bool(mark.gaps)

    def _restarts(self, bounds: Mapping[str, int]) -> list[TableNotice]:
        """Return a notice for each table whose ids have started again, below the mark."""
        marks = {table: mark.high for table, mark in self.marks.items() if mark.high is not None}
        below = [
            table
            for table, bound in bounds.items()
            if table not in self._restarted and table in marks and bound < marks[table]
        ]
        if not below:
            return []
        # A bound may be older than the mark, so the table itself is asked.
        now = self._greatest(below)
        notices = []
        for table in below:
            greatest = now[table]
            if greatest is not None and greatest < marks[table]:
                self._restarted.add(table)
                notices.append(self._restart(table, greatest, marks[table]))
        return notices

    def _restart(self, table: str, greatest: int, mark: int) -> TableNotice:
        return TableNotice(
            table=self.tables[table].id,
            seq=self._seq,
            kind="truncate",
            detail=f"the greatest id is {greatest}, below the mark {mark}: ids started again",
            position=f"{table}<={mark}",
            rewrites=True,
        )

    def _greatest(self, tables: list[str]) -> dict[str, int | None]:
        keys = {self.tables[t].id: self.tables[t].key for t in tables}
        ends = all_ends(self.flavor.database, keys)
        return {table: None if end is None else end[1] for table, end in ends.items()}

    def _position(self) -> PollPosition:
        return PollPosition(dict(self.marks), self.identity)

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self.stop() and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _STOP_SECONDS))
