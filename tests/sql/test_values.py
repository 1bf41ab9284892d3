"""Values and schemas: exact, or set aside with the row's id."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resources.model.change import LogSlice, RejectedRow
from resources.model.position import PollPosition
from resources.model.table import TableId
from resources.mysql.catalog import read_schemas
from resources.sql.source import SqlPollingSource
from resources.sql.sqlite import arrow_type
from tests.sql.conftest import Place


def read_all(source: SqlPollingSource) -> tuple[list[dict[str, Any]], list[RejectedRow]]:
    parts: list[LogSlice] = list(
        source.stream_changes(PollPosition(), source.current_position(), lambda: False)
    )
    rows = [row for part in parts for batch in part.batches for row in batch.rows.to_pylist()]
    plain = [{k: v for k, v in row.items() if not k.startswith("_cdc")} for row in rows]
    return plain, [row for part in parts for row in part.rejected]


POSTGRES_COLUMNS = """
  i2 SMALLINT, i4 INTEGER, n NUMERIC(20,4), wide NUMERIC(60,5), f4 REAL, f8 DOUBLE PRECISION,
  v VARCHAR(9), c CHAR(3), x TEXT, b BYTEA, d DATE, ts TIMESTAMP(3), tz TIMESTAMPTZ, tm TIME,
  u UUID, j JSONB, bo BOOLEAN, m mood, dm positive, ip INET"""


def test_postgres_values(on_postgres: Place) -> None:
    on_postgres.run("CREATE TYPE mood AS ENUM ('sad', 'glad')")
    on_postgres.run("CREATE DOMAIN positive AS NUMERIC(10,2) CHECK (VALUE > 0)")
    on_postgres.create(columns=POSTGRES_COLUMNS)
    on_postgres.run(
        r"""INSERT INTO t VALUES (1, -32768, 2147483647, 1.2345, 1e54, 0.1, 0.1, 'é', 'a', '%s',
        '\x00ff', '2024-02-29', '1969-12-31 23:59:59.999', '2024-01-01 00:00:00+02', '24:00',
        'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', '{"a": 1}', TRUE, 'glad', 1.5, '10.0.0.1'),
        (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
        NULL, NULL, NULL, NULL, NULL, NULL)"""
    )
    for table_id, column, value in [
        (3, "n", "'NaN'"),
        (4, "d", "'infinity'"),
        (5, "ts", "'-infinity'"),
        (6, "tz", "'290001-01-01'"),
    ]:
        on_postgres.run(f"INSERT INTO t (id, x, {column}) VALUES ({table_id}, 'kept', {value})")
    rows, rejected = read_all(on_postgres.source())
    assert rows[0] == {
        "id": 1,
        "i2": -32768,
        "i4": 2147483647,
        "n": Decimal("1.2345"),
        "wide": Decimal(10) ** 54,
        "f4": pa.scalar(0.1, pa.float32()).as_py(),
        "f8": 0.1,
        "v": "é",
        "c": "a  ",
        "x": "%s",
        "b": b"\x00\xff",
        "d": dt.date(2024, 2, 29),
        "ts": dt.datetime(1969, 12, 31, 23, 59, 59, 999000),
        "tz": dt.datetime(2023, 12, 31, 22, tzinfo=dt.UTC),
        "tm": dt.timedelta(days=1),
        "u": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        "j": '{"a": 1}',
        "bo": True,
        "m": "glad",
        "dm": Decimal("1.50"),
        "ip": "10.0.0.1/32",
    }
    assert rows[1] == dict.fromkeys(rows[0], None) | {"id": 2}
    found = [(json.loads(r.key)["id"], r.field, r.seq) for r in rejected]
    assert found == [(3, "n", 2), (4, "d", 3), (5, "ts", 4), (6, "tz", 5)]
    image = pa.ipc.open_stream(rejected[0].image).read_all().to_pylist()[0]
    assert (image["id"], image["x"], image["n"]) == (3, "kept", None)
    assert all("NaN" not in r.message and "infinity" not in r.message for r in rejected)


@settings(max_examples=15, suppress_health_check=list(HealthCheck), deadline=None)
@given(data=st.data())
def test_postgres_moments_and_decimals_are_exact(on_postgres: Place, data: st.DataObject) -> None:
    on_postgres.run("DROP TABLE IF EXISTS t")
    on_postgres.create(columns="d DATE, ts TIMESTAMP, n NUMERIC(38,10), f8 DOUBLE PRECISION")
    number = st.decimals(-(10**27), 10**27, places=10)
    row = st.tuples(st.dates(), st.datetimes(), number, st.floats(allow_nan=False))
    wanted = data.draw(st.lists(row, min_size=1, max_size=20))
    connection = on_postgres.connect()
    with connection.cursor() as cursor:
        cursor.executemany("INSERT INTO t (d, ts, n, f8) VALUES (%s, %s, %s, %s)", wanted)
    connection.commit()
    connection.close()
    rows, rejected = read_all(on_postgres.source())
    assert not rejected
    assert [tuple(row.values())[1:] for row in rows] == wanted


def test_sqlite_values_and_misfits(on_sqlite: Place) -> None:
    on_sqlite.create(
        columns="i INT, s VARCHAR(9), r REAL, n DECIMAL(12,3), bo BOOLEAN, d DATE, ts DATETIME, "
        "b BLOB, x"
    )
    good = (1, "7, 'é', 1.5, 0.125, 1, '2024-02-29', '2024-02-29 23:59:59.5', X'00FF', X'01'")
    on_sqlite.run(f"INSERT INTO t VALUES ({good[0]}, {good[1]})")
    misfits = [
        ("i", "'seven'"),
        ("i", "1.5"),
        ("s", "X'FF'"),
        ("s", "CAST(X'FF' AS TEXT)"),
        ("r", "'x'"),
        ("n", "0.1234"),
        ("n", "'abc'"),
        ("bo", "2"),
        ("d", "'2024-02-30'"),
        ("d", "'2024-02-29 10:00:00'"),
        ("ts", "'yesterday'"),
        ("ts", "5"),
        ("b", "'text'"),
        ("x", "1"),
    ]
    for column, value in misfits:
        on_sqlite.run(f"INSERT INTO t ({column}) VALUES ({value})")
    rows, rejected = read_all(on_sqlite.source())
    assert rows == [
        {
            "id": 1,
            "i": 7,
            "s": "é",
            "r": 1.5,
            "n": Decimal("0.125"),
            "bo": True,
            "d": dt.date(2024, 2, 29),
            "ts": dt.datetime(2024, 2, 29, 23, 59, 59, 500000),
            "b": b"\x00\xff",
            "x": b"\x01",
        }
    ]
    assert [r.field for r in rejected] == [column for column, _ in misfits]
    assert [json.loads(r.key)["id"] for r in rejected] == list(range(2, len(misfits) + 2))


@pytest.mark.parametrize("declared", ["NUMERIC", "DECIMAL(16,2)", "TIME", "JSONB", "DECIMAL(3,5)"])
def test_sqlite_types_without_counterpart_are_refused(declared: str) -> None:
    assert arrow_type(declared) is None


@pytest.mark.parametrize("server", ["mysql", "mariadb"])
def test_family_equals_what_the_log_reader_says(
    server: str, request: pytest.FixtureRequest
) -> None:
    database = request.getfixturevalue(f"{server}_db")
    where = request.getfixturevalue(server)
    place = Place(server, where.url, database, lambda: where.connect(database=database), {})
    place.connect_args = {"tls": "off"}
    place.run(
        "CREATE TABLE t (id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, `a%b ``c` FLOAT, "
        "n DECIMAL(65,30), e ENUM('x','y'), tm TIME(6), d DATETIME(3), bin BINARY(4), y YEAR)",
        "INSERT INTO t VALUES (18446744073709551613, 0.1, 1.5, 'y', '-838:59:59', "
        "'2024-02-29 01:02:03.004', 'ab', 2024)",
        "SET sql_mode = ''",
    )
    session = place.session()
    session.run("SET sql_mode = ''")
    session.run("INSERT INTO t (id, d) VALUES (5, '2024-00-00')")
    session.commit()
    source = place.source(zero_dates="dirty")
    table = TableId(database, "t")
    with where.connect() as connection:
        expected = read_schemas(connection, [table]).schemas[table]
    assert source.read_schemas([table])[table].fingerprint() == expected.fingerprint()
    rows, rejected = read_all(source)
    assert rows == [
        {
            "id": 18446744073709551613,
            "a%b `c": pa.scalar(0.1, pa.float32()).as_py(),
            "n": Decimal("1.5"),
            "e": "y",
            "tm": -dt.timedelta(hours=838, minutes=59, seconds=59),
            "d": dt.datetime(2024, 2, 29, 1, 2, 3, 4000),
            "bin": b"ab\x00\x00",
            "y": 2024,
        }
    ]
    assert [(json.loads(r.key)["id"], r.field, r.seq) for r in rejected] == [(5, "d", 0)]
    lenient, none = read_all(place.source())
    assert [row["d"] is None for row in lenient] == [True, False] and not none
    place.close()
