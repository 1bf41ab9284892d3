"""What a run did, in plain values that the Dagster side turns into metadata.

In: nothing. Out: counters and outcomes per table and per run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from resources.model.position import Position
from resources.model.table import TableId, TableSchema
from resources.sinks.contract import TargetId

Outcome = Literal[
    "applied",
    "current",
    "loaded",
    "dropped",
    "waiting",
    "held",
    "needs_snapshot",
    "behind",
    "stopped",
]
_WORST: tuple[Outcome, ...] = get_args(Outcome)


@dataclass
class TableReport:
    """What happened to one table.

    Args:
        table: The source table.
        target: Where it goes.
        outcome: `applied` (changes merged), `current` (nothing pending), `loaded` (snapshot),
            `dropped` (on the source), `waiting` (not loaded yet), `held` (a schema change waits
            for a decision), `needs_snapshot`, `behind` (failed, will be tried again), `stopped`.
        kinds: Changes by row kind as captured (`insert`, `update`, `delete`).
        upserted: Rows written after reduction.
        deleted: Keys deleted after reduction.
        dirty: Rows set aside.
        seq: The target's watermark afterwards.
        windows: Partition windows the changes belong to.
        commit_ts_us: Commit time of the newest change applied.
        schema: The target's schema, if it was touched.
        lineage: The source columns every column of the target is made of, if it was touched;
            none of columns the route adds.
        reason: Why it is not simply up to date, with its remedy.
        seconds: Time spent on it.
    """

    table: TableId
    target: TargetId
    outcome: Outcome = "current"
    kinds: dict[str, int] = field(default_factory=dict)
    upserted: int = 0
    deleted: int = 0
    dirty: int = 0
    seq: int = 0
    windows: set[str] = field(default_factory=set)
    commit_ts_us: int = 0
    schema: TableSchema | None = None
    lineage: Mapping[str, frozenset[str]] = field(default_factory=dict)
    reason: str = ""
    seconds: float = 0.0

    @property
    def changes(self) -> int:
        """Changes of every kind."""
        return sum(self.kinds.values())

    def add(self, other: TableReport) -> None:
        """Take in what a later round did to the same table."""
        for kind, count in other.kinds.items():
            self.kinds[kind] = self.kinds.get(kind, 0) + count
        self.upserted += other.upserted
        self.deleted += other.deleted
        self.dirty += other.dirty
        self.seconds += other.seconds
        self.windows |= other.windows
        self.seq = max(self.seq, other.seq)
        self.commit_ts_us = max(self.commit_ts_us, other.commit_ts_us)
        self.schema = other.schema or self.schema
        self.lineage = other.lineage or self.lineage
        self.reason = other.reason
        if other.outcome != "current":
            self.outcome = other.outcome


@dataclass
class CaptureReport:
    """What capture read and kept.

    Args:
        start: Where it began.
        end: Where it ended, a transaction boundary.
        segments: Numbers of the segments committed.
        rows: Rows kept by window.
        transactions: Transactions seen.
        bytes_read: Log bytes read.
        last_commit_us: Commit time of the newest transaction seen.
        dirty: Rows that could not be decoded.
        seconds: Time spent.
        lag_bytes: Log bytes the server was ahead at the end, None if it cannot tell.
    """

    start: Position
    end: Position
    segments: list[int] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)
    transactions: int = 0
    bytes_read: int = 0
    last_commit_us: int = 0
    dirty: int = 0
    seconds: float = 0.0
    lag_bytes: int | None = None


@dataclass
class CopyReport:
    """What a snapshot of one table did.

    Args:
        table: The source table.
        target: Where it went.
        load_id: Names the load in the sink and the state store.
        rows: Rows in the target afterwards.
        chunks: Chunks of the whole plan.
        chunks_copied: Chunks this run read; the rest was there from before.
        dirty: Rows set aside.
        low: Position before the first chunk.
        high: Position after the last chunk.
        consistent_from: The table equals its source once its watermark reaches this.
        schema: The schema copied.
        seconds: Time spent.
        resumed: Whether an earlier run had begun it.
    """

    table: TableId
    target: TargetId
    load_id: str
    rows: int = 0
    chunks: int = 0
    chunks_copied: int = 0
    dirty: int = 0
    low: Position | None = None
    high: Position | None = None
    consistent_from: int = 0
    schema: TableSchema | None = None
    seconds: float = 0.0
    resumed: bool = False


@dataclass
class SyncReport:
    """What a sync run did.

    Args:
        capture: The reader's part.
        feeds: By source table and target; only those with something to tell.
        new_tables: Tables met for the first time.
    """

    capture: CaptureReport
    feeds: dict[tuple[TableId, TargetId], TableReport] = field(default_factory=dict)
    new_tables: list[TableId] = field(default_factory=list)

    @property
    def tables(self) -> dict[TableId, TableReport]:
        """By source table, the report of the target that fares worst."""
        worst: dict[TableId, TableReport] = {}
        for report in self.feeds.values():
            known = worst.get(report.table)
            if known is None or rank(known.outcome) < rank(report.outcome):
                worst[report.table] = report
        return worst

    def add(self, report: TableReport) -> None:
        """Take in what became of a feed."""
        known = self.feeds.get((report.table, report.target))
        if known is None:
            self.feeds[report.table, report.target] = report
        else:
            known.add(report)


def rank(outcome: Outcome) -> int:
    """Return how much an outcome asks for attention, 0 for none."""
    return max(0, _WORST.index(outcome) - _WORST.index("loaded"))
