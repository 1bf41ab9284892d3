"""Changes of columns in DuckDB: its own types, statements and dependencies."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resources.errors import ConfigError, DirtyRowError, SchemaMismatch
from resources.model.column_change import (
    AddColumn,
    ColumnChange,
    DropColumn,
    RenameColumn,
    RetypeColumn,
)
from resources.model.table import Column
from resources.sinks.contract import Feed
from resources.sinks.duckdb import DuckDBSink
from tests.contracts.sink_alter import ID, fill, target_of
from tests.contracts.sink_shared_steps import NORTH, SHARED, SOUTH, shared_rows
from tests.contracts.sink_steps import STEPS, TARGET, fence, keys_of, observe, rows_of
from tests.sinks.test_duckdb import alter
from tests.strategies import arrow_values


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "shop.duckdb")


@pytest.fixture
def sink(path: str) -> Iterator[DuckDBSink]:
    with DuckDBSink(path, types={"decimal_overflow": "text"}) as sink:
        yield sink


def test_the_statements_are_those_of_duckdb(sink: DuckDBSink) -> None:
    fill(sink, target_of(Column("a", pa.int32()), Column('say "hi"', pa.string())), [1], ["x"])
    changes: list[ColumnChange] = [
        AddColumn(Column("at", pa.timestamp("us", tz="UTC"))),
        AddColumn(Column("b", pa.int64()), copy_of="a"),
        RenameColumn('say "hi"', "greeting"),
        RetypeColumn(Column("greeting", pa.large_string())),
        RetypeColumn(Column("a", pa.decimal128(12, 2))),
        DropColumn("a"),
    ]
    table = 'ALTER TABLE "shop"."shop"."altered"'
    assert sink.render_changes(ID, changes) == [
        f'{table} ADD COLUMN "at" TIMESTAMP WITH TIME ZONE',
        f'{table} ADD COLUMN "b" BIGINT',
        'UPDATE "shop"."shop"."altered" SET "b" = CAST("a" AS BIGINT)',
        f'{table} RENAME COLUMN "say ""hi""" TO "greeting"',
        f'{table} ALTER COLUMN "a" TYPE DECIMAL(12,2) USING CAST("a" AS DECIMAL(12,2))',
        f'{table} DROP COLUMN "a"',
    ]
    sink.alter_table(ID, changes)
    schema = sink.read_schema(ID)
    assert schema is not None
    assert schema.field("greeting").type == pa.large_string()


@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(data=st.data())
def test_decimals_become_the_same_text_whether_altered_or_written(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    columns, changes, values = [], [], []
    for number in range(8):
        scale = data.draw(st.integers(0, 30))
        old = pa.decimal128(data.draw(st.integers(max(scale, 1), 38)), scale)
        new = pa.decimal256(76, data.draw(st.integers(scale, scale + 38)))
        columns += [Column(f"altered{number}", old), Column(f"written{number}", new)]
        changes.append(RetypeColumn(Column(f"altered{number}", new)))
        values += 2 * [data.draw(st.lists(st.none() | arrow_values(old), min_size=4, max_size=4))]
    place = str(tmp_path_factory.mktemp("text") / "shop.duckdb")
    with DuckDBSink(place, types={"decimal_overflow": "text"}) as sink:
        fill(sink, target_of(*columns), *values)
        sink.alter_table(ID, changes)
        rows = sink.read_table(ID)
        texts = sink._file.connection.sql("SELECT * FROM shop.shop.altered").to_arrow_table()
    for table in (rows, texts):
        for number in range(8):
            assert table[f"altered{number}"].equals(table[f"written{number}"])


def test_wide_decimals_widen_further_and_go_nowhere_else(sink: DuckDBSink) -> None:
    value = Decimal("-12345678901234567890123456789012345.67")
    fill(sink, target_of(Column("v", pa.decimal256(60, 2))), [value, None])
    sink.alter_table(ID, [RetypeColumn(Column("v", pa.decimal256(65, 5)))])
    assert sink.read_table(ID).sort_by("id")["v"].to_pylist() == [value, None]
    for type_ in (pa.decimal128(38, 2), pa.decimal256(64, 5)):
        with pytest.raises(ConfigError, match="cannot be changed in place"):
            sink.alter_table(ID, [RetypeColumn(Column("v", type_))])


def test_wide_decimals_are_refused_where_they_are_not_asked_for(path: str) -> None:
    with DuckDBSink(path) as sink:
        fill(sink, target_of(Column("v", pa.int32())), [1])
        wide = Column("v", pa.decimal256(60, 2))
        for change in (RetypeColumn(wide), AddColumn(Column("w", wide.type))):
            with pytest.raises(ConfigError, match="cannot hold"):
                sink.alter_table(ID, [change])


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE INDEX mine ON shop.shop.orders(name)",
        "CREATE OR REPLACE TABLE shop.shop.orders(id BIGINT CHECK (id > 0), name VARCHAR)",
        "CREATE OR REPLACE TABLE shop.shop.orders(id BIGINT PRIMARY KEY, name VARCHAR)",
    ],
    ids=["index", "check", "primary key"],
)
def test_what_a_user_added_is_in_the_way_and_said_so(
    sink: DuckDBSink, path: str, statement: str
) -> None:
    STEPS["merge"].prepare(sink)
    sink.close()
    alter(path, statement)
    before = observe(sink, TARGET)
    with pytest.raises(ConfigError, match="DuckDB refuses") as caught:
        sink.alter_table(
            TARGET.id,
            [AddColumn(Column("x", pa.int8())), RetypeColumn(Column("id", pa.decimal128(20)))],
        )
    assert "index or constraint" in caught.value.remedy
    assert sink.read_schema(TARGET.id) == rows_of({}).schema
    assert observe(sink, TARGET) == before


def test_statements_given_cannot_end_the_transaction_or_tell_values(sink: DuckDBSink) -> None:
    STEPS["merge"].prepare(sink)
    before = observe(sink, TARGET)
    drop = "DROP TABLE shop.shop.orders"
    tries = ([f"{drop}; COMMIT"], [drop, "ROLLBACK"], [drop, "SELECT 'canary'::INTEGER"])
    for statements in tries:
        with pytest.raises(ConfigError, match="is refused") as caught:
            sink.execute(statements)
        assert "canary" not in str(caught.value)
    assert observe(sink, TARGET) == before
    sink.execute(
        ["DELETE FROM shop.shop.orders; ALTER TABLE shop.shop.orders ADD COLUMN x TINYINT"]
    )
    schema = sink.read_schema(TARGET.id)
    assert schema is not None
    assert (schema.field("x").type, sink.count_rows(TARGET.id)) == (pa.int8(), 0)


def test_a_view_on_the_table_stays(tmp_path: Path) -> None:
    path = str(tmp_path / "db.duckdb")
    with DuckDBSink(path) as sink:
        STEPS["merge"].prepare(sink)
        sink.close()
        alter(path, "CREATE VIEW shop.ids AS SELECT id FROM shop.orders")
        retype = RetypeColumn(Column("id", pa.decimal128(20)))
        sink.alter_table(TARGET.id, [DropColumn("name"), retype])
    with duckdb.connect(path) as connection:
        found = connection.execute("SELECT count(*), typeof(any_value(id)) FROM shop.ids")
        assert found.fetchall() == [(3, "DECIMAL(20,0)")]


def test_a_column_added_by_hand_is_taken_over(sink: DuckDBSink, path: str) -> None:
    STEPS["merge"].prepare(sink)
    sink.close()
    added = ("note VARCHAR", "n INTEGER")
    alter(path, *(f"ALTER TABLE shop.shop.orders ADD COLUMN {column}" for column in added))
    sink.alter_table(
        TARGET.id, [AddColumn(Column("m", pa.int8())), AddColumn(Column("note", pa.string()))]
    )
    schema = sink.read_schema(TARGET.id)
    assert schema is not None
    assert schema.names == ["id", "name", "note", "n", "m"]
    with pytest.raises(SchemaMismatch, match="taken by 'n'"):
        sink.alter_table(TARGET.id, [AddColumn(Column("N", pa.int8()))])


def test_feeds_of_two_connections_never_both_take_a_key(path: str) -> None:
    """DuckDB itself sees no conflict between two transactions that insert the same new key."""
    with DuckDBSink(path) as first, DuckDBSink(path) as second:
        first.create_table(SHARED)
        for turn in range(1, 11):
            assert sorted(race({NORTH: first, SOUTH: second}, turn)) == ["refused", "taken"]
            assert first.count_rows(SHARED.id) == turn


def race(sinks: dict[Feed, DuckDBSink], turn: int) -> list[str]:
    """Let feeds merge the same new key at the same moment; what became of it."""
    start = threading.Barrier(len(sinks))
    results: list[str] = []

    def write(feed: Feed, sink: DuckDBSink) -> None:
        rows, at = shared_rows(feed, {turn: "mine"}), fence(turn - 1 or None, turn, 1, feed)
        start.wait()
        try:
            sink.merge(SHARED, rows, keys_of(), at)
            results.append("taken")
        except DirtyRowError:
            sink.merge(SHARED, rows.slice(0, 0), keys_of(), at)
            results.append("refused")

    threads = [threading.Thread(target=write, args=pair) for pair in sinks.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results
