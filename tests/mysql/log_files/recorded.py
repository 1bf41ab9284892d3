"""A server's log as files, what the server says of it, and readers of such archives."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from resources.model.change import LogSlice
from resources.model.position import BinlogPosition
from resources.mysql.log_files_source import BinlogFilesSource
from tests.mysql.room import Room
from tests.servers import Server
from tests.servers.mariadb import MariaDBServer
from tests.servers.mysql import MySQLServer

Rows: TypeAlias = list[tuple[int, int, str | None]]

KINDS: dict[str, Callable[[], Server]] = {
    "mysql": lambda: MySQLServer(durable=False),
    "mysql-no-gtid": lambda: MySQLServer(durable=False, gtid=False),
    "mariadb": lambda: MariaDBServer(durable=False, options={"log_bin_compress": "ON"}),
}


@dataclass
class Recorded:
    """A server's log as files, and what the server itself says of it.

    Attributes:
        room: The server.
        folder: Copies of its log files, the last one as it was while the server wrote it.
        ends: The log's end after each transaction.
        rows: What the server's own stream gives, in log order.
    """

    room: Room
    folder: Path
    ends: list[BinlogPosition]
    rows: Rows

    @property
    def files(self) -> list[Path]:
        return sorted(self.folder.iterdir())

    def copy(self, folder: Path, *names: str) -> Path:
        """Copy the files, or some of them, elsewhere."""
        folder.mkdir()
        for file in self.files:
            if not names or file.name in names:
                shutil.copy(file, folder)
        return folder


def record(server: Server, folder: Path) -> Recorded:
    """Write several files: plain, large and compressed transactions, DDL, a restart."""
    mysql = server.kind == "mysql"
    server.execute("CREATE DATABASE shop", "CREATE DATABASE other")
    room = Room(server, "shop")
    room.execute("CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(2000))")
    ends: list[BinlogPosition] = []

    def commit(*statements: str) -> None:
        with closing(server.connect(database="shop")) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
        with closing(room.source()) as source:
            ends.append(source.current_position())

    number = iter(range(1, 10_000))
    many = ", ".join(f"({next(number)}, REPEAT('x', 400))" for _ in range(300))
    commit(f"INSERT INTO t VALUES {many}")
    commit("UPDATE t SET v = 'changed' WHERE id % 7 = 0")
    time.sleep(1.1)
    commit("FLUSH BINARY LOGS", f"INSERT INTO t VALUES ({next(number)}, NULL)")
    commit("ALTER TABLE t COMMENT 'a table'")
    big = [f"INSERT INTO t VALUES ({next(number)}, REPEAT('é', 900))" for _ in range(40)]
    if mysql:
        commit("SET SESSION binlog_transaction_compression = ON", "BEGIN", *big, "COMMIT")
    else:
        commit("BEGIN", *big, "COMMIT")
    commit("CREATE TABLE other.u (id INT PRIMARY KEY)", "INSERT INTO other.u VALUES (1)")
    server.restart()
    for _ in range(3):
        commit("DELETE FROM t WHERE id % 50 = 1", f"INSERT INTO t VALUES ({next(number)}, 'last')")
    folder.mkdir()
    for name, *_ in server.execute("SHOW BINARY LOGS"):
        shutil.copy(server.datadir / name, folder)
    with closing(room.source(startup="earliest")) as source:
        slices = source.stream_changes(source.start_position(), ends[-1], bool)
        return Recorded(room, folder, ends, rows_of(slices))


def archive(location: Any, **options: Any) -> BinlogFilesSource:
    defaults: dict[str, Any] = {"pipeline": "test", "include": ["shop.*"], "poll_interval": 0.05}
    return BinlogFilesSource(str(location), **{**defaults, **options})


def rows_of(slices: Any) -> Rows:
    """Row kind, key and text of all rows in counter order."""
    found = [
        (row["_cdc_seq"], row["_cdc_op"], row["id"], row["v"])
        for part in slices
        for batch in part.batches
        for row in batch.rows.to_pylist()
    ]
    return [row[1:] for row in sorted(found)]


def read(location: Any, start: BinlogPosition | None = None, **options: Any) -> list[LogSlice]:
    with closing(archive(location, **options)) as source:
        begin = start or source.start_position()
        return list(source.stream_changes(begin, source.current_position(), bool))


def place(position: BinlogPosition) -> tuple[str, int, str]:
    return position.file, position.offset, position.gtid_set


def cut_copy(recorded: Recorded, folder: Path, size: int) -> Path:
    """The archive as it was when its last file had this many bytes."""
    recorded.copy(folder)
    last = folder / recorded.files[-1].name
    last.write_bytes(last.read_bytes()[:size])
    return last
