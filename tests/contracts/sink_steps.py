"""Writes that a sink may be killed in, with what to do afterwards.

A step's `redo` does what the engine does after a crash: it looks at what the sink says and
writes what is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa

from resources.model.change import CHANGE_FIELDS
from resources.model.column_change import (
    AddColumn,
    ColumnChange,
    DropColumn,
    RenameColumn,
    RetypeColumn,
)
from resources.model.table import Column, TableId, TableSchema
from resources.sinks.contract import Feed, Fence, Sink, TargetId, TargetTable, Watermark
from resources.sinks.shape import target_schema
from tests.strategies import comparable

PIPELINE = "orders"
SCHEMA = TableSchema(
    TableId("shop", "orders"),
    (Column("id", pa.int64(), nullable=False), Column("name", pa.string())),
    ("id",),
)
TARGET = TargetTable(TargetId("shop", "orders"), SCHEMA)
HISTORY = TargetTable(TargetId("shop", "orders_log"), SCHEMA, mode="append")
FEED = Feed(PIPELINE, SCHEMA.table)
KINDS = frozenset({"add", "drop", "rename", "retype"})


def target_of(*columns: Column, table: str = "t", key: tuple[str, ...] = ("id",)) -> TargetTable:
    """A table of the namespace `shop` with these columns."""
    return TargetTable(TargetId("shop", table), TableSchema(TableId("s", "t"), columns, key))


def keyed_target(*columns: Column, key: tuple[str, ...] = ("id",)) -> TargetTable:
    """A table `shop.t` with these columns behind an `id`."""
    return target_of(Column("id", pa.int32(), nullable=False), *columns, key=key)


def rows_of(names: dict[int, str | None]) -> pa.Table:
    """Rows of TARGET."""
    return pa.table([list(names), list(names.values())], schema=target_schema(TARGET))


def keys_of(*ids: int) -> pa.Table:
    """Keys of TARGET."""
    return pa.table({"id": pa.array(ids, pa.int64())})


def changes_of(first: int, names: list[str]) -> pa.Table:
    """Rows of HISTORY: inserts numbered from `first`, in `id` and in `_cdc_seq`."""
    seqs = list(range(first, first + len(names)))
    extra = [[0] * len(seqs), seqs, seqs]
    arrays = [pa.array(v, f.type) for v, f in zip(extra, CHANGE_FIELDS, strict=True)]
    return pa.table([pa.array(seqs), pa.array(names), *arrays], schema=target_schema(HISTORY))


def fence(expected: int | None, new: int, token: int = 1, feed: Feed = FEED) -> Fence:
    """A fence of the one feed, or of another."""
    return Fence(feed, expected, new, token)


def load(
    sink: Sink,
    target: TargetTable,
    load_id: str,
    parts: list[pa.Table],
    at: Fence,
    keep: tuple[str, ...] = (),
) -> int:
    """Load a table in chunks, resuming the load of this id where it is."""
    sink.begin_load(target, load_id, at.feed)
    done = sink.loaded_chunks(target.id, load_id)
    for number, part in enumerate(parts, start=1):
        if number not in done:
            half = part.num_rows // 2
            sink.load_chunk(target, load_id, number, [part.slice(0, half), part.slice(half)])
    conflicts = sink.load_conflicts(target, load_id, at.feed).num_rows
    return sink.finish_load(target, load_id, at, at.new + 5, keep=keep, conflicts=conflicts)


Seen = tuple[list[str] | None, Watermark | None]


def observe(sink: Sink, target: TargetTable, feed: Feed = FEED) -> Seen:
    """All a reader can see of a table: its rows and a feed's watermark."""
    exists = sink.read_schema(target.id) is not None
    rows = comparable(sink.read_table(target.id)) if exists else None
    return rows, sink.read_watermark(target.id, feed)


@dataclass(frozen=True)
class Step:
    """A write: `prepare` makes the old state, `work` the new one, `redo` recovers.

    `needs` are the column changes without which a sink refuses the step.
    """

    target: TargetTable
    prepare: Callable[[Sink], None]
    work: Callable[[Sink], None]
    redo: Callable[[Sink], None]
    points: tuple[str, ...]
    feed: Feed = FEED
    needs: frozenset[str] = frozenset()


def redo_from(
    seq: int, target: TargetTable, work: Callable[[Sink], None], feed: Feed = FEED
) -> Callable[[Sink], None]:
    """Do the work again only where the feed's watermark is still the one before it."""

    def redo(sink: Sink) -> None:
        mark = sink.read_watermark(target.id, feed)
        if mark is not None and mark.seq == seq:
            work(sink)

    return redo


def _load_old(sink: Sink) -> None:
    load(sink, TARGET, "old", [rows_of({1: "one", 2: "two"}), rows_of({3: None})], fence(None, 10))


def _merge(sink: Sink) -> None:
    sink.merge(TARGET, rows_of({2: "TWO", 4: "four"}), keys_of(1, 77), fence(10, 20))


def _create_history(sink: Sink) -> None:
    sink.create_table(HISTORY)
    sink.append(HISTORY, changes_of(1, ["a", "b"]), fence(None, 10))


def _append(sink: Sink) -> None:
    sink.append(HISTORY, changes_of(11, ["c", "c", "d"]), fence(10, 20))


def _reload(sink: Sink) -> None:
    parts = [rows_of({1: "eins", 5: "fuenf"}), rows_of({6: "sechs", 7: None, 8: ""})]
    load(sink, TARGET, "new", parts, fence(10, 40))


def _replace_load(sink: Sink) -> None:
    sink.begin_load(TARGET, "given up", FEED)
    sink.load_chunk(TARGET, "given up", 1, [rows_of({9: "nine"})])
    _reload(sink)


def _drop(sink: Sink) -> None:
    sink.drop_table(TARGET.id)


def _truncate(sink: Sink) -> None:
    assert sink.truncate(TARGET, fence(10, 20)) == 3


def _truncate_again(sink: Sink) -> None:
    """Without transactions the rows may be gone already, and cannot be counted any more."""
    sink.truncate(TARGET, fence(10, 20))


def _alter(sink: Sink) -> None:
    sink.alter_table(TARGET.id, COLUMN_CHANGES)


COLUMN_CHANGES: tuple[ColumnChange, ...] = (
    AddColumn(Column("name_before", pa.string()), copy_of="name"),
    DropColumn("name"),
    RenameColumn("name_before", "name"),
    RetypeColumn(Column("id", pa.decimal128(20, 0))),
    AddColumn(Column("rank", pa.uint64())),
)
"""The column `name` is another one before and after; the key is as wide as an unsigned one."""
_LOAD_POINTS = (
    *("sink.load.after_begin", "sink.load.after_rows", "sink.load.after_rows:2"),
    *("sink.load.after_mark", "sink.load.after_commit", "sink.load.after_rows:3"),
    *("sink.finish.after_swap", "sink.finish.after_watermark", "sink.finish.after_commit"),
    *(f"sink.before_commit:{n}" for n in range(1, 5)),
)
WRITE_POINTS = (
    *("sink.after_fence", "sink.after_insert", "sink.before_commit", "sink.after_commit"),
)
_ALTER_POINTS = (
    *(f"sink.alter.after_change:{n}" for n in range(1, 6)),
    *("sink.before_commit", "sink.alter.after_commit"),
)
_TRUNCATE_POINTS = (
    *("sink.after_fence", "sink.after_delete", "sink.before_commit", "sink.after_commit"),
)
STEPS = {
    "merge": Step(
        *(TARGET, _load_old, _merge, redo_from(10, TARGET, _merge)),
        (*WRITE_POINTS, "sink.after_delete"),
    ),
    "append": Step(
        HISTORY, _create_history, _append, redo_from(10, HISTORY, _append), WRITE_POINTS
    ),
    "truncate": Step(
        TARGET, _load_old, _truncate, redo_from(10, TARGET, _truncate_again), _TRUNCATE_POINTS
    ),
    "alter": Step(TARGET, _load_old, _alter, _alter, _ALTER_POINTS, needs=KINDS),
    "first load": Step(TARGET, lambda sink: None, _load_old, _load_old, _LOAD_POINTS),
    "load": Step(TARGET, _load_old, _replace_load, _reload, _LOAD_POINTS),
    "drop": Step(TARGET, _load_old, _drop, _drop, ("sink.before_commit",)),
}
