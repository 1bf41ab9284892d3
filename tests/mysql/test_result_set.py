"""SELECT -> Arrow against what the server prints and PyMySQL's own converters understand."""

from __future__ import annotations

import datetime
import json
import math
from contextlib import closing
from typing import Any

import pyarrow as pa
import pymysql
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resources.errors import ConfigError, SchemaMismatch, SourceUnavailable
from resources.model.source import ChunkRows
from resources.model.table import TableSchema
from resources.mysql import statement
from resources.mysql.connection import connect
from resources.mysql.result_set import select_arrow, select_list, select_values
from tests.mysql.room import WHOLE, Room, read_table, settings_for
from tests.mysql.type_cases import type_table

DAY = datetime.timedelta(days=1)


@pytest.fixture(params=["binary", "text"])
def protocol(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Read by one protocol, then by the other, as if nothing could be prepared."""
    if request.param == "text":
        monkeypatch.setattr(statement, "_prepare", lambda connection, sql: None)
    return str(request.param)


@pytest.mark.usefixtures("protocol")
def test_every_type_and_its_extremes_arrive_exactly(room: Room) -> None:
    statements, expected = type_table(room.kind)
    room.execute(*statements)
    table = read_table(room.source(), room.schema("every"))
    assert table.num_rows == len(statements) - 1
    ids = table["id"].to_pylist()
    for i, (column_type, values) in enumerate(expected):
        column = table[f"c{i}"]
        got = dict(zip(ids, column.to_pylist(), strict=True))
        if column_type == "JSON":
            got = {row: text and json.loads(text) for row, text in got.items()}
        elif pa.types.is_duration(column.type):
            # Beyond what to_pylist makes of it, the number itself.
            numbers = dict(zip(ids, column.cast("int64").to_pylist(), strict=True))
            assert {row: numbers[row] for row in values} == {
                row: value // datetime.timedelta(microseconds=1) for row, value in values.items()
            }
        assert got == {row: values.get(row) for row in ids}, column_type


@pytest.mark.usefixtures("protocol")
def test_zero_keeps_its_sign(room: Room) -> None:
    room.execute("CREATE TABLE z (id INT PRIMARY KEY, d DOUBLE)", "INSERT INTO z VALUES (1, -0e0)")
    stored = room.server.execute(f"SELECT d FROM {room.database}.z")[0][0]
    (value,) = read_table(room.source(), room.schema("z"))["d"].to_pylist()
    assert math.copysign(1, value) == math.copysign(1, stored)


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=300)
ROWS = st.lists(
    st.tuples(
        st.none() | st.integers(-(2**63), 2**63 - 1),
        st.none() | TEXT,
        st.none() | st.binary(max_size=70_000),
        st.none() | st.decimals(-(10**20), 10**20, places=7),
        st.none() | st.datetimes(datetime.datetime(1, 1, 1), datetime.datetime(9999, 12, 31)),
        st.none() | st.timedeltas(-34 * DAY, 34 * DAY),
        st.none() | st.floats(allow_nan=False, allow_infinity=False),
    ),
    max_size=12,
)


@pytest.mark.usefixtures("protocol")
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=ROWS, batch_rows=st.integers(1, 5))
def test_random_rows_come_back(room: Room, rows: list[Any], batch_rows: int) -> None:
    """The oracle is PyMySQL's own encoder: what Python sent is what Arrow holds."""
    room.execute(
        "CREATE TABLE IF NOT EXISTS r (id INT PRIMARY KEY AUTO_INCREMENT, i BIGINT, "
        "t VARCHAR(300), b MEDIUMBLOB, d DECIMAL(40,7), m DATETIME(6), s TIME(6), f DOUBLE)",
        "TRUNCATE TABLE r",
    )
    values = [(n, *row) for n, row in enumerate(rows, 1)]
    if values:
        room.execute("INSERT INTO r VALUES (%s, %s, %s, %s, %s, %s, %s, %s)", values=values)
    schema = room.schema("r")
    with closing(connect(room.settings)) as connection:
        sql = f"SELECT {select_list(schema)} FROM {room.database}.r ORDER BY id"
        parts = list(select_arrow(connection, sql, (), schema, batch_rows=batch_rows))
    assert all(0 < part.rows.num_rows <= batch_rows for part in parts)
    got = [tuple(row.values()) for part in parts for row in part.rows.to_pylist()]
    assert got == values


@pytest.mark.usefixtures("protocol")
def test_rows_beyond_16_mib_are_joined(mysql_family: Any, family_db: str) -> None:
    room = Room(mysql_family, family_db)
    size = 40 << 20
    room.execute(
        "CREATE TABLE big (id INT PRIMARY KEY, b LONGBLOB, t INT)",
        "INSERT INTO big VALUES (1, 'a', 1), (3, 'c', 3)",
        f"INSERT INTO big VALUES (2, REPEAT('0123456789', {size // 10}), 2)",
        f"INSERT INTO big VALUES (4, REPEAT('x', {(1 << 24) - 1 - 9}), 4), (5, 'e', 5)",
    )
    table = read_table(room.source(), room.schema("big")).sort_by("id")
    assert table["t"].to_pylist() == [1, 2, 3, 4, 5]
    assert table["b"][1].as_py() == b"0123456789" * (size // 10)
    assert table["b"][3].as_py() == b"x" * ((1 << 24) - 1 - 9)
    assert table["b"][4].as_py() == b"e"


def test_zero_dates_are_set_aside_when_asked(
    mysql_family: Any, family_db: str, protocol: str
) -> None:
    room = Room(mysql_family, family_db)
    room.execute(
        "CREATE TABLE d (id INT PRIMARY KEY, d DATE, m DATETIME, t VARCHAR(9))",
        "INSERT INTO d VALUES (1, '2021-01-01', NULL, 'a'), (2, '0000-00-00', '2021-02-31', 'b'), "
        "(3, NULL, '2021-01-01', 'c'), (4, '2021-01-02', '2021-00-00', 'd')",
    )
    schema = room.schema("d")
    (part,) = room.source(zero_dates="dirty").read_chunk(schema, WHOLE)
    assert part.rows["id"].to_pylist() == [1, 3]
    assert [(r.field, r.key, r.seq) for r in part.rejected] == [
        ("d", '{"id":2}', 0),
        ("m", '{"id":4}', 0),
    ]
    image = pa.ipc.open_stream(part.rejected[0].image).read_all()
    assert image.to_pylist() == [{"id": 2, "d": None, "m": None, "t": "b"}]
    as_sent = {"binary": b"\x00\x04\xe5\x07\x02\x1f\x01b", "text": b"\x0a0000-00-00"}
    assert as_sent[protocol] in part.rejected[0].raw
    assert "0000-00-00" not in part.rejected[0].message
    (part,) = room.source().read_chunk(schema, WHOLE)
    assert part.rows["d"].null_count == 2
    assert not part.rejected


@pytest.mark.usefixtures("protocol")
def test_an_empty_geometry_of_mariadb_is_set_aside(mariadb: Any, mariadb_db: str) -> None:
    room = Room(mariadb, mariadb_db)
    room.execute(
        "CREATE TABLE g (id INT PRIMARY KEY, p GEOMETRY NOT NULL)",
        "INSERT INTO g VALUES (1, POINT(1, 2))",
        "SET sql_mode = ''",
        "INSERT INTO g (id) VALUES (2)",
    )
    (part,) = room.source().read_chunk(room.schema("g"), WHOLE)
    assert part.rows["id"].to_pylist() == [1]
    assert [(r.field, r.key) for r in part.rejected] == [("p", '{"id":2}')]


def test_parameters_reach_the_statement(room: Room, connection: Any) -> None:
    room.execute(
        "CREATE TABLE p (id INT PRIMARY KEY, t VARCHAR(9))",
        "INSERT INTO p VALUES (1, 'a%'), (2, 'b')",
    )
    schema = room.schema("p")
    sql = f"SELECT {select_list(schema)} FROM {room.database}.p WHERE id > %s AND t = %s"
    (part,) = select_arrow(connection, sql, (0, "a%"), schema)
    assert part.rows.to_pylist() == [{"id": 1, "t": "a%"}]
    assert list(select_arrow(connection, sql, (5, "a"), schema)) == []


def test_a_connection_is_closed_when_rows_are_left_unread(room: Room, connection: Any) -> None:
    room.execute("CREATE TABLE l (id INT PRIMARY KEY)", "INSERT INTO l VALUES (1), (2), (3)")
    schema = room.schema("l")
    parts = select_arrow(connection, f"SELECT id FROM {room.database}.l", (), schema, batch_rows=1)
    assert next(parts).rows.num_rows == 1
    parts.close()  # type: ignore[attr-defined]
    assert not connection.open


@pytest.mark.usefixtures("protocol")
def test_an_altered_table_is_a_schema_mismatch(room: Room) -> None:
    room.execute(
        "CREATE TABLE a (id INT PRIMARY KEY, t TIME, n INT)",
        "INSERT INTO a VALUES (1, '01:02:03', 5)",
    )
    schema = room.schema("a")
    room.execute("ALTER TABLE a MODIFY t VARCHAR(20)", "UPDATE a SET t = 'x'")
    with pytest.raises(SchemaMismatch, match="column t"):
        read_table(room.source(), schema)
    room.execute("ALTER TABLE a DROP COLUMN n")
    with pytest.raises(SchemaMismatch, match="1054"):
        read_table(room.source(), schema)
    room.execute("DROP TABLE a")
    with pytest.raises(SchemaMismatch, match="1146"):
        read_table(room.source(), schema)


@pytest.mark.usefixtures("protocol")
def test_a_widened_column_is_read_as_long_as_its_values_fit(room: Room) -> None:
    room.execute(
        "CREATE TABLE w (id INT PRIMARY KEY, n TINYINT, u SMALLINT UNSIGNED)",
        "INSERT INTO w VALUES (1, -128, 65535)",
    )
    schema = room.schema("w")
    room.execute("ALTER TABLE w MODIFY n BIGINT, MODIFY u INT")
    assert read_table(room.source(), schema).to_pylist() == [{"id": 1, "n": -128, "u": 65535}]
    room.execute("UPDATE w SET n = 128")
    with pytest.raises(SchemaMismatch, match="column n"):
        read_table(room.source(), schema)


@pytest.mark.usefixtures("protocol")
def test_text_that_is_none_is_set_aside(mysql_family: Any, family_db: str) -> None:
    room = Room(mysql_family, family_db)
    room.execute("CREATE TABLE v (id INT PRIMARY KEY, t VARCHAR(9))")
    schema = room.schema("v")
    room.execute("ALTER TABLE v MODIFY t VARBINARY(9)", "INSERT INTO v VALUES (1, x'ff'), (2, 'b')")
    (part,) = room.source().read_chunk(schema, WHOLE)
    assert part.rows.to_pylist() == [{"id": 2, "t": "b"}]
    (bad,) = part.rejected
    assert (bad.field, bad.key, bad.message) == ("t", '{"id":1}', "column t: not utf8mb4 text")
    assert bad.raw.endswith(b"\x01\xff")


def test_a_server_that_prepares_nothing_is_read_as_text(mysql_family: Any, family_db: str) -> None:
    room = Room(mysql_family, family_db)
    room.execute(
        "CREATE TABLE f (id INT PRIMARY KEY, f FLOAT, d DOUBLE(9,2), t VARCHAR(9))",
        "INSERT INTO f VALUES (1, 123456.789, 1234.56, 'a%b')",
    )
    schema = room.schema("f")
    sql = f"SELECT {select_list(schema)} FROM {room.database}.f WHERE t = %s"
    (exact,) = _select(room, sql, schema)
    before = room.server.execute("SELECT @@GLOBAL.max_prepared_stmt_count")[0][0]
    room.server.execute("SET GLOBAL max_prepared_stmt_count = 0")
    try:
        with closing(connect(room.settings)) as connection:
            for _ in range(3):
                (part,) = select_arrow(connection, sql, ("a%b",), schema)
                assert part.rows.equals(exact.rows)
            assert _status(connection, "Com_stmt_execute") == 0
    finally:
        room.server.execute(f"SET GLOBAL max_prepared_stmt_count = {before}")


@pytest.mark.usefixtures("protocol")
def test_values_are_those_of_the_driver(mysql_family: Any, family_db: str) -> None:
    room = Room(mysql_family, family_db)
    room.execute(
        "CREATE TABLE t (i INT, u BIGINT UNSIGNED, ti TINYINT, c VARCHAR(20), tx TEXT)",
        "INSERT INTO t VALUES (-1, 18446744073709551615, 1, 'é', '日本'), (NULL, NULL, NULL, NULL,"
        " NULL), (7, 0, -128, '', REPEAT('x', 70000))",
    )
    sql = "SELECT * FROM t WHERE c IN %s OR i IS NULL ORDER BY i"
    with closing(mysql_family.connect_cdc(database=family_db)) as connection:
        with connection.cursor() as cursor:
            cursor.execute(sql, (["é", ""],))
            expected = list(cursor.fetchall())
        assert len(expected) == 3
        assert list(select_values(connection, sql, (["é", ""],), "t")) == expected
        assert list(select_values(connection, sql, (["é"],), "t")) == expected[:2]
        with pytest.raises(pymysql.err.ProgrammingError):
            list(select_values(connection, "SELECT 1 FROM gone", (), "gone"))


def _select(room: Room, sql: str, schema: TableSchema) -> list[ChunkRows]:
    with closing(connect(room.settings)) as connection:
        return list(select_arrow(connection, sql, ("a%b",), schema))


def _status(connection: Any, name: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SHOW SESSION STATUS LIKE %s", (name,))
        return int(cursor.fetchone()[1])


def test_prepared_statements_are_forgotten(mysql_family: Any, family_db: str) -> None:
    room = Room(mysql_family, family_db)
    room.execute("CREATE TABLE p (id INT PRIMARY KEY)", "INSERT INTO p VALUES (1)")
    schema = room.schema("p")
    with closing(connect(room.settings)) as connection:
        for _ in range(5):
            parts = list(select_arrow(connection, f"SELECT id FROM {family_db}.p", (), schema))
            assert [part.rows.num_rows for part in parts] == [1]
        assert _status(connection, "Com_stmt_execute") == 5
        assert _status(connection, "Com_stmt_close") == 5


def test_rows_come_over_tls(mysql: Any, mysql_db: str) -> None:
    room = Room(mysql, mysql_db)
    values = [(n, f"row {n} " * 30) for n in range(20_000)]
    room.execute("CREATE TABLE s (id INT PRIMARY KEY, t TEXT)")
    room.execute("INSERT INTO s VALUES (%s, %s)", values=values)
    address = {"socket": None, "host": "127.0.0.1", "port": mysql.port, "tls": "require"}
    schema = room.schema("s")
    with closing(connect(settings_for(mysql, **address))) as connection:
        assert connection._secure  # type: ignore[attr-defined]
        sql = f"SELECT {select_list(schema)} FROM {mysql_db}.s ORDER BY id"
        parts = list(select_arrow(connection, sql, (), schema, batch_rows=7000))
    got = [tuple(row.values()) for part in parts for row in part.rows.to_pylist()]
    assert got == values


def test_vectors_that_oceanbase_rounds_are_refused(oceanbase: Any, oceanbase_db: str) -> None:
    room = Room(oceanbase, oceanbase_db)
    room.execute("CREATE TABLE v (id INT PRIMARY KEY, v VECTOR(3))")
    with closing(room.source()) as source:
        (finding,) = [f for f in source.check() if f.code == "unsupported_type"]
        assert finding.table == room.table("v")
        assert source.read_schemas([room.table("v")]) == {}


def _thread(connection: Any) -> int:
    return int(connection.thread_id())


def test_a_killed_connection_is_a_transient_error(mysql_family: Any, family_db: str) -> None:
    room = Room(mysql_family, family_db)
    room.execute(
        "CREATE TABLE k (id INT PRIMARY KEY, t VARCHAR(1000))",
        "INSERT INTO k VALUES (1, REPEAT('x', 1000))",
    )
    for _ in range(13):
        room.execute("INSERT INTO k SELECT id + (SELECT MAX(id) FROM k), t FROM k")
    schema = room.schema("k")
    with closing(connect(room.settings)) as connection:
        sql = f"SELECT {select_list(schema)} FROM {room.database}.k"
        parts = select_arrow(connection, sql, (), schema, batch_rows=10)
        next(parts)
        room.server.execute(f"KILL {_thread(connection)}")
        with pytest.raises(SourceUnavailable):
            list(parts)
        assert not connection.open


def test_a_missing_grant_names_the_statement(mysql_family: Any, family_db: str) -> None:
    room = Room(mysql_family, family_db)
    room.execute("CREATE TABLE g (id INT PRIMARY KEY)")
    schema = room.schema("g")
    user = f"u{family_db[-8:]}"
    room.execute(f"CREATE USER {user} IDENTIFIED BY 'canary-pw'", f"GRANT INSERT ON g TO {user}")
    changed = settings_for(room.server, user=user, password="canary-pw")
    with (
        closing(connect(changed)) as connection,
        pytest.raises(ConfigError, match=r"GRANT SELECT ON .*g.* TO") as caught,
    ):
        list(select_arrow(connection, f"SELECT id FROM {family_db}.g", (), schema))
    assert "canary" not in str(caught.value)
    room.execute(f"DROP USER {user}")
