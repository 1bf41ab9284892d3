"""Tables made as the pipeline file says, and what becomes of them at loads, on real engines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import duckdb
import pytest

from resources.errors import ConfigError
from resources.sinks.clickhouse import ClickHouseSink
from resources.sinks.contract import Existing, Sink
from resources.sinks.duckdb import DuckDBSink
from resources.sinks.mysql import MySQLSink
from resources.sinks.postgres import PostgresSink
from tests.contracts.sink_steps import (
    FEED,
    HISTORY,
    TARGET,
    changes_of,
    fence,
    keys_of,
    load,
    rows_of,
)
from tests.sinks.clickhouse_room import Room as ClickHouseRoom
from tests.sinks.clickhouse_room import room as clickhouse_room
from tests.sinks.mysql_room import MySQLRoom
from tests.sinks.mysql_room import mysql_room as mysql_room
from tests.sinks.postgres_room import Room as PostgresRoom
from tests.sinks.postgres_room import room as room
from tests.strategies import comparable

__all__ = ["clickhouse_room", "mysql_room", "room"]
KINDS = ("duckdb", "postgres", "mysql", "clickhouse")


@dataclass
class Engine:
    """One engine, and how a test asks it beside the sink.

    Args:
        kind: Which.
        open: Makes a sink of one place, with rules.
        run: Runs statements, returns the rows of the last as text.
    """

    kind: str
    open: Callable[..., Sink]
    run: Callable[..., str]

    def definition(self) -> str:
        """What the engine says of how `shop.orders` is made."""
        return self.run(
            {
                "duckdb": "SELECT sql FROM duckdb_tables() WHERE table_name = 'orders'",
                "postgres": "SELECT reloptions::text, (SELECT string_agg(indexname, ',') FROM "
                "pg_indexes WHERE tablename = 'orders' AND schemaname = 'shop') FROM pg_class c "
                "JOIN pg_namespace n ON n.oid = relnamespace WHERE relname = 'orders' "
                "AND nspname = 'shop'",
                "mysql": "SHOW CREATE TABLE shop.orders",
                "clickhouse": "SELECT create_table_query FROM system.tables "
                "WHERE database = 'shop' AND name = 'orders'",
            }[self.kind]
        )


@pytest.fixture(params=KINDS)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    kind, place = request.param, f"{request.node.name}"
    if kind == "duckdb":
        file = str(tmp_path / "a.duckdb")

        def run(*statements: str) -> str:
            with duckdb.connect(file) as connection:
                return str([connection.execute(s).fetchall() for s in statements][-1])

        yield Engine(kind, lambda **o: DuckDBSink(file, **o), run)
    elif kind == "postgres":
        postgres: PostgresRoom = request.getfixturevalue("room")
        name = postgres.database(place)
        yield Engine(
            kind,
            lambda **o: PostgresSink(postgres.url(name), **o),
            lambda *s: str(postgres.run(name, *s)),
        )
    elif kind == "mysql":
        mysql: MySQLRoom = request.getfixturevalue("mysql_room")
        mysql.enter(place)
        yield Engine(
            kind, lambda **o: MySQLSink(**mysql.options(**o)), lambda *s: str(mysql.run(*s))
        )
    else:
        house: ClickHouseRoom = request.getfixturevalue("clickhouse_room")
        house.at(place)

        def ask(*statements: str) -> str:
            house.run(*statements[:-1])
            if statements[-1].startswith("SELECT"):
                return str(house.rows(statements[-1]))
            house.run(statements[-1])
            return ""

        yield Engine(kind, lambda **o: ClickHouseSink(house.folder, **o), ask)


TEMPLATES = {
    "duckdb": ("CREATE TABLE {table} ({columns}, CHECK (id < 1000))", "CHECK"),
    "postgres": ("CREATE TABLE {table} ({columns}) WITH (fillfactor = 71)", "fillfactor=71"),
    "mysql": ("CREATE TABLE {table} ({columns}) ROW_FORMAT=COMPRESSED", "COMPRESSED"),
    "clickhouse": (
        "CREATE TABLE {table} ({columns}) ENGINE = {engine} ORDER BY ({key}) "
        "SETTINGS index_granularity = 711",
        "index_granularity = 711",
    ),
}
OPTIONS = {
    "postgres": ("WITH (fillfactor = 71)", "fillfactor=71"),
    "mysql": ("ROW_FORMAT=COMPRESSED", "COMPRESSED"),
    "clickhouse": (
        "PARTITION BY id % 2 SETTINGS index_granularity = 711",
        "non_replicated_deduplication_window = 1000, index_granularity = 711",
    ),
}
WRONG = {
    "duckdb": "CREATE TABLE {table} ({columns}, more INTEGER)",
    "postgres": "CREATE TABLE {table} ({columns}, more integer)",
    "mysql": "CREATE TABLE {table} ({plain_columns}, more int, PRIMARY KEY ({key}))",
    "clickhouse": "CREATE TABLE {table} ({columns}, more Int8) ENGINE = {engine} ORDER BY ({key})",
}


def use(sink: Sink) -> None:
    """Load, merge and load again."""
    load(sink, TARGET, "a", [rows_of({1: "one", 2: "two"})], fence(None, 10))
    sink.merge(TARGET, rows_of({3: "three"}), keys_of(1), fence(10, 20))
    expected = rows_of({2: "two", 3: "three"})
    assert comparable(sink.read_table(TARGET.id)) == comparable(expected)
    load(sink, TARGET, "b", [rows_of({7: "seven"})], fence(None, 30))
    assert comparable(sink.read_table(TARGET.id)) == comparable(rows_of({7: "seven"}))


def rule(**keys: object) -> dict[str, object]:
    return {"tables": ["shop.ord*"], **keys}


def test_a_template_makes_every_table_it_means(engine: Engine) -> None:
    template, shown = TEMPLATES[engine.kind]
    with engine.open(create_table=[rule(template=template)]) as sink:
        use(sink)
        sink.create_table(replace(HISTORY, id=replace(HISTORY.id, table="others")))
        sink.create_table(HISTORY)  # without a primary key
        sink.append(HISTORY, changes_of(5, ["a"]), fence(None, 5))
        assert sink.count_rows(HISTORY.id) == 1
    assert shown in engine.definition()


def test_options_stand_behind_the_sinks_own_statement(engine: Engine) -> None:
    if engine.kind not in OPTIONS:
        with pytest.raises(ConfigError, match="names"):
            engine.open(create_table=[rule(template="CREATE TABLE {table} ({columns}) {space}")])
        return
    options, shown = OPTIONS[engine.kind]
    with engine.open(create_table=[rule(options=options)]) as sink:
        use(sink)
    assert shown in engine.definition()


def test_a_template_that_makes_another_table_is_refused_before_rows(engine: Engine) -> None:
    with engine.open(create_table=[rule(template=WRONG[engine.kind])]) as sink:
        with pytest.raises(ConfigError, match=r"create_table.*more"):
            load(sink, TARGET, "a", [rows_of({1: "one"})], fence(None, 10))
        with pytest.raises(ConfigError, match=r"create_table.*more"):
            sink.create_table(TARGET)
        assert sink.read_schema(TARGET.id) is None
        assert sink.read_watermark(TARGET.id, FEED) is None


def test_a_table_without_a_key_has_none_to_name(engine: Engine) -> None:
    template = TEMPLATES[engine.kind][0].replace("({columns}", "({columns} /* {key} */")
    with engine.open(create_table=[rule(template=template)]) as sink:
        if engine.kind == "clickhouse":  # sorted by the number of the change
            sink.create_table(HISTORY)
            return
        with pytest.raises(ConfigError, match=r"names \{key\}, and this table has no key"):
            sink.create_table(HISTORY)


BY_HAND = {
    "duckdb": "CREATE TABLE shop.orders (id BIGINT NOT NULL, name VARCHAR DEFAULT 'mine')",
    "postgres": "CREATE TABLE shop.orders (id bigint PRIMARY KEY, name text) WITH (fillfactor=55);"
    "CREATE INDEX mine ON shop.orders (name)",
    "mysql": "CREATE TABLE shop.orders (id bigint PRIMARY KEY, name longtext COLLATE "
    "utf8mb4_0900_bin, KEY mine (name(20)))",
    "clickhouse": "CREATE TABLE shop.orders (id Int64, name Nullable(String), "
    "INDEX mine name TYPE bloom_filter, _cdc_seq UInt64, _cdc_deleted UInt8) "
    "ENGINE = ReplacingMergeTree(_cdc_seq, _cdc_deleted) ORDER BY id "
    "SETTINGS non_replicated_deduplication_window = 1000",
}


@pytest.mark.parametrize("existing", ["kept", "anew"])
def test_what_hangs_on_a_table_stays_with_it_unless_it_is_made_anew(
    engine: Engine, existing: str
) -> None:
    create = "DATABASE" if engine.kind in ("mysql", "clickhouse") else "SCHEMA"
    engine.run(f"CREATE {create} shop", *BY_HAND[engine.kind].split(";"))
    target = replace(TARGET, existing=cast(Existing, existing))
    with engine.open() as sink:
        for load_id in ("a", "b"):
            load(sink, target, load_id, [rows_of({1: load_id})], fence(None, 10))
            assert comparable(sink.read_table(TARGET.id)) == comparable(rows_of({1: load_id}))
        sink.merge(TARGET, rows_of({2: "two"}), keys_of(1), fence(10, 20))
        assert comparable(sink.read_table(TARGET.id)) == comparable(rows_of({2: "two"}))
    assert ("mine" in engine.definition()) == (existing == "kept")


def test_a_table_that_others_refer_to_is_not_made_anew(mysql_room: MySQLRoom) -> None:
    options: dict[str, Any] = mysql_room.options()
    mysql_room.enter("refers")
    mysql_room.run(
        "CREATE DATABASE shop", BY_HAND["mysql"], "INSERT INTO shop.orders VALUES (9, 'x')"
    )
    mysql_room.run(
        "CREATE TABLE shop.lines (o bigint, FOREIGN KEY (o) REFERENCES shop.orders (id))"
    )
    with MySQLSink(**options) as sink:
        with pytest.raises(ConfigError, match="foreign keys of other tables refer to it"):
            load(sink, replace(TARGET, existing="anew"), "a", [rows_of({1: "x"})], fence(None, 10))
        assert comparable(sink.read_table(TARGET.id)) == comparable(rows_of({9: "x"}))


def test_a_table_that_a_view_shows_is_not_made_anew(room: PostgresRoom) -> None:
    name = room.database("shown")
    room.run(name, "CREATE SCHEMA shop", *BY_HAND["postgres"].split(";"))
    room.run(name, "CREATE VIEW shop.seen AS SELECT * FROM shop.orders")
    room.run(name, "INSERT INTO shop.orders VALUES (9, 'x')")
    with PostgresSink(room.url(name)) as sink:
        with pytest.raises(ConfigError, match=r"seen"):
            load(sink, replace(TARGET, existing="anew"), "a", [rows_of({1: "x"})], fence(None, 10))
        assert comparable(sink.read_table(TARGET.id)) == comparable(rows_of({9: "x"}))
