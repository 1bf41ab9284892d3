"""Three shards on two servers of different kinds become one table, whatever DDL comes when."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa
import pytest

from cdc_assets.engine.routing import Router, RouteRule
from resources.sinks.contract import TargetId
from tests.e2e import child
from tests.e2e.room import NIGHTLY, Line
from tests.mysql.room import tcp_settings
from tests.servers.family import FamilyServer

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

    def __init__(self, databases: Mapping[FamilyServer, str], home: Path, in_key: bool) -> None:
        rule = RouteRule(
            (r"/.*\.orders_(\d)/",),
            str(TARGET),
            True,
            (("shard", "{1}"),) if in_key else (),
            in_key,
        )
        self.lines = {
            server.kind: Line(
                server,
                child.Setup(
                    tcp_settings(server), database, home, {"router": Router((rule,))},
                    name=server.kind,
                ),
            )
            for server, database in databases.items()
        }  # fmt: skip
        for server, table in ALTERS:
            line = self.lines[server]
            line.execute(
                f"CREATE TABLE {table} (id INT PRIMARY KEY, a INT, b VARCHAR(20))",
                f"INSERT INTO {table} VALUES (1, 1, '{table}'), (2, NULL, NULL)",
            )
            line.load(table)  # the tables have the keys 1 and 2, each of them

    def target(self) -> pa.Table:
        return self.lines["mysql"].target(str(TARGET))

    def feed(self, server: str, table: str) -> str:
        return f"{server}/{self.lines[server].database}.{table}"


Make: TypeAlias = Callable[[bool], Shards]


@pytest.fixture
def make(
    mysql: FamilyServer, mariadb: FamilyServer, mysql_db: str, mariadb_db: str, tmp_path: Path
) -> Make:
    return partial(Shards, {mysql: mysql_db, mariadb: mariadb_db}, tmp_path)


ORDERS = list(itertools.permutations(ALTERS))


@pytest.mark.parametrize(
    "order",
    [*ORDERS[::2], *(pytest.param(order, marks=NIGHTLY) for order in ORDERS[1::2])],
    ids=str,
)
def test_ddl_of_the_shards_in_every_order_ends_in_one_right_table(
    make: Make, order: tuple[tuple[str, str], ...]
) -> None:
    shards = make(True)
    for server, table in order:
        alter, values = ALTERS[server, table]
        line = shards.lines[server]
        line.execute(
            alter.format(t=table),
            f"INSERT INTO {table} VALUES (3, {values[1:]}",
            f"UPDATE {table} SET a = 11 WHERE id = 1",
            f"DELETE FROM {table} WHERE id = 2",
        )
        outcomes = {outcome for outcome, _ in line.outcomes().values()}
        assert outcomes <= {"applied", "current", "loaded"}
    found = shards.target()
    types = {f.name: f.type for f in found.schema}
    assert set(types) == {"id", "a", "b", "c", "shard", "_cdc_source"}
    assert (types["a"], types["c"]) == (pa.int64(), pa.decimal128(20, 0))
    here = {(row["shard"], row["id"]): row for row in found.to_pylist()}
    assert len(here) == found.num_rows
    there = {
        (table[-1], row["id"]): row
        for server, table in ALTERS
        for row in shards.lines[server].select(f"SELECT * FROM {table}")
    }
    assert here.keys() == there.keys()
    for key, row in there.items():
        assert {name: here[key][name] for name in row} == row, key
        missing = {"c"} - set(row)
        assert all(here[key][name] is None for name in missing)
    assert here["3", 1]["b"] is None, "a later row of a shard without the column has none"


def test_a_key_that_two_shards_have_is_set_aside_and_names_both(make: Make) -> None:
    shards = make(False)
    first = shards.feed("mysql", "orders_1")
    assert set(shards.target().column("_cdc_source").to_pylist()) == {first}
    with shards.lines["mariadb"].pipeline() as pipeline:
        rows = pipeline.dirty.open_rows()
        assert {row.key for row in rows} == {'{"id":1}', '{"id":2}'}
        for row in rows:
            assert first in row.message
            assert shards.feed("mariadb", "orders_3") in row.message
    line = shards.lines["mysql"]
    line.execute(
        "INSERT INTO orders_2 VALUES (8, 8, 'mine')",
        "UPDATE orders_2 SET a = 5 WHERE id = 1",
        "DELETE FROM orders_2 WHERE id = 2",
    )
    line.sync()
    with line.pipeline() as pipeline:
        assert [row.key for row in pipeline.dirty.open_rows()] == ['{"id":1}']
    found = {row["id"]: (row["b"], row["_cdc_source"]) for row in shards.target().to_pylist()}
    second = shards.feed("mysql", "orders_2")
    assert found == {1: ("orders_1", first), 2: (None, first), 8: ("mine", second)}
