"""A server dies, its replica takes over with files of other names: the pipeline goes on there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from resources.errors import ServerChanged
from tests import oracle
from tests.e2e import child
from tests.e2e.random_dml import TABLES, RandomDml
from tests.e2e.room import NIGHTLY
from tests.mysql.room import settings_for
from tests.servers.family import FamilyServer
from tests.servers.mariadb import MariaDBServer
from tests.servers.mysql import MySQLServer

DATABASE = "shop"
REPLICATOR = "CREATE USER 'repl'@'%' IDENTIFIED BY 'repl-pw'"
GRANT = "GRANT REPLICATION SLAVE ON *.* TO 'repl'@'%'"
CLASSES: dict[str, Callable[..., FamilyServer]] = {"mysql": MySQLServer, "mariadb": MariaDBServer}


def replicate(replica: FamilyServer, source: FamilyServer) -> None:
    """Let a fresh server follow another one by GTID."""
    source.execute(REPLICATOR, GRANT)
    address = f"HOST = '{source.host}', {{0}}PORT = {source.port}, {{0}}USER = 'repl'"
    if source.kind == "mysql":
        replica.execute(
            f"CHANGE REPLICATION SOURCE TO SOURCE_{address.format('SOURCE_')}, "
            "SOURCE_PASSWORD = 'repl-pw', SOURCE_SSL = 1, SOURCE_AUTO_POSITION = 1",
            "START REPLICA",
        )
    else:
        replica.execute(
            f"CHANGE MASTER TO MASTER_{address.format('MASTER_')}, "
            "MASTER_PASSWORD = 'repl-pw', MASTER_USE_GTID = slave_pos",
            "START SLAVE",
        )


def caught_up(replica: FamilyServer, source: FamilyServer) -> None:
    """Wait until the replica has everything the other one has logged."""
    if source.kind == "mysql":
        gtids = source.execute("SELECT @@GLOBAL.gtid_executed")[0][0]
        wait = f"SELECT WAIT_FOR_EXECUTED_GTID_SET('{gtids}', 60)"
    else:
        gtids = source.execute("SELECT @@gtid_binlog_pos")[0][0]
        wait = f"SELECT MASTER_GTID_WAIT('{gtids}', 60)"
    assert replica.execute(wait) == [(0,)]


def promote(replica: FamilyServer) -> None:
    """End the replication; the replica is a server of its own from now on."""
    if replica.kind == "mysql":
        replica.execute("STOP REPLICA", "RESET REPLICA ALL")
    else:
        replica.execute("STOP SLAVE", "RESET SLAVE ALL")


def logs(server: FamilyServer) -> list[str]:
    return [row[0] for row in server.execute("SHOW BINARY LOGS")]


@pytest.fixture
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[FamilyServer, FamilyServer]]:
    """A server of the kind asked for and its replica, whose log files have other names."""
    make = CLASSES[request.param]
    updates = "log_replica_updates" if request.param == "mysql" else "log_slave_updates"
    with make() as first, make(options={"log_bin": "other-bin", updates: "ON"}) as second:
        if request.param == "mariadb":  # its own set-up statements would stand in the way
            second.execute("RESET MASTER", "SET GLOBAL gtid_slave_pos = ''")
        replicate(second, first)
        yield first, second


def differences(server: FamilyServer, setup: child.Setup) -> list[str]:
    found = [
        oracle.compare(
            table,
            oracle.mysql_rows(server.connect(), DATABASE, table),
            oracle.duckdb_rows(str(setup.lake), DATABASE, table),
        )
        for table in TABLES
    ]
    return [str(difference) for difference in found if difference]


def write_for(server: FamilyServer, seed: int, seconds: float, create: bool = False) -> None:
    writers = RandomDml(server.connect, DATABASE, seed)
    if create:
        server.execute(f"CREATE DATABASE {DATABASE}")
        writers.create(50)
    writers.start()
    time.sleep(seconds)
    writers.stop()


@pytest.mark.parametrize(
    ("pair", "flushes"),
    [
        ("mysql", "first"),
        ("mariadb", "second"),
        pytest.param("mysql", "second", marks=NIGHTLY),
        pytest.param("mariadb", "first", marks=NIGHTLY),
    ],
    indirect=["pair"],
)
def test_the_replica_of_a_dead_server_is_followed_on(
    pair: tuple[FamilyServer, FamilyServer], tmp_path: Path, flushes: str
) -> None:
    first, second = pair
    setup = child.Setup(settings_for(first), DATABASE, tmp_path)
    write_for(first, 1, 0.3, create=True)
    for table in TABLES:
        assert child.run(setup, table)
    for _ in range(4):  # the numbers of the files say nothing about their order
        (first if flushes == "first" else second).execute("FLUSH BINARY LOGS")
    write_for(first, 2, 0.3)
    assert child.run(setup, "sync")
    write_for(first, 3, 0.3)  # what the pipeline reads only from the replica
    caught_up(second, first)
    assert set(logs(first)).isdisjoint(logs(second))
    first.kill()
    promote(second)
    moved = replace(setup, settings=settings_for(second))
    assert child.run(moved, "sync")
    assert differences(second, moved) == []
    write_for(second, 4, 0.3)
    assert child.run(moved, next(iter(TABLES)))  # one table loaded again, from the new server
    assert child.run(moved, "sync")
    assert differences(second, moved) == []
    pipeline = child.open_pipeline(moved)
    assert pipeline.log.check(full=True) == []
    pipeline.close()


@pytest.mark.parametrize("pair", CLASSES, indirect=True)
def test_a_replica_that_lost_transactions_is_refused(
    pair: tuple[FamilyServer, FamilyServer], tmp_path: Path
) -> None:
    first, second = pair
    setup = child.Setup(settings_for(first), DATABASE, tmp_path)
    write_for(first, 1, 0.1, create=True)
    caught_up(second, first)
    promote(second)
    write_for(first, 2, 0.2)
    first.execute(f"CREATE DATABASE {DATABASE}_lost")
    for table in TABLES:
        assert child.run(setup, table)
    first.kill()
    pipeline = child.open_pipeline(replace(setup, settings=settings_for(second)))
    start = pipeline.log.segments.resume_position()
    assert start is not None
    with pytest.raises(ServerChanged, match="lost transactions in a failover"):
        next(pipeline.source.stream_changes(start, None, lambda: False))
    pipeline.close()
