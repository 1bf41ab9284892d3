"""Dirty rows on real servers: set aside in copy and capture, mended, read again by key."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from cdc_assets.engine.pipeline import EngineOptions, Pipeline
from cdc_assets.engine.replay import replay_dirty
from cdc_assets.engine.run import run_snapshot, run_sync
from resources.model.source import RowSource
from resources.model.table import TableId
from resources.mysql.source import MySQLSource
from resources.sinks.duckdb import DuckDBSink
from resources.sql.source import SqlPollingSource
from resources.stores.change_log import ChangeLog
from resources.stores.database import StateDatabase
from tests import oracle
from tests.mysql.room import tcp_settings

KEYS = {
    "TIME(3)": ("-01:30:00.250", "800:00:00"),
    "DATETIME(6)": ("2024-01-01 10:00:00.000001", "2024-01-02 00:00:00"),
    "TIMESTAMP(3)": ("2024-01-01 10:00:00.5", "2024-01-02 00:00:00"),
    "DECIMAL(30,4)": ("12345678901234567890.5", "-1"),
    "VARBINARY(8)": (b"\x00\xffa", b"0x00"),
    "BIGINT UNSIGNED": (2**64 - 1, 7),
    "VARCHAR(20)": ("a'b\\", "0x00"),
    "ENUM('x','ü')": ("x", "ü"),
    "DATE": ("2024-01-01", "2024-01-02"),
    "YEAR": (2024, 1999),
}


def _pipeline(home: Path, source: Any, history: Any = "snapshot") -> Pipeline:
    db = StateDatabase(f"sqlite:///{home}/state.db")
    return Pipeline(
        "p",
        EngineOptions("*", history=history),
        source,
        lambda: DuckDBSink(f"{home}/lake.duckdb"),
        db,
        ChangeLog(db, "p", f"{home}/log"),
        "run",
    )


@pytest.mark.parametrize("key_type", KEYS)
def test_rows_with_zero_dates_come_back_by_every_kind_of_key(
    mysql_family: Any, family_db: str, tmp_path: Path, key_type: str
) -> None:
    server, (one, two) = mysql_family, KEYS[key_type]
    source = MySQLSource(
        tcp_settings(server), pipeline="p", include=[f"{family_db}.*"], zero_dates="dirty"
    )
    table = TableId(family_db, "t")
    connection = server.connect()
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION sql_mode = ''")
        cursor.execute(f"USE {family_db}")
        cursor.execute(f"CREATE TABLE t (k {key_type} PRIMARY KEY, d DATE)")
        cursor.execute("INSERT INTO t VALUES (%s, '0000-00-00')", (one,))
        pipeline = _pipeline(tmp_path, source)
        report, _ = run_snapshot(pipeline, table)
        assert (report.rows, report.dirty) == (0, 1)
        cursor.execute("INSERT INTO t VALUES (%s, '0000-00-00')", (two,))
        assert run_sync(pipeline).capture.dirty == 1
        assert len({r.key for r in pipeline.dirty.open_rows()}) == 2
        (replayed,) = replay_dirty(pipeline)
        assert replayed.reason == "2 rows are still refused"
        cursor.execute("SET SESSION sql_log_bin = 0")
        cursor.execute("UPDATE t SET d = '2020-02-02'")
        replay_dirty(pipeline)
    assert pipeline.dirty.count_open() == 0
    difference = oracle.compare(
        "t",
        oracle.mysql_rows(connection, family_db, "t"),
        oracle.duckdb_rows(f"{tmp_path}/lake.duckdb", family_db, "t"),
    )
    assert not difference, difference
    assert difference.rows == 2
    pipeline.close()


def test_polled_rows_come_back_by_their_id(postgres: Any, postgres_db: str, tmp_path: Path) -> None:
    url = postgres.url_for("postgres", postgres.password, postgres_db)
    connection = postgres.connect(dbname=postgres_db)
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE t (id serial PRIMARY KEY, d date)")
        cursor.execute("INSERT INTO t (d) VALUES ('2020-01-01'), ('infinity'), ('2020-01-03')")
        source = SqlPollingSource(url, pipeline="p", include=["public.*"], grace_seconds=1)
        assert isinstance(source, RowSource)
        pipeline = _pipeline(tmp_path, source, "log")
        assert run_sync(pipeline).capture.dirty == 1
        cursor.execute("UPDATE t SET d = '2020-01-02' WHERE id = 2")
        (report,) = replay_dirty(pipeline)
    assert (report.upserted, pipeline.dirty.count_open()) == (1, 0)
    rows = oracle.duckdb_rows(f"{tmp_path}/lake.duckdb", "public", "t")
    assert sorted(rows) == [(i, dt.date(2020, 1, i)) for i in (1, 2, 3)]
    pipeline.close()


def test_rows_that_are_gone_are_deleted_in_the_target(
    mysql: Any, mysql_db: str, tmp_path: Path
) -> None:
    source = MySQLSource(
        tcp_settings(mysql), pipeline="p", include=[f"{mysql_db}.*"], zero_dates="dirty"
    )
    pipeline = _pipeline(tmp_path, source)
    with mysql.connect().cursor() as cursor:
        cursor.execute("SET SESSION sql_mode = ''")
        cursor.execute(f"USE {mysql_db}")
        cursor.execute("CREATE TABLE t (a INT UNSIGNED, b VARCHAR(9), d DATE, PRIMARY KEY (b, a))")
        cursor.execute("INSERT INTO t VALUES (1,'x','2020-01-01'), (2,'x','0000-00-00')")
        run_snapshot(pipeline, TableId(mysql_db, "t"))
        cursor.execute("UPDATE t SET d = '0000-00-00' WHERE a = 1")
        cursor.execute("INSERT INTO t VALUES (3, 'y', '0000-00-00'), (4, 'y', '2020-01-04')")
        assert run_sync(pipeline).capture.dirty == 2
        cursor.execute("SET SESSION sql_log_bin = 0")
        cursor.execute("DELETE FROM t WHERE a < 4")
    (report,) = replay_dirty(pipeline)
    assert (report.deleted, pipeline.dirty.count_open()) == (3, 0)
    rows = oracle.duckdb_rows(f"{tmp_path}/lake.duckdb", mysql_db, "t")
    assert rows == [(4, "y", dt.date(2020, 1, 4))]
    pipeline.close()
