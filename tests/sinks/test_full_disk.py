"""Every sink on a disk that is really full, and on the same disk when there is room again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from resources.errors import SinkUnavailable
from resources.sinks.contract import Watermark
from resources.sinks.duckdb import DuckDBSink
from resources.sinks.mysql import MySQLSink
from resources.sinks.postgres import PostgresSink
from tests.contracts.sink_steps import FEED, HISTORY, STEPS, changes_of, fence
from tests.servers.family import FamilyServer
from tests.servers.kafka import KafkaServer
from tests.servers.mariadb import MariaDBServer
from tests.servers.mysql import MySQLServer
from tests.sinks.delta_room import DeltaRoom
from tests.sinks.iceberg_room import IcebergRoom
from tests.sinks.kafka_room import Room
from tests.sinks.mysql_room import MySQLRoom
from tests.sinks.paimon_room import PaimonRoom
from tests.sinks.parquet_room import ParquetRoom
from tests.sinks.postgres_room import Room as PostgresRoom
from tests.sinks.postgres_room import room as room
from tests.sinks.small_disk import big_rows, owner_of, require_survived, small_disk
from tests.sinks.test_clickhouse_server import HttpServer

pytestmark = pytest.mark.nightly
LAKES = {
    "delta": DeltaRoom(),
    "iceberg": IcebergRoom(),
    "paimon": PaimonRoom(),
    "parquet": ParquetRoom(),
}


def test_duckdb(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 96) as disk:
        require_survived(disk, lambda: DuckDBSink(str(disk.folder / "shop.duckdb")))


@pytest.mark.parametrize("kind", LAKES)
def test_lakes(tmp_path: Path, kind: str) -> None:
    with small_disk(tmp_path / "disk", 96) as disk:
        require_survived(disk, lambda: LAKES[kind].make(str(disk.folder / "lake")))


def test_postgres(room: PostgresRoom, tmp_path: Path) -> None:
    """A database in a tablespace of its own, its temporary tables included."""
    folder = room.server.home / "small"
    with small_disk(folder, 160, owner_of(room.server.home)) as disk:
        place = folder / "space"
        place.mkdir()
        place.chmod(0o700)
        os.chown(place, *owner_of(room.server.home))
        room.run("postgres", f"CREATE TABLESPACE small LOCATION '{place}'")
        room.run("postgres", "CREATE DATABASE small TABLESPACE small")
        require_survived(disk, lambda: PostgresSink(room.url("small")))
        room.run("postgres", "DROP DATABASE small WITH (FORCE)", "DROP TABLESPACE small")


@pytest.mark.parametrize("make", [MySQLServer, MariaDBServer])
def test_mysql_and_mariadb(tmp_path: Path, make: type[FamilyServer]) -> None:
    """A server with its data on the disk, and its binary log elsewhere: that one it waits for."""
    options = {
        "log_bin": str(tmp_path / "binlog"),
        "innodb_redo_log_capacity" if make is MySQLServer else "innodb_log_file_size": "16M",
    }
    with small_disk(tmp_path / "disk", 400) as disk, make(disk.folder, options=options) as server:
        server.start()
        room = MySQLRoom(server, frozenset({"shop"}))
        require_survived(disk, lambda: MySQLSink(**room.options()))


def test_clickhouse_embedded(tmp_path: Path) -> None:
    """In a process of its own, since a process has one engine for good; it is not started again."""
    command = [sys.executable, "-m", "tests.sinks.fill_clickhouse", str(tmp_path / "disk")]
    done = subprocess.run(command, timeout=240, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_clickhouse_server(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 256) as disk:
        server = HttpServer(disk.folder / "engine")
        server.start()

        def restart() -> None:
            server.kill()
            server.start()

        try:
            require_survived(disk, server.sink, restart)
        finally:
            server.kill()


def test_kafka(tmp_path: Path) -> None:
    """The broker gives up with its only folder of logs; it is started again where there is room."""
    with small_disk(tmp_path / "disk", 96) as disk, KafkaServer(disk.folder) as server:
        server.start()
        room = Room(server)
        place = str(tmp_path)
        big = changes_of(11, big_rows()["name"].to_pylist())
        with room.open(place, timeout=10.0) as sink:
            STEPS["append"].prepare(sink)
            disk.fill()
            with pytest.raises(SinkUnavailable, match="Kafka says") as caught:
                sink.append(HISTORY, big, fence(10, 20))
            assert big["name"][0].as_py() not in str(caught.value)
        disk.free()
        server.stop()
        server.start()
        with room.open(place) as sink:
            assert sink.read_watermark(HISTORY.id, FEED) == Watermark(10, 0, 1)
            STEPS["append"].redo(sink)
        read = room.messages(room.topic(place, HISTORY.id))
        assert [m.value["after"]["id"] for m in read] == [1, 2, 11, 12, 13]
