"""One round of polling: late rows of recorded gaps, then new rows up to a frozen bound.

In: polled tables, their marks, bounds. Out: steps, each a page and the mark after it. The reasons
are in `resources.sql.ledger`.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import sqlalchemy as sa

from resources.model.position import PollGap, PollMark
from resources.sql.flavor import Flavor, Page, PollTable, Where
from resources.sql.ledger import GapRule, Survey, batches, holes, overlap, weight, without

log = logging.getLogger(__name__)

LEDGER_ENTRIES = 20_000
"""Most entries of one table's ledger in a stored position: about 0.5 MB of JSON."""
FIRST_PAGE_ROWS = 1_000
"""Rows of a table's first page in a round, before the size of its rows is known."""
PAGE_BYTES = 64 << 20
SURVEY_SECONDS = 1.0
WAIT_SECONDS = 0.5


@dataclass(frozen=True)
class Step:
    """What one query of a round gave.

    Args:
        table: The table.
        mark: How far it is read after this step.
        page: The rows; None if only the mark changed.
    """

    table: PollTable
    mark: PollMark
    page: Page | None = None


@dataclass
class Round:
    """What the tables of one round share.

    Args:
        flavor: The source.
        tables: Tables with something to ask for.
        page_rows: Most rows of a page; fewer are read if they are wider than `PAGE_BYTES`.
        grace_us: Grace period, microseconds.
        ledger_entries: Most entries of one table's ledger.
    """

    flavor: Flavor
    tables: Sequence[PollTable]
    page_rows: int
    grace_us: int
    ledger_entries: int
    _survey: Survey | None = field(default=None, init=False)
    _taken: float = field(default=0.0, init=False)

    def survey(self) -> Survey:
        """Return a listing made after the bounds were frozen, at most a second old."""
        if self._survey is None or time.monotonic() - self._taken > SURVEY_SECONDS:
            flavor, tables = self.flavor, self.tables
            self._survey = flavor.database.run(lambda c: flavor.survey(c, tables))
            self._taken = time.monotonic()
        return self._survey

    def now_us(self) -> int:
        """Return the source's clock, carried on from the last listing."""
        survey = self._survey or self.survey()
        return survey.now_us + int((time.monotonic() - self._taken) * 1e6)

    def read(self, table: PollTable, where: Where, limit: int | None) -> Page:
        """Return rows in the order of the key, in a transaction of their own."""
        flavor = self.flavor
        return flavor.database.run(lambda c: flavor.read(c, table, where, limit))

    def run(self, marks: dict[str, PollMark], bounds: dict[str, int]) -> Iterator[Step | None]:
        """Yield the steps of all tables in turn.

        Args:
            marks: By table, where to begin.
            bounds: By table, the greatest id committed before this call.

        Yields:
            Steps; None while every table that is left waits for its ledger to shrink.
        """
        self.survey()
        turns = deque(
            TableRound(self, t, marks.get(str(t.id), PollMark())).steps(bounds.get(str(t.id)))
            for t in self.tables
        )
        waiting = 0
        while turns:
            steps = turns.popleft()
            try:
                step = next(steps)
            except StopIteration:
                waiting = 0
                continue
            turns.append(steps)
            waiting = waiting + 1 if step is None else 0
            if step is not None:
                yield step
            elif waiting >= len(turns):
                yield None
                time.sleep(WAIT_SECONDS)
                waiting = 0


class TableRound:
    """One table in one round."""

    def __init__(self, round_: Round, table: PollTable, mark: PollMark) -> None:
        self.round = round_
        self.table = table
        self.mark = mark
        self.rule = GapRule(table.id, round_.grace_us)
        self.limit = min(FIRST_PAGE_ROWS, round_.page_rows)

    def steps(self, bound: int | None) -> Iterator[Step | None]:
        """Yield late rows, then rows up to `bound`; None while the ledger is full."""
        yield from self._late()
        if bound is not None and (self.mark.high is None or bound > self.mark.high):
            yield from self._new(bound)

    def _late(self) -> Iterator[Step]:
        """Ask for every recorded gap again, and drop those that are final."""
        survey = self.round.survey()
        done: list[PollGap] = []
        rest = list(self.mark.gaps)
        for group in batches(self.mark.gaps, self.limit):
            del rest[: len(group)]
            for page, asked, ahead in self._ask(group):
                done += self.rule.kept(asked, survey)
                gaps = (*done, *ahead, *rest)
                changed = gaps != self.mark.gaps
                self.mark = replace(self.mark, gaps=gaps)
                if len(page.ids) or changed:
                    yield Step(self.table, self.mark, page if len(page.ids) else None)

    def _ask(self, group: list[PollGap]) -> Iterator[tuple[Page, list[PollGap], list[PollGap]]]:
        """Yield pages of a group, each with the gaps it answered and those still to be asked."""
        if len(group) > 1 or group[0].high - group[0].low < self.limit:
            page = self._read(_in_gaps(group), None)
            yield page, without(group, page.ids.tolist()), []
            return
        gap: PollGap | None = group[0]
        while gap is not None:
            limit = self.limit
            page = self._read(_between(gap.low, gap.high), limit)
            ids = page.ids.tolist()
            full = len(ids) == limit and ids[-1] < gap.high
            ahead = replace(gap, low=ids[-1] + 1) if full else None
            asked = replace(gap, high=ids[-1]) if full else gap
            yield page, without([asked], ids), [ahead] if ahead else []
            gap = ahead

    def _read(self, where: Where, limit: int | None) -> Page:
        """Return a page, and set the size of the next by the size of its rows."""
        page = self.round.read(self.table, where, limit)
        if len(page.ids):
            wide = max(1, page.rows.nbytes // len(page.ids))
            self.limit = max(1, min(self.round.page_rows, PAGE_BYTES // wide))
        return page

    def _new(self, bound: int) -> Iterator[Step | None]:
        """Read pages up to `bound`, recording what is absent in them."""
        after = self.table.least - 1 if self.mark.high is None else self.mark.high
        frozen = self.rule.fresh(after + 1, bound, self.round.survey())
        since = time.monotonic()
        while after < bound:
            if frozen:
                # The listing comes before the page: what has ended by then is visible in it.
                frozen = self.rule.kept(frozen, self.round.survey())
            page = self._read(_between(after + 1, bound), self.limit)
            if not len(page.ids):
                return
            upto, gaps = self._room(overlap(holes(page.ids, after, self.table.step), frozen))
            taken = page if upto is None else cut(page, upto)
            if len(taken.ids):
                after = int(taken.ids[-1])
                self.mark = PollMark(after, (*self.mark.gaps, *gaps))
                yield Step(self.table, self.mark, taken)
            if upto is not None:
                if time.monotonic() - since > self.round.grace_us / 1e6 + 2 * SURVEY_SECONDS:
                    self._warn_full()
                    return
                yield None
                yield from self._late()

    def _room(self, gaps: list[PollGap]) -> tuple[int | None, list[PollGap]]:
        """Return the gaps that fit the ledger, and the last id that may be read with them."""
        room = self.round.ledger_entries - weight(self.mark.gaps)
        for count, gap in enumerate(gaps):
            room -= weight((gap,))
            if room < 0:
                return gap.low - 1, gaps[:count]
        return None, gaps

    def _warn_full(self) -> None:
        log.warning(
            "polling of %s pauses at id %s: %d absent ranges below it wait for transactions to "
            "end; end the oldest open transaction of the source",
            self.table.id,
            self.mark.high,
            len(self.mark.gaps),
        )


def cut(page: Page, upto: int) -> Page:
    """Return the part of a page with ids up to `upto`."""
    count = int((page.ids <= upto).sum())
    good = page.good[page.good < count]
    return Page(
        page.ids[:count],
        page.rows.slice(0, len(good)),
        good,
        tuple(b for b in page.bad if b.index < count),
    )


def _between(low: int, high: int) -> Where:
    def condition(key: sa.ColumnClause[Any]) -> sa.ColumnElement[bool]:
        return sa.and_(key >= sa.literal_column(str(low)), key <= sa.literal_column(str(high)))

    return condition


def _in_gaps(gaps: Sequence[PollGap]) -> Where:
    """Return the condition for ids in any of the gaps, within one range of the index."""
    ones: list[sa.ColumnClause[int]] = [
        sa.literal_column(str(g.low)) for g in gaps if g.low == g.high
    ]
    ranges = [_between(g.low, g.high) for g in gaps if g.low != g.high]

    def condition(key: sa.ColumnClause[Any]) -> sa.ColumnElement[bool]:
        parts = [within(key) for within in ranges]
        if ones:
            parts.append(key.in_(ones))
        return sa.and_(_between(gaps[0].low, gaps[-1].high)(key), sa.or_(*parts))

    return condition
