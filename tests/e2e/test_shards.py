"""Three shards on two servers of different kinds become one table, whatever DDL comes when."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from cdc_assets.engine.routing import Router, RouteRule
from cdc_assets.engine.run import run_snapshot, run_sync
from resources.model.table import TableId
from resources.sinks.contract import TargetId
from tests.e2e import child
from tests.mysql.room import tcp_settings

TARGET = TargetId("dw", "orders")
ALTERS = {
    ("mysql", "orders_1"): ("ALTER TABLE {t} ADD c INT", "(7, 'x', 70)"),
    ("mysql", "orders_2"): ("ALTER TABLE {t} MODIFY a BIGINT", "(5000000000, 'y')"),
    ("mariadb", "orders_3"): (
        "ALTER TABLE {t} ADD c BIGINT UNSIGNED, DROP COLUMN b",
        "(9, 18446744073709551615)",
    ),
}


class Shards:
    """One pipeline per server, both into one target of one DuckDB file."""

    def __init__(self, mysql: Any, mariadb: Any, databases: dict[str, str], home: Path) -> None:
        self.servers = {"mysql": mysql, "mariadb": mariadb}
        self.databases, self.home = databases, home

    def setup(self, server: str, in_key: bool = True) -> child.Setup:
        shard = (("shard", "{1}"),)
        rule = RouteRule(("*.orders_*",), str(TARGET), True, shard if in_key else (), in_key)
        rule = RouteRule((r"/.*\.orders_(\d)/",), rule.target, True, rule.shard, in_key)
        settings = tcp_settings(self.servers[server])
        options = {"router": Router((rule,))}
        return child.Setup(settings, self.databases[server], self.home, options, name=server)

    def execute(self, server: str, *statements: str) -> None:
        connection = self.servers[server].connect(database=self.databases[server])
        with connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def rows(self, server: str, table: str) -> list[dict[str, Any]]:
        connection = self.servers[server].connect(database=self.databases[server])
        with connection, connection.cursor() as cursor:
            cursor.execute(f"SELECT * FROM {table}")
            names = [d[0] for d in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    @contextlib.contextmanager
    def pipeline(self, server: str, in_key: bool = True) -> Iterator[Any]:
        pipeline = child.open_pipeline(self.setup(server, in_key))
        try:
            yield pipeline
        finally:
            pipeline.close()

    def sync(self, server: str) -> dict[str, str]:
        with self.pipeline(server) as pipeline:
            report = run_sync(pipeline)
            return {t.table: r.outcome for t, r in report.tables.items()}

    def target(self) -> pa.Table:
        with contextlib.closing(child.open_sink(self.setup("mysql"))) as sink:
            return sink.read_table(TARGET)


@pytest.fixture
def shards(mysql: Any, mariadb: Any, mysql_db: str, mariadb_db: str, tmp_path: Path) -> Shards:
    return Shards(mysql, mariadb, {"mysql": mysql_db, "mariadb": mariadb_db}, tmp_path)


def begin(shards: Shards, in_key: bool = True) -> None:
    for server, table in ALTERS:
        shards.execute(
            server,
            f"CREATE TABLE {table} (id INT PRIMARY KEY, a INT, b VARCHAR(20))",
            f"INSERT INTO {table} VALUES (1, 1, '{table}'), (2, NULL, NULL)",
        )
        with shards.pipeline(server, in_key) as pipeline:
            run_snapshot(pipeline, TableId(shards.databases[server], table))


ORDERS = list(itertools.permutations(ALTERS))


@pytest.mark.parametrize(
    "order",
    [*ORDERS[::2], *(pytest.param(order, marks=pytest.mark.nightly) for order in ORDERS[1::2])],
    ids=str,
)
def test_ddl_of_the_shards_in_every_order_ends_in_one_right_table(
    shards: Shards, order: tuple[tuple[str, str], ...]
) -> None:
    begin(shards)
    for server, table in order:
        alter, values = ALTERS[server, table]
        shards.execute(
            server,
            alter.format(t=table),
            f"INSERT INTO {table} VALUES (3, {values[1:]}",
            f"UPDATE {table} SET a = 11 WHERE id = 1",
            f"DELETE FROM {table} WHERE id = 2",
        )
        assert set(shards.sync(server).values()) <= {"applied", "current", "loaded"}
    found = shards.target()
    types = {f.name: f.type for f in found.schema}
    assert set(types) == {"id", "a", "b", "c", "shard", "_cdc_source"}
    assert (types["a"], types["c"]) == (pa.int64(), pa.decimal128(20, 0))
    here = {(row["shard"], row["id"]): row for row in found.to_pylist()}
    there = {
        (table[-1], row["id"]): row
        for server, table in ALTERS
        for row in shards.rows(server, table)
    }
    assert here.keys() == there.keys()
    for key, row in there.items():
        assert {name: here[key][name] for name in row} == row, key
        missing = {"c"} - set(row)
        assert all(here[key][name] is None for name in missing)
    assert here["3", 1]["b"] is None, "a later row of a shard without the column has none"


def test_a_key_that_two_shards_have_is_set_aside_and_names_both(shards: Shards) -> None:
    begin(shards, in_key=False)  # the tables have the keys 1 and 2, each of them
    owners = set(shards.target().column("_cdc_source").to_pylist())
    first = f"mysql/{shards.databases['mysql']}.orders_1"
    assert owners == {first}
    with shards.pipeline("mariadb", in_key=False) as pipeline:
        rows = pipeline.dirty.open_rows()
        assert {row.key for row in rows} == {'{"id":1}', '{"id":2}'}
        for row in rows:
            assert first in row.message
            assert f"mariadb/{shards.databases['mariadb']}.orders_3" in row.message
    shards.execute("mysql", "INSERT INTO orders_2 VALUES (8, 8, 'mine')")
    shards.execute(
        "mysql", "UPDATE orders_2 SET a = 5 WHERE id = 1", "DELETE FROM orders_2 WHERE id = 2"
    )
    with shards.pipeline("mysql", in_key=False) as pipeline:
        run_sync(pipeline)
        assert [row.key for row in pipeline.dirty.open_rows()] == ['{"id":1}']
    found = {row["id"]: (row["b"], row["_cdc_source"]) for row in shards.target().to_pylist()}
    second = f"mysql/{shards.databases['mysql']}.orders_2"
    assert found == {1: ("orders_1", first), 2: (None, first), 8: ("mine", second)}
