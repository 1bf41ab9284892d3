"""Chunks against real servers: they cover a table once, in bounded sizes, by index ranges."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resources.errors import ConfigError
from resources.model.chunk import Chunk, chunk_from_json
from resources.mysql.chunks import chunk_condition, plan_chunks
from resources.mysql.connection import connect
from tests.mysql.room import Room, read_table

ALL = frozenset({"mysql", "mariadb", "oceanbase"})
_FULLER = 1 << 80
"""An estimate that rules out cutting integer keys by arithmetic."""
BINLOG = frozenset({"mysql", "mariadb"})
SQL_TEXT = st.text("aAbBäÄß Zz%_'\\é0😀", max_size=6).map(lambda t: f"'{_escape(t)}'")
BYTES = st.binary(max_size=6).map(lambda b: f"x'{b.hex()}'")


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "''")


def _int(low: int, high: int) -> st.SearchStrategy[str]:
    edges = st.sampled_from([low, low + 1, high - 1, high])
    return (edges | st.integers(low, high) | st.integers(max(low, -9), 9)).map(str)


# (key column type, SQL literals for it, servers that have it)
KEYS: list[tuple[str, st.SearchStrategy[str], frozenset[str]]] = [
    ("TINYINT", _int(-128, 127), ALL),
    ("INT UNSIGNED ZEROFILL", _int(0, 2**32 - 1), ALL),
    ("BIGINT", _int(-(2**63), 2**63 - 1), ALL),
    ("BIGINT UNSIGNED", _int(0, 2**64 - 1), ALL),
    ("DECIMAL(30,10)", st.decimals(-(10**18), 10**18, places=10).map(lambda d: f"'{d}'"), ALL),
    (
        "DOUBLE",
        st.floats(-1e300, 1e300, allow_subnormal=False).map(
            lambda f: repr(f) + ("" if "e" in repr(f) else "e0")
        ),
        BINLOG,
    ),
    ("BIT(64)", _int(0, 2**64 - 1), ALL),
    ("YEAR", st.sampled_from(["'0000'", "1901", "1999", "2000", "2001", "2155"]), ALL),
    (
        "DATE",
        st.dates().map(lambda d: f"'{d.isoformat()}'")
        | st.sampled_from(["'0000-00-00'", "'2021-02-31'", "'2021-00-00'"]),
        BINLOG,
    ),
    (
        "DATETIME(6)",
        st.datetimes().map(lambda d: f"'{d.isoformat(' ')}'")
        | st.sampled_from(["'0000-00-00'", "'2021-02-31 01:02:03.000004'"]),
        BINLOG,
    ),
    ("DATETIME(3)", st.datetimes().map(lambda d: f"'{d.isoformat(' ')[:23]}'"), ALL),
    ("TIMESTAMP(2)", st.integers(1, 2**31 - 1).map(lambda n: f"FROM_UNIXTIME({n})"), ALL),
    ("TIME(6)", st.integers(-3_020_399_000_000, 3_020_399_000_000).map(lambda n: _time(n)), ALL),
    ("CHAR(8) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci", SQL_TEXT, ALL),
    ("VARCHAR(8) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", SQL_TEXT, ALL),
    ("VARCHAR(8) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci", SQL_TEXT, BINLOG),
    ("VARCHAR(8) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci", SQL_TEXT, frozenset({"mysql"})),
    ("VARCHAR(8) CHARACTER SET latin1 COLLATE latin1_german2_ci", SQL_TEXT, BINLOG),
    ("VARCHAR(8) CHARACTER SET utf16", SQL_TEXT, BINLOG),
    ("VARCHAR(8) CHARACTER SET cp932", SQL_TEXT, BINLOG),
    ("BINARY(6)", BYTES, ALL),
    ("VARBINARY(6)", BYTES, ALL),
    ("ENUM('z','a','m','0','2','')", st.sampled_from(["'z'", "'a'", "'m'", "'0'", "'2'"]), BINLOG),
    ("ENUM('z','a','m','0','2')", st.sampled_from(["'z'", "'a'", "'m'", "'0'", "'2'"]), ALL),
    ("SET('z','a','m')", st.sampled_from(["''", "'z'", "'a'", "'z,m'", "'z,a,m'"]), ALL),
    ("UUID", st.uuids().map(lambda u: f"'{u}'"), frozenset({"mariadb"})),
    ("INET6", st.ip_addresses(v=6).map(lambda a: f"'{a}'"), frozenset({"mariadb"})),
]


def _time(us: int) -> str:
    sign, us = ("-", -us) if us < 0 else ("", us)
    seconds, fraction = divmod(us, 1_000_000)
    return f"'{sign}{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}.{fraction:06}'"


@st.composite
def tables(draw: st.DrawFn, kind: str) -> tuple[list[str], list[tuple[str, ...]], int]:
    """Key column types, key values as literals, and rows per chunk."""
    usable = [k for k in KEYS if kind in k[2]]
    parts = draw(st.lists(st.sampled_from(usable), min_size=1, max_size=3))
    # Few values per leading column, so that chunks begin and end within runs of equal ones.
    columns = []
    for position, (_, literals, _) in enumerate(parts):
        most = 4 if position < len(parts) - 1 else 12
        pool = draw(st.lists(literals, min_size=1, max_size=most))
        columns.append(st.sampled_from(pool))
    rows = draw(st.lists(st.tuples(*columns), max_size=40))
    return [p[0] for p in parts], rows, draw(st.integers(1, 6))


def _fill(room: Room, types: list[str], rows: list[tuple[str, ...]]) -> None:
    columns = ", ".join(f"`k``{i}` {t} NOT NULL" for i, t in enumerate(types))
    key = ", ".join(f"`k``{i}`" for i in range(len(types)))
    statements = [
        "DROP TABLE IF EXISTS c",
        f"CREATE TABLE c ({columns}, n INT, PRIMARY KEY ({key}))",
    ]
    if rows:
        values = ", ".join(f"({', '.join(row)}, {n})" for n, row in enumerate(rows))
        statements.append(f"INSERT IGNORE INTO c VALUES {values}")
    room.execute(*statements)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_chunks_cover_a_table_exactly_once(room: Room, data: st.DataObject) -> None:
    types, rows, chunk_rows = data.draw(tables(room.kind))
    _fill(room, types, rows)
    schema = room.schema("c")
    stored = sorted(r[0] for r in room.server.execute(f"SELECT n FROM {room.database}.c"))
    with closing(connect(room.settings)) as connection, closing(room.source()) as source:
        # No key is as full as that says, so that stepping sees integer keys as well.
        stepped = list(plan_chunks(connection, schema, chunk_rows, _FULLER))
        sizes = [sorted(read_table(source, schema, [chunk])["n"].to_pylist()) for chunk in stepped]
        assert sorted(n for part in sizes for n in part) == stored
        assert all(len(part) == chunk_rows for part in sizes[:-1])
        assert len(sizes[-1]) <= chunk_rows
        assert [c.number for c in stepped] == list(range(1, len(stepped) + 1))
        assert stepped[0].after is None
        assert stepped[-1].upto is None
        resumed = data.draw(st.sampled_from(stepped))
        again = chunk_from_json(resumed.to_json())
        rest = list(plan_chunks(connection, schema, chunk_rows, _FULLER, again))
        assert rest == stepped[resumed.number :]
        cut = list(plan_chunks(connection, schema, chunk_rows, max(len(stored), 1)))
        parts = [read_table(source, schema, [chunk])["n"].to_pylist() for chunk in cut]
        assert sorted(n for part in parts for n in part) == stored


@pytest.mark.parametrize(
    ("column", "low", "step"),
    [("BIGINT UNSIGNED", 2**64 - 1 - 3 * 999, 3), ("BIGINT", -(2**63), 1), ("SMALLINT", -500, 1)],
)
def test_dense_integers_are_cut_by_arithmetic(room: Room, column: str, low: int, step: int) -> None:
    room.execute(f"CREATE TABLE d (k {column} PRIMARY KEY)")
    values = [[low + step * n] for n in range(1000)]
    room.execute("INSERT INTO d VALUES (%s)", values=values)
    schema = room.schema("d")
    with closing(connect(room.settings)) as connection, closing(room.source()) as source:
        chunks = list(plan_chunks(connection, schema, 100, 1000))
        assert len(chunks) in (10, 11)
        sizes = [read_table(source, schema, [chunk]).num_rows for chunk in chunks]
        assert sum(sizes) == 1000
        assert max(sizes) <= 101
        for chunk in chunks[:-1]:
            assert list(plan_chunks(connection, schema, 100, 1000, chunk)) == chunks[chunk.number :]
        assert list(plan_chunks(connection, schema, 100, 1000, chunks[-1])) == []


def test_sparse_integers_are_stepped(room: Room) -> None:
    room.execute("CREATE TABLE s (k BIGINT PRIMARY KEY)")
    room.execute("INSERT INTO s VALUES (%s)", values=[[10**12 * n] for n in range(50)])
    with closing(connect(room.settings)) as connection:
        chunks = list(plan_chunks(connection, room.schema("s"), 10, 50))
    assert [c.upto for c in chunks[:2]] == [("9000000000000",), ("19000000000000",)]


def test_rows_that_come_later_fall_into_the_open_ends(room: Room) -> None:
    room.execute(
        "CREATE TABLE o (k INT PRIMARY KEY)", "INSERT INTO o VALUES (10), (11), (12), (13)"
    )
    schema = room.schema("o")
    with closing(connect(room.settings)) as connection, closing(room.source()) as source:
        chunks = list(plan_chunks(connection, schema, 2, 4))
        room.execute("INSERT INTO o VALUES (-5), (99)")
        rows = read_table(source, schema, chunks)["k"].to_pylist()
    assert sorted(rows) == [-5, 10, 11, 12, 13, 99]


def test_an_empty_table_is_one_open_chunk(room: Room, connection: Any) -> None:
    room.execute("CREATE TABLE e (a INT, b VARCHAR(9), PRIMARY KEY (a, b))")
    assert list(plan_chunks(connection, room.schema("e"), 10, 0)) == [Chunk(1, None, None, 10)]


def test_a_table_without_key_is_refused(room: Room, connection: Any) -> None:
    room.execute("CREATE TABLE u (a INT)")
    with pytest.raises(ConfigError, match="ADD PRIMARY KEY"):
        next(plan_chunks(connection, room.schema("u"), 10, 0))


@pytest.fixture
def tenants(mysql_family: Any, family_db: str) -> Iterator[Room]:
    """Two tenants of 20,000 rows each under a key of three columns."""
    room = Room(mysql_family, family_db)
    room.execute(
        "CREATE TABLE t (tenant INT, name VARCHAR(20) CHARACTER SET latin1, id BIGINT, v INT, "
        "PRIMARY KEY (tenant, name, id))",
    )
    values = [[n % 2, f"n{n % 40 // 2}", n, n] for n in range(40_000)]
    room.execute("INSERT INTO t VALUES (%s, %s, %s, %s)", values=values)
    room.server.execute(f"ANALYZE TABLE {family_db}.t")
    yield room


def test_a_chunk_reads_its_own_rows_and_no_others(tenants: Room) -> None:
    """Counted by the server: rows the storage engine handed out, not EXPLAIN's guess."""
    schema = tenants.schema("t")
    with closing(connect(tenants.settings)) as connection, connection.cursor() as cursor:
        chunks = list(plan_chunks(connection, schema, 3000, 0))
        assert len(chunks) == 14
        for chunk in chunks:
            condition = chunk_condition(schema, chunk)
            before = _handed_out(cursor)
            cursor.execute(f"SELECT COUNT(v) FROM {tenants.database}.t WHERE {condition}")
            (count,) = cursor.fetchone()
            assert _handed_out(cursor) - before <= count + 20
            cursor.execute(
                f"EXPLAIN FORMAT=JSON SELECT v FROM {tenants.database}.t WHERE {condition}"
            )
            plan = cursor.fetchone()[0]
            assert re.search(
                r'"access_type": "range"|"index_access_type": "index_range_scan"', plan
            )


def _handed_out(cursor: Any) -> int:
    cursor.execute("SHOW SESSION STATUS LIKE 'Handler_read%'")
    return sum(int(value) for name, value in cursor.fetchall() if not name.endswith("deleted"))
