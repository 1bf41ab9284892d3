"""The source as a whole: positions, continuity, threads, and the log behind it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from resources.errors import ConfigError, PositionPurged, ServerChanged, SourceUnavailable
from resources.model.position import BinlogPosition, PollPosition, ServerIdentity
from resources.model.source import SnapshotSource
from resources.mysql.source import MySQLSource, read_position
from tests.mysql.room import WHOLE, Room, read_table
from tests.mysql.type_cases import type_table
from tests.servers import Server
from tests.servers.mariadb import MariaDBServer
from tests.servers.mysql import MySQLServer


def _never() -> bool:
    return False


def _first_slice(source: MySQLSource, start: Any) -> Any:
    """Start a stream that has nothing to read; only its checks matter."""
    return next(source.stream_changes(start, None, lambda: True), None)


def test_it_is_a_snapshot_source(room: Room) -> None:
    with closing(room.source()) as source:
        assert isinstance(source, SnapshotSource)
        assert source.identity().flavor == room.kind
        assert source.identity() == source.identity()


def test_chunks_are_read_by_several_threads(room: Room) -> None:
    room.execute("CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(50))")
    room.execute("INSERT INTO t VALUES (%s, %s)", values=[[n, f"row {n}"] for n in range(3000)])
    schema = room.schema("t")
    with closing(room.source(parallel=3)) as source, ThreadPoolExecutor(8) as threads:
        chunks = list(source.plan_chunks(schema, 100))
        parts = list(threads.map(lambda chunk: read_table(source, schema, [chunk]), chunks))
        busy = room.server.execute(
            "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER LIKE 'cdc%'"
        )[0][0]
    assert sorted(i for part in parts for i in part["id"].to_pylist()) == list(range(3000))
    assert busy <= 5 or room.kind == "oceanbase"


def _thread(connection: Any) -> int:
    return int(connection.thread_id())


def test_a_lost_idle_connection_is_replaced(room: Room) -> None:
    room.execute("CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    schema = room.schema("t")
    with closing(room.source(parallel=1)) as source:
        assert read_table(source, schema).num_rows == 1
        with source._readers.borrow() as connection:
            thread = _thread(connection)
        room.server.execute(f"KILL {thread}")
        time.sleep(0.2)
        with pytest.raises(SourceUnavailable):
            read_table(source, schema)
        assert read_table(source, schema).num_rows == 1


def test_estimates_come_from_the_server(room: Room) -> None:
    room.execute("CREATE TABLE t (id INT PRIMARY KEY)")
    room.execute("INSERT INTO t VALUES (%s)", values=[[n] for n in range(2000)])
    room.execute("ANALYZE TABLE t")
    schema = room.schema("t")
    with closing(room.source()) as source:
        assert 1000 <= source.estimate_rows(schema) <= 4000
        assert source.estimate_rows(replace(schema, table=room.table("gone"))) == 0


def test_lag_counts_the_log_s_own_bytes(mysql_family: Any, family_db: str) -> None:
    room = Room(mysql_family, family_db)
    with closing(room.source()) as source:
        start = source.current_position()
        assert source.lag_bytes(start) == 0
        room.execute("CREATE TABLE t (id INT PRIMARY KEY)")
        mysql_family.execute("FLUSH BINARY LOGS")
        room.execute("INSERT INTO t VALUES (1)")
        end = read_position(room.settings)
        logs = dict(row[:2] for row in mysql_family.execute("SHOW BINARY LOGS"))
        assert source.lag_bytes(start) == logs[start.file] - start.offset + end.offset
        assert source.lag_bytes(end) == 0
        assert source.lag_bytes(replace(start, file="binlog.999999")) is None
        assert source.lag_bytes(replace(start, identity=ServerIdentity("mysql", "x"))) is None
        assert source.lag_bytes(PollPosition()) is None


def _transaction_ends(server: Server, start: BinlogPosition) -> list[int]:
    """End positions of all transactions after `start`, from SHOW BINLOG EVENTS."""
    rows = server.execute(f"SHOW BINLOG EVENTS IN '{start.file}' FROM {start.offset}")
    return [row[4] for row in rows if row[2] == "Xid"]


@pytest.mark.usefixtures("slow_commits")
def test_what_a_position_covers_is_visible_to_later_reads(
    mysql_family: Any, family_db: str
) -> None:
    room = Room(mysql_family, family_db)
    room.execute("CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, v INT)")
    halt = threading.Event()
    seen: list[tuple[BinlogPosition, int]] = []
    with closing(room.source()) as source:
        begin = source.current_position()

        def write() -> None:
            with closing(mysql_family.connect(database=family_db)) as writer:
                while not halt.is_set():
                    with writer.cursor() as cursor:
                        cursor.execute("INSERT INTO t (v) VALUES (1)")

        threads = [threading.Thread(target=write) for _ in range(4)]
        for thread in threads:
            thread.start()
        until = time.monotonic() + 2
        with closing(mysql_family.connect(database=family_db)) as reader:
            while time.monotonic() < until:
                position = source.current_position()
                with reader.cursor() as cursor:
                    cursor.execute("SELECT COUNT(*) FROM t")
                    seen.append((position, cursor.fetchone()[0]))
        halt.set()
        for thread in threads:
            thread.join()
    ends = _transaction_ends(mysql_family, begin)
    assert len(seen) > 20
    for position, visible in seen:
        assert position.file == begin.file
        covered = sum(end <= position.offset for end in ends)
        assert visible >= covered
        assert position.offset in ends or position == begin


@pytest.fixture
def slow_commits(mysql_family: Any) -> Iterator[None]:
    """Hold transactions back after they are written to MySQL's log, before the engine commits."""
    if mysql_family.kind == "mysql":
        mysql_family.execute("SET GLOBAL binlog_group_commit_sync_delay = 20000")
    yield
    if mysql_family.kind == "mysql":
        mysql_family.execute("SET GLOBAL binlog_group_commit_sync_delay = DEFAULT")


@pytest.fixture(params=["mysql", "mysql-no-gtid", "mariadb"])
def private(request: pytest.FixtureRequest) -> Iterator[Room]:
    """A server whose log may be reset and purged."""
    build: Callable[[], Server] = {
        "mysql": lambda: MySQLServer(durable=False),
        "mysql-no-gtid": lambda: MySQLServer(durable=False, gtid=False),
        "mariadb": lambda: MariaDBServer(durable=False),
    }[request.param]
    with build() as server:
        server.execute("CREATE DATABASE shop", "CREATE TABLE shop.t (id INT PRIMARY KEY)")
        yield Room(server, "shop")


def read_first_log(room: Room) -> str:
    return str(room.server.execute("SHOW BINARY LOGS")[0][0])


def test_a_purged_position_names_both_ends(private: Room) -> None:
    with closing(private.source()) as source:
        start = source.current_position()
        private.execute("INSERT INTO t VALUES (1)", "FLUSH BINARY LOGS", "INSERT INTO t VALUES (2)")
        last = read_position(private.settings)
        _first_slice(source, start)
        deadline = time.monotonic() + 30
        while read_first_log(private) == start.file and time.monotonic() < deadline:
            # A server keeps a file as long as it believes that a reader is at it.
            private.execute(f"PURGE BINARY LOGS TO '{last.file}'")
        with pytest.raises(PositionPurged) as caught:
            _first_slice(source, start)
        assert str(start) in str(caught.value)
        assert "snapshot" in caught.value.remedy
        assert source.lag_bytes(start) is None


def test_a_reset_server_is_refused(private: Room) -> None:
    reset = "RESET BINARY LOGS AND GTIDS" if private.kind == "mysql" else "RESET MASTER"
    with closing(private.source()) as source:
        private.execute("INSERT INTO t VALUES (1), (2), (3)", "DELETE FROM t")
        start = source.current_position()
        private.execute(reset)
        with pytest.raises(ServerChanged):
            _first_slice(source, start)
        if start.gtid_set:
            # The new log may grow past the old offset; GTIDs still tell.
            private.execute(*(f"INSERT INTO t VALUES ({n})" for n in range(1, 3)))
            with pytest.raises(ServerChanged):
                _first_slice(source, start)


def test_another_server_is_refused_or_proves_itself_by_gtid(private: Room) -> None:
    with closing(private.source()) as source:
        start = source.current_position()
        elsewhere = replace(start, identity=ServerIdentity(private.kind, "another"))
        if start.gtid_set:
            _first_slice(source, elsewhere)
        else:
            with pytest.raises(ServerChanged, match="another"):
                _first_slice(source, elsewhere)
        with pytest.raises(ServerChanged, match="taken on oceanbase"):
            _first_slice(source, replace(start, identity=ServerIdentity("oceanbase", "")))
        with pytest.raises(ConfigError, match="polling"):
            _first_slice(source, PollPosition())


def test_snapshot_and_log_hold_the_same_values(mysql_family: Any, family_db: str) -> None:
    room = Room(mysql_family, family_db)
    with closing(room.source()) as source:
        start = source.current_position()
        room.execute(*type_table(room.kind)[0])
        end = source.current_position()
        slices = list(source.stream_changes(start, end, _never))
        schema = room.schema("every")
        snapshot = read_table(source, schema).sort_by("id")
    batches = [batch for part in slices for batch in part.batches]
    assert {batch.schema.fingerprint() for batch in batches} == {schema.fingerprint()}
    assert not [row for part in slices for row in part.rejected]
    log = pa.concat_tables([pa.table(batch.rows.select(schema.names)) for batch in batches])
    for name, column_type in zip(schema.names, snapshot.schema.types, strict=True):
        assert log.schema.field(name).type == column_type
        before, after = snapshot[name].to_pylist(), log.sort_by("id")[name].to_pylist()
        assert after == before, f"{name} {schema.column(name).source_type}"


def test_changes_follow_a_position(private: Room) -> None:
    with closing(private.source()) as source:
        start = source.current_position()
        private.execute("INSERT INTO t VALUES (1), (2)", "DELETE FROM t WHERE id = 1")
        slices = list(source.stream_changes(start, source.current_position(), _never))
        batches = [batch for part in slices for batch in part.batches]
        assert sum(b.rows.num_rows for b in batches) == 3
        assert batches[0].schema.fingerprint() == private.schema("t").fingerprint()
        assert read_table(source, private.schema("t"), [WHOLE])["id"].to_pylist() == [2]


def test_oceanbase_has_no_log_to_capture(oceanbase: Any, oceanbase_db: str) -> None:
    room = Room(oceanbase, oceanbase_db)
    with closing(room.source()) as source:
        start = BinlogPosition("binlog.000001", 4, "", source.identity())
        for ask in (source.current_position, lambda: _first_slice(source, start)):
            with pytest.raises(ConfigError, match="Binlog Service"):
                ask()
    with pytest.raises(ConfigError, match="Binlog Service"):
        read_position(room.settings)


def test_a_stopped_server_is_a_transient_error() -> None:
    with MySQLServer(durable=False) as server:
        source = Room(server, "shop").source()
        source.identity()
        server.kill()
        for _ in range(2):
            with pytest.raises(SourceUnavailable):
                source.current_position()
        server.start()
        assert source.current_position().file
        source.close()
