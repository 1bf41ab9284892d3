"""A table several feeds share, and the writes into it that a sink may be killed in."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from resources.model.column_change import AddColumn
from resources.model.table import Column, TableId, TableSchema
from resources.sinks.contract import Feed, Sink, TargetId, TargetTable
from resources.sinks.shape import target_schema
from tests.contracts.sink_steps import (
    PIPELINE,
    STEPS,
    TARGET,
    WRITE_POINTS,
    Step,
    fence,
    keys_of,
    load,
    redo_from,
    rows_of,
)

NORTH = Feed(PIPELINE, TableId("shop_1", "orders"))
SOUTH = Feed(PIPELINE, TableId("shop_2", "orders"))
EAST = Feed("orders of the east", TableId("shop_1", "orders"))
FEEDS = (NORTH, SOUTH, EAST)
SHARED_SCHEMA = TableSchema(
    TableId("shop", "all_orders"),
    (
        Column("id", pa.int64(), nullable=False),
        Column("name", pa.string()),
        Column("origin", pa.string()),
    ),
    ("id",),
)
SHARED = TargetTable(TargetId("shop", "all_orders"), SHARED_SCHEMA, owner="origin")


def shared_rows(feed: Feed, names: Mapping[int, str | None]) -> pa.Table:
    """Rows of SHARED that a feed writes."""
    columns = [list(names), list(names.values()), [str(feed)] * len(names)]
    return pa.table(columns, schema=target_schema(SHARED))


def state_rows(state: Mapping[int, tuple[str | None, Feed]]) -> pa.Table:
    """Rows of SHARED as a model has them: name and feed by key."""
    parts = [shared_rows(feed, {key: name}) for key, (name, feed) in state.items()]
    return pa.concat_tables([shared_rows(NORTH, {}), *parts])


def _prepare(sink: Sink) -> None:
    sink.create_table(SHARED)
    sink.merge(SHARED, shared_rows(NORTH, {1: "a", 2: "b"}), keys_of(), fence(None, 10, 1, NORTH))
    sink.merge(SHARED, shared_rows(SOUTH, {3: "c", 6: "f"}), keys_of(), fence(None, 7, 1, SOUTH))


def _merge(sink: Sink) -> None:
    rows = shared_rows(NORTH, {2: "B", 4: "d"})
    sink.merge(SHARED, rows, keys_of(1, 3), fence(10, 20, 1, NORTH))


def _truncate(sink: Sink) -> None:
    assert sink.truncate(SHARED, fence(10, 20, 1, NORTH)) == 2


def _truncate_again(sink: Sink) -> None:
    sink.truncate(SHARED, fence(10, 20, 1, NORTH))


def _load(sink: Sink) -> None:
    parts = [shared_rows(NORTH, {2: "zwei", 3: "drei"}), shared_rows(NORTH, {5: None})]
    assert load(sink, SHARED, "n", parts, fence(10, 40, 1, NORTH)) == 2


def _prepare_kept(sink: Sink) -> None:
    load(sink, TARGET, "old", [rows_of({1: "one", 2: "two", 3: None})], fence(None, 10))
    sink.alter_table(TARGET.id, [AddColumn(Column("gone", pa.string()), copy_of="name")])


def _load_kept(sink: Sink) -> None:
    parts = [rows_of({1: "eins", 5: "fuenf"}), rows_of({3: "drei"})]
    assert load(sink, TARGET, "new", parts, fence(10, 40), keep=("gone",)) == 3


_FOLD_POINTS = (
    *("sink.finish.after_delete", "sink.finish.after_insert", "sink.finish.after_watermark"),
    *("sink.finish.after_commit", "sink.load.after_mark:2", "sink.before_commit:4"),
)
SHARED_STEPS = {
    "shared merge": Step(
        *(SHARED, _prepare, _merge, redo_from(10, SHARED, _merge, NORTH)),
        *((*WRITE_POINTS, "sink.after_delete"), NORTH),
    ),
    "shared truncate": Step(
        *(SHARED, _prepare, _truncate, redo_from(10, SHARED, _truncate_again, NORTH)),
        *(("sink.after_delete", "sink.before_commit", "sink.after_commit"), NORTH),
    ),
    "shared load": Step(SHARED, _prepare, _load, _load, _FOLD_POINTS, NORTH),
    "kept load": Step(
        *(TARGET, _prepare_kept, _load_kept, _load_kept),
        *(_FOLD_POINTS,),
        needs=frozenset({"add"}),
    ),
}
ALL_STEPS = {**STEPS, **SHARED_STEPS}
"""Every write a sink may be killed in."""
