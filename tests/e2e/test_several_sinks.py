"""Two sinks on one change log of a real server: equal, whatever either goes through."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cdc_assets.engine.run import SyncOptions, run_snapshot, run_sync
from cdc_assets.engine.schema_policy import SchemaPolicy
from resources.errors import CdcError
from resources.model.table import TableId
from resources.sinks.contract import TargetId
from tests import oracle
from tests.e2e import child
from tests.e2e.equality import EXAMPLES, FIRST, run_with_kills
from tests.e2e.points import CAPTURE, CAPTURED, MERGE
from tests.e2e.random_dml import TABLES, RandomDml
from tests.e2e.room import Line
from tests.e2e.test_clickhouse_equality import shown as clickhouse_rows
from tests.e2e.test_lake_equality import ROOMS, read_by_others
from tests.engine.test_several_sinks import wait_for
from tests.mysql.room import tcp_settings
from tests.servers.family import FamilyServer
from tests.sinks.postgres_room import Room as PostgresRoom
from tests.sinks.postgres_room import room as room


def setups(server: Any, database: str, home: Path, **targets: str) -> dict[str, child.Setup]:
    """Return the setup of every sink: DuckDB where a target names no place."""
    names = {name: f"p__{name}" for name in targets}
    whole = child.Setup(tcp_settings(server), database, home, log="p")
    return {
        name: replace(
            whole,
            name=names[name],
            siblings=tuple(other for n, other in names.items() if n != name),
            **({name: place} if place else {}),
        )
        for name, place in targets.items()
    }


def rows_of(setup: child.Setup, table: str, postgres: PostgresRoom | None = None) -> list[Any]:
    """Return the rows of a target as plain values."""
    for kind, lake in ROOMS.items():
        if place := getattr(setup, kind, ""):
            return read_by_others(lake, place, TargetId(setup.database, table))
    if setup.clickhouse:
        return clickhouse_rows(setup, table)
    if setup.postgres:
        assert postgres is not None
        with postgres.connect(setup.postgres.rpartition("/")[2]) as there:
            return oracle.postgres_rows(there, setup.database, table)
    return oracle.duckdb_rows(str(setup.lake), setup.database, table)


def require_equal(server: Any, setup: child.Setup, **more: Any) -> None:
    with contextlib.closing(server.connect()) as connection:
        for table in TABLES:
            source = oracle.mysql_rows(connection, setup.database, table)
            difference = oracle.compare(table, source, rows_of(setup, table, **more))
            assert not difference, f"{setup.name}: {difference}"


def history(server: Any, home: Path, database: str, seed: int, **targets: str) -> int:
    """Fill sinks side by side under random changes and kills; how many runs were killed."""
    rnd = random.Random(seed)
    server.execute(f"DROP DATABASE IF EXISTS {database}", f"CREATE DATABASE {database}")
    sinks = setups(server, database, home, **targets)
    writers = RandomDml(server.connect, database, seed)
    writers.create(rnd.choice((0, 30, 150)))
    writers.start()
    try:
        with ThreadPoolExecutor(len(sinks)) as pool:
            seeds = [random.Random(rnd.random()) for _ in sinks]
            kills = sum(pool.map(run_with_kills, sinks.values(), seeds))
    finally:
        writers.stop()
    for setup in sinks.values():
        assert child.run(setup, "sync")
    return kills


@pytest.mark.timeout(0)
def test_random_dml_with_kills_of_either_ends_equal_in_both(
    mysql: FamilyServer, tmp_path: Path
) -> None:
    database, rnd = "two_sinks", random.Random(FIRST)
    mysql.execute(f"DROP DATABASE IF EXISTS {database}", f"CREATE DATABASE {database}")
    sinks = setups(mysql, database, tmp_path, duckdb="", parquet=str(tmp_path / "files"))
    writers = RandomDml(mysql.connect, database, FIRST)
    writers.create(60)
    writers.start()
    try:
        for setup in sinks.values():
            with contextlib.closing(child.open_pipeline(setup)) as pipeline:
                for table in TABLES:
                    run_snapshot(pipeline, TableId(database, table))
        with ThreadPoolExecutor(2) as pool:
            seeds = [random.Random(rnd.random()) for _ in sinks]
            kills = sum(pool.map(killed_syncs, sinks.values(), seeds))
    finally:
        writers.stop()
    for setup in sinks.values():
        assert child.run(setup, "sync")
        require_equal(mysql, setup)
    with contextlib.closing(child.open_pipeline(setup)) as pipeline:
        assert pipeline.log.check(full=True) == []
    assert kills > 1, "too few runs were killed for this test to mean anything"
    mysql.execute(f"DROP DATABASE {database}")


def killed_syncs(setup: child.Setup, rnd: random.Random) -> int:
    """Syncs of a sink, each killed somewhere while it captures or merges; how many were."""
    points = [rnd.choice((*CAPTURE, *CAPTURED)), rnd.choice(MERGE)]
    rnd.shuffle(points)
    return sum(not child.run(setup, "sync", f"{point}:kill:1") for point in points)


@pytest.mark.nightly
@pytest.mark.timeout(0)
@pytest.mark.parametrize("other", ["delta", "iceberg", "parquet", "clickhouse", "postgres"])
def test_random_dml_with_kills_ends_equal_in_sinks_of_every_kind(
    mysql: FamilyServer, tmp_path: Path, other: str, room: PostgresRoom
) -> None:
    kills = 0
    for seed in range(FIRST, FIRST + EXAMPLES):
        home = tmp_path / str(seed)
        home.mkdir()
        place = str(home / other)
        if other == "postgres":
            place = room.url(room.database(str(home)))
        database = f"two_with_{other}_{seed}"
        targets = {"duckdb": "", other: place}
        kills += history(mysql, home, database, seed, **targets)
        for setup in setups(mysql, database, home, **targets).values():
            require_equal(mysql, setup, postgres=room)
        mysql.execute(f"DROP DATABASE {database}")
    assert kills >= EXAMPLES, "too few runs were killed for this test to mean anything"


@pytest.fixture
def sinks(mysql: FamilyServer, mysql_db: str, tmp_path: Path) -> dict[str, child.Setup]:
    """Two loaded sinks of a small table."""
    mysql.execute(
        f"CREATE TABLE {mysql_db}.t (id INT PRIMARY KEY, n INT)",
        f"INSERT INTO {mysql_db}.t VALUES (0, 0)",
    )
    found = setups(mysql, mysql_db, tmp_path, duckdb="", parquet=str(tmp_path / "files"))
    for setup in found.values():
        with contextlib.closing(child.open_pipeline(setup)) as pipeline:
            run_snapshot(pipeline, TableId(mysql_db, "t"))
    return found


def dumps(server: FamilyServer) -> list[int]:
    """Return the connections that read the server's log."""
    with contextlib.closing(server.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT id FROM information_schema.processlist WHERE command LIKE 'Binlog Dump%'"
        )
        return [number for (number,) in cursor.fetchall()]


@contextlib.contextmanager
def following(setup: child.Setup) -> Iterator[threading.Thread]:
    """Follow the log for a sink until the block ends."""
    ended = threading.Event()

    def run() -> None:
        with contextlib.closing(child.open_pipeline(setup)) as pipeline:
            run_sync(pipeline, SyncOptions(follow_for=120, stop=ended.is_set))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield thread
    finally:
        ended.set()
        thread.join(60)


def test_one_connection_reads_the_log_for_all_sinks_and_every_row_once(
    mysql: FamilyServer, sinks: dict[str, child.Setup]
) -> None:
    fast = {n: replace(s, options={"commit_interval": 0.1}) for n, s in sinks.items()}
    database, before = fast["duckdb"].database, dumps(mysql)
    seen: set[int] = set()
    most = 0
    with following(fast["duckdb"]), following(fast["parquet"]):
        for number in range(1, 6):
            mysql.execute(f"INSERT INTO {database}.t VALUES ({number}, {number})")
            wait_for(lambda n=number: len(rows_of(fast["parquet"], "t")) == n + 1)
            now = set(dumps(mysql)) - set(before)
            seen, most = seen | now, max(most, len(now))
    assert (len(seen), most) == (1, 1)
    with contextlib.closing(child.open_pipeline(fast["duckdb"])) as pipeline:
        run_sync(pipeline)
        assert len(rows_of(fast["duckdb"], "t")) == 6
        table = TableId(database, "t")
        batches = list(pipeline.log.read(table, 0))
        assert sum(batch.rows.num_rows for batch in batches) == 5


def test_a_broken_sink_holds_up_no_other_and_is_equal_once_it_is_mended(
    mysql: FamilyServer, sinks: dict[str, child.Setup], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cdc_assets.engine.pending.SINK_RETRIES", ())
    duckdb, parquet = sinks.values()
    away = duckdb.home / "away.duckdb"
    duckdb.lake.rename(away)
    duckdb.lake.mkdir()
    for number in range(1, 4):
        mysql.execute(f"INSERT INTO {duckdb.database}.t VALUES ({number}, {number})")
        with contextlib.closing(child.open_pipeline(duckdb)) as pipeline, pytest.raises(CdcError):
            run_sync(pipeline)
        with contextlib.closing(child.open_pipeline(parquet)) as pipeline:
            run_sync(pipeline)
        assert len(rows_of(parquet, "t")) == number + 1
    duckdb.lake.rmdir()
    away.rename(duckdb.lake)
    assert child.run(duckdb, "sync")
    assert sorted(rows_of(duckdb, "t")) == sorted(rows_of(parquet, "t"))
    assert len(rows_of(duckdb, "t")) == 4


ROUNDS = (
    ("ALTER TABLE t ADD COLUMN b VARCHAR(10) DEFAULT 'x'", "INSERT INTO t VALUES (10, 1, 'b')"),
    ("ALTER TABLE t MODIFY n BIGINT", f"INSERT INTO t VALUES (11, {2**40}, 'c')"),
    ("ALTER TABLE t RENAME COLUMN b TO c", "UPDATE t SET c = 'd' WHERE id = 10"),
    ("TRUNCATE t", "INSERT INTO t VALUES (12, 3, 'e')", "ALTER TABLE t ADD INDEX (c)"),
    ("ALTER TABLE t DROP COLUMN n", "INSERT INTO t (id, c) VALUES (13, 'f')"),
    ("ALTER TABLE t ADD COLUMN n INT NULL FIRST", "INSERT INTO t VALUES (5, 14, 'g')"),
)


@pytest.fixture
def nameless(mysql: FamilyServer) -> Iterator[FamilyServer]:
    """A server whose log names no columns."""
    mysql.execute("SET GLOBAL binlog_row_metadata = MINIMAL")
    yield mysql
    mysql.execute("SET GLOBAL binlog_row_metadata = FULL")


def test_ddl_reaches_every_sink_in_its_own_time_whoever_captured_it(
    nameless: FamilyServer, mysql_db: str, tmp_path: Path
) -> None:
    """The log names no columns: what a run of one sink knows of shapes, those of the others use."""
    found = setups(nameless, mysql_db, tmp_path, duckdb="", parquet=str(tmp_path / "files"))
    lines = {
        name: Line(nameless, replace(setup, options={"policy": SchemaPolicy("evolve")}))
        for name, setup in found.items()
    }
    duckdb, parquet = lines.values()
    duckdb.execute("CREATE TABLE t (id INT PRIMARY KEY, n INT)", "INSERT INTO t VALUES (1, 1)")
    for line in lines.values():
        line.load("t")
    for number, statements in enumerate(ROUNDS):
        duckdb.execute(*statements)
        (duckdb if number % 3 else parquet).sync()
    for line in lines.values():
        line.sync()
        assert line.states() == {"t": "live"}
        assert line.rows("t") == line.select("SELECT * FROM t ORDER BY id")


def test_a_sink_added_later_is_equal_and_takes_new_tables_from_the_log(
    mysql: FamilyServer, sinks: dict[str, child.Setup]
) -> None:
    database, home = sinks["duckdb"].database, sinks["duckdb"].home
    mysql.execute(
        f"CREATE TABLE {database}.born (id INT PRIMARY KEY, v VARCHAR(9))",
        f"INSERT INTO {database}.born VALUES (1, 'a'), (2, 'b')",
        f"ALTER TABLE {database}.born ADD COLUMN w INT DEFAULT 7",
        f"DELETE FROM {database}.born WHERE id = 1",
    )
    for setup in sinks.values():
        assert child.run(setup, "sync")
    places = {"duckdb": "", "parquet": sinks["parquet"].parquet, "delta": str(home / "delta")}
    delta = setups(mysql, database, home, **places)["delta"]
    with contextlib.closing(child.open_pipeline(delta)) as pipeline:
        report = run_sync(pipeline)
        outcomes = {table.table: r.outcome for table, r in report.tables.items()}
    assert outcomes == {"born": "applied"}, "of `t` the log has nothing, so it is not asked for"
    assert rows_of(delta, "born") == [(2, "b", 7)]
    assert child.run(delta, "t")
    mysql.execute(f"UPDATE {database}.t SET n = 1", f"INSERT INTO {database}.born VALUES (3,'c',1)")
    assert child.run(delta, "sync")
    assert rows_of(delta, "t") == [(0, 1)]
    assert sorted(rows_of(delta, "born")) == [(2, "b", 7), (3, "c", 1)]
