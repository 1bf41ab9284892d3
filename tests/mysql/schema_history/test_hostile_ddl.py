"""Statements nobody would write: what they do is told or called unknown, and nothing breaks."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.model.table import TableId
from resources.mysql.binlog.bodies import Query
from resources.mysql.binlog.sql_tokens import ServerKind
from resources.mysql.schema_history.apply import Effects, Shapes, apply_statement
from resources.mysql.schema_history.memory import Memory, recall
from tests.mysql.random_ddl import TABLES, RandomDdl

SERVERS = {"mysql": ServerKind("mysql", 90704), "mariadb": ServerKind("mariadb", 101100)}
_SCRAPS = (
    *("(", ")", ",", "'", '"', "`", "/*", "*/", "--\n", "", ".", "=", "é", "TABLE", "IF", "AS"),
    *("0", "77", "99999999999999999999", "DECIMAL(99,3)", "VARBINARY", "BIT(0)", "TEXT(1e9)"),
    *("ENUM()", "SET('')", "VECTOR(0)", "TIME(9)", "YEAR(2)", "CHAR(70000)", "DECIMAL(3,9)"),
)


def _apply(shapes: Shapes, sql: str) -> tuple[Shapes, Effects]:
    effects = apply_statement(Query("db", sql, server_collation=45), shapes, lambda _: True)
    memory = Memory(shapes)
    for change in effects.tables:
        memory = memory.with_shape(change.table, change.after)
    return memory.shapes, effects


def _shapes(rnd: random.Random, server: str) -> tuple[Shapes, RandomDdl]:
    """Tables as some statements make them."""
    shapes = Shapes(SERVERS[server], charsets={"db": "utf8mb4"})

    def look(name: str) -> Sequence[str]:
        shape = shapes.get(TableId("db", name))
        return shape.schema.names if shape else ()

    ddl = RandomDdl(rnd, server, look)
    for table in TABLES:
        shapes, _ = _apply(shapes, f"CREATE TABLE {table} ({ddl.column('a')}, {ddl.column('b')})")
    for _ in range(rnd.randint(0, 4)):
        shapes, _ = _apply(shapes, ddl.statement())
    return shapes, ddl


def _damaged(rnd: random.Random, sql: str) -> str:
    words = sql.split(" ")
    for _ in range(rnd.randint(1, 3)):
        at = rnd.randrange(len(words))
        words[at : at + rnd.choice((0, 1, 1, 3))] = [rnd.choice([*_SCRAPS, *words])]
    return " ".join(words)


@pytest.mark.parametrize("server", SERVERS)
@settings(max_examples=150)
@given(seed=st.integers(0, 1 << 40))
def test_any_statement_has_an_effect_or_is_unknown(server: str, seed: int) -> None:
    rnd = random.Random(seed)
    shapes, ddl = _shapes(rnd, server)
    _, effects = _apply(shapes, _damaged(rnd, ddl.statement()))
    for change in effects.tables:
        assert not (change.after is not None and change.unknown)
        assert change.after is None or change.after.schema.table == change.table


@pytest.mark.parametrize("server", SERVERS)
@settings(max_examples=50)
@given(seed=st.integers(0, 1 << 40))
def test_what_is_kept_comes_back_equal(server: str, seed: int) -> None:
    shapes, _ = _shapes(random.Random(seed), server)
    memory = Memory(shapes).with_charset("db", "latin1").with_scope('["db.*"]')
    for table, shape in shapes.tables.items():
        memory = memory.with_shape(table, shape)
    for table in [TableId("db", "gone"), *shapes.lost]:
        memory = memory.with_shape(table, None)
    kept = {record.table: record.text for record in memory.records() if record.text}
    again = recall(kept, Shapes(shapes.server))
    assert dict(again.shapes.tables) == dict(memory.shapes.tables)
    assert (again.shapes.charsets, again.shapes.lost) == ({"db": "latin1"}, memory.shapes.lost)
    assert (again.since, again.assumed, again.scope) == ({}, frozenset(), '["db.*"]')
