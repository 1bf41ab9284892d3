"""Servers of the MySQL family for sinks under test: one place at a time, emptied for the next.

A namespace is a database here, so nothing tells two places of one server apart. The sink's server
is not the one other tests have as a source, which must not be emptied.
"""

from __future__ import annotations

import functools
import math
import threading
from typing import Any

import pyarrow as pa
import pymysql
import pytest

from resources.sinks.mysql import MySQLSink
from resources.sinks.mysql_names import SYSTEM_DATABASES, quote
from tests.servers import Kind, Server
from tests.servers.mariadb import MariaDBServer
from tests.servers.mysql import MySQLServer
from tests.servers.oceanbase import OceanBaseServer
from tests.strategies import HOSTILE_NAMES

_OPTIONS = {
    "local_infile": "ON",
    "innodb_doublewrite": "OFF",
    "innodb_flush_log_at_trx_commit": "0",
}
LONGEST_TIME_US = (838 * 3600 + 59 * 60 + 59) * 10**6
NAMES = tuple(n for n in HOSTILE_NAMES if n not in ("😀", "ſ", "É"))


class MySQLRoom:
    """One server, and the place it holds now.

    Args:
        server: The server.
        only: The databases a place may have, on a server that is not the room's own.
    """

    def __init__(self, server: Server, only: frozenset[str] = frozenset()) -> None:
        self.server: Any = server
        self._only = only
        self._place = ""
        self._lock = threading.Lock()
        self._connection: Any = None

    def empty(self) -> None:
        """Drop all databases of users, and what the sink remembers of them."""
        with self._connected().cursor() as cursor:
            cursor.execute("SHOW DATABASES")
            names = [row[0] for row in cursor.fetchall() if row[0] not in SYSTEM_DATABASES]
            for name in names:
                if name not in ("_cdc", "test") and name in (self._only or names):
                    cursor.execute(f"DROP DATABASE {quote(name)}")
            if "_cdc" in names:
                cursor.execute("SHOW TABLES FROM _cdc")
                for (table,) in cursor.fetchall():
                    ours = table in ("watermarks", "tables", "loads", "loaded_chunks")
                    cursor.execute(f"{'DELETE FROM' if ours else 'DROP TABLE'} _cdc.`{table}`")

    def enter(self, place: str) -> None:
        """Make the server be a place: empty, unless it is the one it was."""
        with self._lock:
            if place != self._place:
                self.empty()
                self._place = place

    def _connected(self) -> Any:
        """The administrator's connection; a new one if the server was started again."""
        if self._connection is None or not self._connection.open or not self._is_alive():
            self._connection = self.server.connect()
        return self._connection

    def _is_alive(self) -> bool:
        try:
            self._connection.ping(reconnect=False)
        except pymysql.err.MySQLError:
            return False
        return True

    def run(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements as the administrator; rows of the last."""
        with self._connected().cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall())

    def options(self, **more: Any) -> dict[str, Any]:
        """How a sink reaches the server."""
        server = self.server
        there = {"socket": server.socket} if not server.port else {"host": server.host}
        there |= {"port": server.port, "tls": "off"} if server.port else {}
        return {**there, "user": server.user, "password": server.password, **more}

    def sink(self, place: str, **more: Any) -> MySQLSink:
        """A sink at a place."""
        self.enter(place)
        return MySQLSink(**self.options(**more))


@functools.cache
def room_of(kind: Kind) -> MySQLRoom:
    """The room of a kind: one for all modules that import a fixture, ended with this process."""
    if kind == "mysql":
        return MySQLRoom(MySQLServer(options=_OPTIONS).start())
    if kind == "mariadb":
        return MySQLRoom(MariaDBServer(options=_OPTIONS).start())
    return MySQLRoom(OceanBaseServer().start())


@pytest.fixture(scope="session")
def mysql_room() -> MySQLRoom:
    return room_of("mysql")


@pytest.fixture(scope="session")
def mariadb_room() -> MySQLRoom:
    return room_of("mariadb")


@pytest.fixture(scope="session")
def oceanbase_room() -> MySQLRoom:
    return room_of("oceanbase")


def held(type_: pa.DataType, value: Any, longest: int = LONGEST_TIME_US) -> bool:
    """Whether MySQL holds a value; the others are dirty rows."""
    if pa.types.is_floating(type_):
        return value is None or math.isfinite(value)
    if pa.types.is_duration(type_):
        micros = pa.scalar(value, type_).value
        return value is None or -longest <= micros <= longest
    return True
