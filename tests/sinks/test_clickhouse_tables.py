"""ClickHouse tables of users, engines, strategies, values ClickHouse cannot hold, views."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from resources.errors import ConfigError, DirtyRowError, FencedOut, SchemaMismatch
from resources.failpoints import FailpointReached
from resources.model.column_change import AddColumn, RenameColumn
from resources.model.table import Column, TableSchema
from resources.sinks.clickhouse import ClickHouseSink
from resources.sinks.clickhouse_live import engine_arguments
from resources.sinks.contract import TargetId, TargetTable, Watermark
from resources.sinks.shape import target_schema
from tests.contracts.sink_shared_steps import NORTH, SHARED
from tests.contracts.sink_steps import (
    SCHEMA,
    STEPS,
    TARGET,
    fence,
    keyed_target,
    keys_of,
    load,
    observe,
    rows_of,
)
from tests.sinks.clickhouse_room import Countdown, Room
from tests.sinks.clickhouse_room import room as room
from tests.sinks.clickhouse_room import sink as sink
from tests.strategies import comparable

COLUMNS = "id Int64, name Nullable(String)"
ENGINES = {
    "with the sink's own columns": f"""({COLUMNS}, _cdc_seq UInt64, _cdc_deleted UInt8)
        ENGINE = ReplacingMergeTree(_cdc_seq, _cdc_deleted) ORDER BY id""",
    "with columns of another name": f"""({COLUMNS}, v UInt64, gone UInt8)
        ENGINE = ReplacingMergeTree(v, gone) ORDER BY (id)""",
    "with a version": f"({COLUMNS}, v UInt64) ENGINE = ReplacingMergeTree(v) ORDER BY id",
    "without a version": f"({COLUMNS}) ENGINE = ReplacingMergeTree ORDER BY id",
    "by another key": f"({COLUMNS}) ENGINE = ReplacingMergeTree ORDER BY (id, cityHash64(id))",
    "plain": f"({COLUMNS}) ENGINE = MergeTree ORDER BY tuple() PARTITION BY id % 3",
    "with a projection": f"""({COLUMNS}, PROJECTION p (SELECT name, count() GROUP BY name))
        ENGINE = MergeTree ORDER BY id""",
    "collapsing": f"({COLUMNS}, s Int8) ENGINE = CollapsingMergeTree(s) ORDER BY id",
    "collapsing by version": f"""({COLUMNS}, s Int8, v UInt64)
        ENGINE = VersionedCollapsingMergeTree(s, v) ORDER BY id""",
}

EVERY_TIME = ("with columns of another name", "plain", "collapsing by version")


def by_night(what: str) -> tuple[Any, ...]:
    """Marks of an engine: all of them are tried by night, the kinds of strategies every time."""
    return () if what in EVERY_TIME else (pytest.mark.nightly,)


@pytest.mark.parametrize("what", [pytest.param(w, marks=by_night(w)) for w in ENGINES])
def test_tables_of_any_engine_keep_one_row_per_key(
    sink: ClickHouseSink, room: Room, what: str
) -> None:
    """Inserts, updates, deletes, key changes, replays and a truncate, whatever the engine."""
    room.run("CREATE DATABASE shop", f"CREATE TABLE shop.orders {ENGINES[what]}")
    target = TARGET
    plain = "Replacing" not in ENGINES[what]
    assert [f.code for f in sink.check_table(target)] == ["deduplication"] * plain
    sink.merge(target, rows_of({1: "a", 2: None, 3: "c"}), keys_of(9), fence(None, 10))
    sink.merge(target, rows_of({2: "b", 4: "a"}), keys_of(1, 7), fence(10, 20))
    with pytest.raises(FencedOut):
        sink.merge(target, rows_of({2: "lost"}), keys_of(), fence(10, 20))
    sink.merge(target, rows_of({2: "b", 4: "a"}), keys_of(1, 7), fence(20, 20))
    sink.merge(target, rows_of({1: "again"}), keys_of(4), fence(20, 30))
    left = comparable(rows_of({1: "again", 2: "b", 3: "c"}))
    assert observe(sink, target) == (left, Watermark(30, 0, 1))
    room.run("OPTIMIZE TABLE shop.orders FINAL")
    assert comparable(sink.read_table(target.id)) == left
    assert sink.count_rows(target.id) == 3
    engine = room.rows("SELECT engine_full FROM system.tables WHERE name = 'orders'")
    assert load(sink, target, "a", [rows_of({1: "x", 5: None})], fence(30, 40)) == 2
    assert room.rows("SELECT engine_full FROM system.tables WHERE name = 'orders'") == engine
    sink.merge(target, rows_of({5: "five"}), keys_of(1), fence(40, 50))
    assert comparable(sink.read_table(target.id)) == comparable(rows_of({5: "five"}))
    assert sink.truncate(target, fence(50, 60)) == 1
    assert observe(sink, target) == ([], Watermark(60, 45, 1))


@pytest.mark.parametrize("what", [pytest.param(w, marks=by_night(w)) for w in ENGINES])
def test_a_write_broken_off_is_made_whole_by_the_next(
    sink: ClickHouseSink, room: Room, what: str
) -> None:
    """Engines without versions show keys missing in between, never twice, and then as they are."""
    room.run("CREATE DATABASE shop", f"CREATE TABLE shop.orders {ENGINES[what]}")
    sink.merge(TARGET, rows_of({1: "a", 2: "b"}), keys_of(), fence(None, 10))
    for number in range(1, 20):
        with ClickHouseSink(room.folder) as one:
            countdown = Countdown(one, number)
            try:
                one.merge(TARGET, rows_of({1: "A", 3: "c"}), keys_of(2), fence(10, 20))
            except FailpointReached:
                assert countdown.reached
        if not countdown.reached:
            break
        rows = sink.read_table(TARGET.id)["id"].to_pylist()
        assert len(rows) == len(set(rows))
    left = comparable(rows_of({1: "A", 3: "c"}))
    assert observe(sink, TARGET) == (left, Watermark(20, 0, 1))


@pytest.mark.parametrize("strategy", ["collapsing", "lightweight_delete", "mutation"])
def test_strategies_given(room: Room, strategy: Any) -> None:
    with room.sink(f"given {strategy}", strategy=strategy) as sink:
        load(sink, TARGET, "a", [rows_of({1: "one", 2: "two"})], fence(None, 10))
        STEPS["merge"].work(sink)
        left = comparable(rows_of({2: "TWO", 4: "four"}))
        assert observe(sink, TARGET) == (left, Watermark(20, 15, 1))
        sink.alter_table(TARGET.id, [RenameColumn("name", "title")])
        assert sink.read_schema(TARGET.id) == pa.schema(
            [("id", pa.int64()), ("title", pa.string())]
        )


def test_a_version_of_the_source_does_not_decide(sink: ClickHouseSink, room: Room) -> None:
    """The source may set it back; the last change counts, not the greatest version."""
    at = Column("at", pa.timestamp("us", tz="UTC"))
    schema = TableSchema(SCHEMA.table, (*SCHEMA.columns, at), ("id",))
    target = TargetTable(TARGET.id, schema)
    room.run("CREATE DATABASE shop")
    columns = f"{COLUMNS}, at DateTime64(6, 'UTC')"
    room.run(f"CREATE TABLE shop.orders ({columns}) ENGINE = ReplacingMergeTree(at) ORDER BY id")
    assert sink.check_table(target) == []
    for seq, year in enumerate((2024, 2020, 2022), start=1):
        then = dt.datetime(year, 1, 1, tzinfo=dt.UTC)
        rows = pa.table([[1], [str(year)], [then]], schema=target_schema(target))
        sink.merge(target, rows, keys_of(), fence(seq - 1 or None, seq))
        assert sink.read_table(target.id).equals(rows)


def test_engines_that_change_rows_are_refused(sink: ClickHouseSink, room: Room) -> None:
    room.run("CREATE DATABASE shop")
    for engine in ("SummingMergeTree ORDER BY id", "Memory", "AggregatingMergeTree ORDER BY id"):
        room.run(f"CREATE OR REPLACE TABLE shop.orders ({COLUMNS}) ENGINE = {engine}")
        assert [f.code for f in sink.check_table(TARGET)] == ["engine"]
        with pytest.raises(ConfigError, match="engine"):
            sink.merge(TARGET, rows_of({}), keys_of(), fence(None, 1))
    room.run("DROP TABLE shop.orders SYNC", "CREATE VIEW shop.orders AS SELECT 1 AS id")
    assert [f.code for f in sink.check_table(TARGET)] == ["name_collision"]


def test_shared_tables_need_an_engine_that_deletes_by_rows(
    sink: ClickHouseSink, room: Room
) -> None:
    columns = f"{COLUMNS}, origin Nullable(String)"
    room.run("CREATE DATABASE shop")
    room.run(f"CREATE TABLE shop.all_orders ({columns}) ENGINE = MergeTree ORDER BY id")
    assert [f.code for f in sink.check_table(SHARED)] == ["engine"]
    with pytest.raises(ConfigError, match="engine"):
        sink.truncate(SHARED, fence(None, 1, 1, NORTH))


def test_tables_altered_by_hand_are_shown_and_a_load_mends_them(
    sink: ClickHouseSink, room: Room
) -> None:
    STEPS["merge"].prepare(sink)
    room.run("ALTER TABLE shop.orders ADD COLUMN note String")
    with pytest.raises(SchemaMismatch) as caught:
        STEPS["merge"].work(sink)
    assert "(id Int64, name Nullable(String), note String)" in str(caught.value)
    assert [f.code for f in sink.check_table(TARGET)] == ["schema_mismatch"]
    load(sink, TARGET, "mend", [rows_of({1: "one"})], fence(10, 20))
    assert sink.check_table(TARGET) == []


def test_columns_that_compute_themselves_are_the_users(sink: ClickHouseSink, room: Room) -> None:
    STEPS["merge"].prepare(sink)
    room.run("ALTER TABLE shop.orders ADD COLUMN size Nullable(UInt64) MATERIALIZED length(name)")
    room.run("ALTER TABLE shop.orders ADD COLUMN twice Int64 ALIAS id * 2")
    assert sink.check_table(TARGET) == []
    STEPS["merge"].work(sink)
    rows = room.rows("SELECT id, size, twice FROM shop.orders FINAL ORDER BY id")
    assert rows == [(2, 3, 4), (3, None, 6), (4, 4, 8)]


def test_constraints_of_the_user_make_dirty_rows(sink: ClickHouseSink, room: Room) -> None:
    STEPS["merge"].prepare(sink)
    room.run("ALTER TABLE shop.orders ADD CONSTRAINT short CHECK length(name) < 9")
    before = observe(sink, TARGET)
    rows = rows_of({i: "canary-canary" if i in (13, 14, 40) else "fine" for i in range(50)})
    with pytest.raises(DirtyRowError, match="constraint short") as caught:
        sink.merge(TARGET, rows, keys_of(), fence(10, 20))
    assert "canary" not in str(caught.value)
    assert observe(sink, TARGET) == before
    rejected = sink.find_rejected(TARGET, rows)
    assert [r.index for r in rejected] == [13, 14, 40]
    assert "canary" not in str(rejected)
    assert observe(sink, TARGET) == before
    assert not room.rows("SELECT name FROM system.tables WHERE name LIKE '_cdc_trial%'")


def test_columns_that_are_never_null_make_dirty_rows(sink: ClickHouseSink, room: Room) -> None:
    room.run("CREATE DATABASE shop")
    room.run("CREATE TABLE shop.orders (id Int64, name String) ENGINE = MergeTree ORDER BY id")
    (finding,) = sink.check_table(TARGET)
    assert (finding.level, finding.code) == ("warning", "deduplication")
    room.run(finding.remedy)
    assert sink.check_table(TARGET) == []
    with pytest.raises(DirtyRowError) as caught:
        sink.merge(TARGET, rows_of({1: "a", 2: None}), keys_of(), fence(None, 10))
    assert caught.value.field == "name"
    assert [r.index for r in sink.find_rejected(TARGET, rows_of({1: "a", 2: None}))] == [1]
    assert observe(sink, TARGET) == ([], None)


def test_the_view_shows_one_row_per_key_and_follows_the_columns(
    sink: ClickHouseSink, room: Room
) -> None:
    STEPS["merge"].prepare(sink)
    STEPS["merge"].work(sink)
    query = "SELECT * FROM shop.orders_final ORDER BY id"
    assert room.rows(query) == [(2, "TWO"), (3, None), (4, "four")]
    assert len(room.rows("SELECT * FROM shop.orders")) > 3
    sink.alter_table(TARGET.id, [AddColumn(Column("n", pa.int8()))])
    assert room.rows(query) == [(2, "TWO", None), (3, None, None), (4, "four", None)]
    load(sink, TARGET, "b", [rows_of({7: "x"})], fence(20, 30))
    assert room.rows(query) == [(7, "x")]
    sink.drop_table(TARGET.id)
    assert not room.rows("SELECT name FROM system.tables WHERE database = 'shop'")


def test_a_view_of_the_user_is_left_alone(room: Room) -> None:
    with room.sink("a view of the user") as sink:
        room.run("CREATE DATABASE shop", "CREATE VIEW shop.orders_final AS SELECT 7 AS seven")
        (finding,) = sink.check_table(TARGET)
        assert (finding.level, finding.code) == ("warning", "name_collision")
        STEPS["merge"].prepare(sink)
        sink.drop_table(TARGET.id)
        assert room.rows("SELECT * FROM shop.orders_final") == [(7,)]
    with room.sink("no views", final_view="") as sink:
        STEPS["merge"].prepare(sink)
        assert room.rows("SELECT name FROM system.tables WHERE database = 'shop'") == [("orders",)]
    for pattern in ("final", "{table}"):
        with pytest.raises(ConfigError, match="name of its own"):
            ClickHouseSink(room.folder, final_view=pattern)


def test_partition_keys_lie_within_the_key(sink: ClickHouseSink, room: Room) -> None:
    columns = (Column("day", pa.date32(), nullable=False), Column("n", pa.decimal128(5, 2)))
    target = keyed_target(*columns, key=("id", "day"))
    outside = replace(target, partition_keys=("n",))
    assert [f.code for f in sink.check_table(outside)] == ["partition_keys"]
    target = replace(target, partition_keys=("day",))
    rows = pa.table(
        [[1, 2], [dt.date(2024, 1, 1), dt.date(2024, 1, 2)], [Decimal("1.00")] * 2],
        schema=target_schema(target),
    )
    assert load(sink, target, "a", [rows], fence(None, 1)) == 2
    assert room.rows("SELECT partition_key FROM system.tables WHERE name = 't'") == [("(day)",)]


def test_names_too_long_for_a_file_are_refused(sink: ClickHouseSink) -> None:
    for name in ("x" * 201, "名" * 23):
        target = TargetTable(TargetId("shop", name), SCHEMA)
        assert [f.code for f in sink.check_table(target)] == ["name_invalid"]
    sink.create_table(TargetTable(TargetId("shop", "名" * 22), SCHEMA))


def test_arguments_of_engines() -> None:
    assert engine_arguments("ReplacingMergeTree(v, `is deleted`) ORDER BY (a, b)") == (
        *("v", "is deleted"),
    )
    assert engine_arguments("ReplicatedReplacingMergeTree('/p/{uuid}', '{r}', v) ORDER BY a") == (
        *("v",),
    )
    assert engine_arguments("MergeTree ORDER BY (a, b)") == ()
    assert engine_arguments(r"CollapsingMergeTree(`a\`b\\`)") == ("a`b\\",)
