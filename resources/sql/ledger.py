"""The gap ledger of one polled table: which absent ids may still appear, and when they cannot.

In: ids a page held, what the source had open. Out: gaps to ask for again.

Why a gap can be closed at all. A round does, in this order:

1. it freezes the bound B = `MAX(id)` that is committed. A counter that hands out ids only upwards
   had passed B by then, so an absent id <= B is either reserved already or never will be;
2. it lists what is open (`Survey`). Whoever reserved an id <= B is in that list, or has ended;
3. it reads. Ids that are absent now and whose owner had ended before step 2 are absent for ever;
   the others get the list as their `open_transactions`.

Later rounds repeat step 2, strike from each gap what has ended, and *then* ask for the gap again.
A gap without open transactions that was asked for after the last of them had ended is final.
Reading always follows listing, so no commit can fall between them.

Where the source cannot list its transactions the same steps run on time: a gap is final when it
was asked for more than the grace period after its bound was frozen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from resources.model.position import PollGap
from resources.model.table import TableId

LATER = "later"
"""Token of a gap that no listing covers yet: its ids are above the source's own counter and still
to be handed out, or the listing failed. The next survey decides anew who may own them."""

Ids: TypeAlias = npt.NDArray[np.int64 | np.uint64]


@dataclass(frozen=True)
class Survey:
    """What a source had open at one moment.

    Args:
        now_us: The source's clock, microseconds since the epoch.
        open: Tokens of everything that may own a reserved id, by table; None where the source
            can never tell.
        alive: Tokens that are still open, of whatever table; None if it cannot be told this
            time, so that all of them count as open.
        oldest: Smallest number of what is open where such numbers only rise; decides tokens of
            the form `<=n`, which stand for everything up to n that was open then.
        reserved: Greatest id the table's counter has handed out. Tables not in it have a
            counter that a row with an explicit id moves along.
    """

    now_us: int
    open: dict[TableId, tuple[str, ...] | None]
    alive: frozenset[str] | None = frozenset()
    oldest: int | None = None
    reserved: dict[TableId, int] = field(default_factory=dict)

    def holds(self, token: str) -> bool:
        """Return whether what the token stands for is still open."""
        if self.alive is None:
            return True
        if token.startswith("<="):
            return self.oldest is not None and self.oldest <= int(token[2:])
        return token in self.alive


@dataclass(frozen=True)
class GapRule:
    """Decides when a gap of one table is final.

    Args:
        table: The table.
        grace_us: Grace period where transactions cannot be listed, microseconds.
    """

    table: TableId
    grace_us: int

    def fresh(self, low: int, high: int, survey: Survey) -> list[PollGap]:
        """Return what of `low..high` is not final if it is absent when read after `survey`.

        Args:
            low: First id.
            high: Last id, frozen before `survey` was listed.
            survey: What was open then.
        """
        reserved = survey.reserved.get(self.table, high)
        tokens = survey.open.get(self.table)
        gaps = []
        if low <= reserved and tokens != ():
            gaps.append(PollGap(low, min(high, reserved), survey.now_us, tokens))
        if high > reserved:
            gaps.append(PollGap(max(low, reserved + 1), high, survey.now_us, (LATER,)))
        return gaps

    def kept(self, gaps: Iterable[PollGap], survey: Survey) -> list[PollGap]:
        """Return what of recorded gaps is not final if they are absent when read after `survey`.

        A gap above the counter is cut where the counter stands now: ids up to there may have
        owners from now on.
        """
        left: list[PollGap] = []
        for gap in gaps:
            tokens = gap.open_transactions
            if tokens == (LATER,):
                left += self.fresh(gap.low, gap.high, survey)
            elif tokens is None or survey.open.get(self.table) is None:
                if survey.now_us - gap.since_us < self.grace_us:
                    left.append(gap)
            elif still := tuple(t for t in tokens if survey.holds(t)):
                left.append(gap if still == tokens else replace(gap, open_transactions=still))
        return left


def holes(ids: Ids, after: int, step: int = 1) -> list[tuple[int, int]]:
    """Return the ranges of ids that are absent between `after` and a page's last row.

    Args:
        ids: Sorted ids that are there; at least one.
        after: Last id before the page.
        step: `auto_increment_increment`. With several writers each has a residue of its own;
            holes that hold none of the residues seen here are regular and are left out.

    Returns:
        Inclusive ranges in order.
    """
    low, high = ids[:-1], ids[1:]
    apart = np.flatnonzero(high != low + 1)
    if step > 1 and len(apart):
        apart = apart[_irregular(low[apart], high[apart], np.unique(ids % step).tolist(), step)]
    found = [(int(a) + 1, int(b) - 1) for a, b in zip(low[apart], high[apart], strict=True)]
    if int(ids[0]) - after > step:
        found.insert(0, (after + 1, int(ids[0]) - 1))
    return found


def _irregular(low: Ids, high: Ids, residues: Sequence[int], step: int) -> npt.NDArray[np.bool_]:
    """Return which holes between `low` and `high` hold an id of one of the residues."""
    irregular = np.zeros(len(low), dtype=bool)
    for residue in residues:
        ahead = (residue + step - (low + 1) % step) % step
        irregular |= ahead < high - low - 1
    return irregular


def overlap(ranges: Iterable[tuple[int, int]], gaps: Sequence[PollGap]) -> list[PollGap]:
    """Return the parts of `gaps` that lie in `ranges`; both disjoint and in order."""
    return [
        replace(gap, low=max(low, gap.low), high=min(high, gap.high))
        for low, high in ranges
        for gap in gaps
        if gap.low <= high and low <= gap.high
    ]


def without(gaps: Iterable[PollGap], ids: Sequence[int]) -> list[PollGap]:
    """Return gaps with the ids that have appeared cut out of them.

    Args:
        gaps: Disjoint gaps in order.
        ids: Sorted ids, each inside one of the gaps.
    """
    left: list[PollGap] = []
    position = 0
    for gap in gaps:
        low = gap.low
        while position < len(ids) and ids[position] <= gap.high:
            if ids[position] > low:
                left.append(replace(gap, low=low, high=ids[position] - 1))
            low = ids[position] + 1
            position += 1
        if low <= gap.high:
            left.append(replace(gap, low=low))
    return left


def batches(gaps: Sequence[PollGap], width: int, ranges: int = 200) -> Iterator[list[PollGap]]:
    """Yield gaps in order, grouped so that one query can answer a group.

    Args:
        gaps: Disjoint gaps in order.
        width: Most ids of a group; a wider gap forms a group of its own.
        ranges: Most gaps of a group.
    """
    group: list[PollGap] = []
    total = 0
    for gap in gaps:
        size = gap.high - gap.low + 1
        if group and (total + size > width or len(group) == ranges):
            yield group
            group, total = [], 0
        group.append(gap)
        total += size
    if group:
        yield group


def weight(gaps: Iterable[PollGap]) -> int:
    """Return the size of gaps in a stored position, in entries."""
    return sum(1 + len(gap.open_transactions or ()) for gap in gaps)
