"""Files of an older version: their ledger is brought up when they are opened."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from resources.errors import TerminalError
from resources.model.table import TableId
from resources.sinks.contract import Feed, TargetId, TargetTable, Watermark
from resources.sinks.duckdb import DuckDBSink
from tests.contracts.sink_steps import FEED, PIPELINE, TARGET, fence, keys_of, load, rows_of
from tests.strategies import comparable

_VERSION_1 = """
    CREATE SCHEMA shop._cdc;
    CREATE TABLE shop._cdc.watermarks(
        pipeline VARCHAR, namespace VARCHAR, target VARCHAR, seq UBIGINT NOT NULL,
        consistent_from UBIGINT NOT NULL, token UBIGINT NOT NULL, updated_at TIMESTAMPTZ NOT NULL,
        PRIMARY KEY (pipeline, namespace, target));
    CREATE TABLE shop._cdc.tables(
        namespace VARCHAR, target VARCHAR, arrow BLOB NOT NULL, PRIMARY KEY (namespace, target));
    CREATE TABLE shop._cdc.loads(
        namespace VARCHAR, target VARCHAR, load_id VARCHAR NOT NULL, shadow VARCHAR NOT NULL,
        finished BOOLEAN NOT NULL, PRIMARY KEY (namespace, target));
    CREATE TABLE shop._cdc.loaded_chunks(
        namespace VARCHAR, target VARCHAR, load_id VARCHAR, chunk BIGINT, rows BIGINT NOT NULL,
        PRIMARY KEY (namespace, target, load_id, chunk));
    CREATE SCHEMA shop.shop;
    CREATE TABLE shop.shop.orders(id BIGINT NOT NULL, name VARCHAR);
    INSERT INTO shop.shop.orders VALUES (1, 'one'), (2, 'two');
    INSERT INTO shop._cdc.watermarks VALUES
        ('orders', 'shop', 'orders', 18446744073709551615, 15, 7, now()),
        ('orders', 'shop', 'people', 3, 0, 0, now()),
        ('other', 'shop', 'people', 4, 0, 0, now());
    INSERT INTO shop._cdc.loads VALUES
        ('shop', 'orders', 'done', '_cdc_load_1', true),
        ('shop', 'people', 'open', '_cdc_load_2', false);
    CREATE TABLE shop.shop._cdc_load_2(id BIGINT NOT NULL, name VARCHAR);
    INSERT INTO shop.shop._cdc_load_2 VALUES (5, 'five');
    INSERT INTO shop._cdc.loaded_chunks VALUES
        ('shop', 'orders', 'done', 1, 2), ('shop', 'orders', 'done', 2, 0),
        ('shop', 'people', 'open', 1, 1);
"""
PEOPLE = TargetId("shop", "people")


@pytest.fixture
def old(tmp_path: Path) -> Iterator[DuckDBSink]:
    path = str(tmp_path / "shop.duckdb")
    with duckdb.connect(path) as connection:
        connection.execute(_VERSION_1)
    with DuckDBSink(path) as sink:
        yield sink


def test_watermarks_of_version_1_belong_to_the_table_of_the_targets_name(old: DuckDBSink) -> None:
    marks = {
        (TARGET.id, TableId("shop", "orders")): Watermark(2**64 - 1, 15, 7),
        (PEOPLE, TableId("shop", "people")): Watermark(3, 0, 0),
    }
    for _ in range(2):
        assert old.list_watermarks(PIPELINE) == marks
        other = Feed("other", TableId("shop", "people"))
        assert old.read_watermark(PEOPLE, other) == Watermark(4, 0, 0)
        old.close()
    top = 2**64 - 1
    old.merge(TARGET, rows_of({2: "TWO"}), keys_of(1), fence(top, top, 7))
    assert comparable(old.read_table(TARGET.id)) == comparable(rows_of({2: "TWO"}))


def test_loads_of_version_1_go_on(old: DuckDBSink) -> None:
    assert old.finish_load(TARGET, "done", fence(None, 10, 7), 15) == 2
    old.begin_load(TARGET, "done", FEED)
    assert old.loaded_chunks(TARGET.id, "done") == {1: 2, 2: 0}
    with pytest.raises(TerminalError, match="begun by orders/shop"):
        old.begin_load(TARGET, "done", Feed("other", FEED.table))
    people = TargetTable(PEOPLE, TARGET.schema)
    feed = Feed("other", TableId("shop", "people"))
    old.begin_load(people, "open", feed)
    assert old.loaded_chunks(PEOPLE, "open") == {1: 1}
    old.load_chunk(people, "open", 2, [rows_of({6: "six"})])
    assert old.finish_load(people, "open", fence(None, 9, 1, feed), 9) == 2
    assert comparable(old.read_table(PEOPLE)) == comparable(rows_of({5: "five", 6: "six"}))


def test_a_load_left_open_by_version_1_is_dropped_by_the_next(old: DuckDBSink) -> None:
    people = TargetTable(PEOPLE, TARGET.schema)
    feed = Feed(PIPELINE, TableId("shop", "people"))
    assert load(old, people, "next", [rows_of({7: "x"})], fence(3, 9, 1, feed)) == 1
    assert old.loaded_chunks(PEOPLE, "open") == {}
    tables = old._file.connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()
    names = sorted(name for (name,) in tables)
    assert names == ["loaded_chunks", "loads", "orders", "people", "tables", "watermarks"]


def test_bringing_up_is_whole_or_not_at_all(old: DuckDBSink) -> None:
    path = old._file.path
    with duckdb.connect(path) as connection:
        connection.execute("CREATE TABLE shop._cdc.loads_v1(x INTEGER)")
    with pytest.raises(duckdb.Error):
        old.read_watermark(TARGET.id, FEED)
    old.close()
    with duckdb.connect(path) as connection:
        marks = connection.execute("SELECT count(target) FROM shop._cdc.watermarks").fetchall()
        assert marks == [(3,)]
        connection.execute("DROP TABLE shop._cdc.loads_v1")
    assert old.read_watermark(TARGET.id, FEED) == Watermark(2**64 - 1, 15, 7)
