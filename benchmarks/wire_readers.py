"""The readers that are compared with this project's, and with bytes read and dropped.

In: a server and a stretch of its log, or a query. Out: functions to time; each checks that it has
seen every row, since the speed of a reader that loses some is worth nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from socket import socket
from typing import Any
from urllib.parse import quote

from pymysql.cursors import SSCursor

from benchmarks.wire_bytes import (
    count_bytes,
    drop_bytes,
    ends_at,
    ends_result,
    open_dump,
    open_result,
)
from benchmarks.wire_ours import SERVER_ID, Work, require_rows, settings_of
from benchmarks.wire_stretch import DATABASE, Stretch
from resources.model.table import TableId
from resources.mysql.connection import MySQLSettings, connect
from resources.mysql.result_set import select_arrow, select_list
from resources.mysql.source import MySQLSource
from tests.servers import CDC_PASSWORD, CDC_USER
from tests.servers.family import FamilyServer

_BUFFER = memoryview(bytearray(1 << 20))
_FETCH = 10_000
PLAIN = {"ssl_disabled": True}
"""PyMySQL encrypts unless told otherwise; every reader here talks in the clear."""


def dump_limit(server: FamilyServer, stretch: Stretch) -> tuple[int, Work]:
    """Return the bytes a dump of a stretch sends, and what reads and drops them."""

    @contextmanager
    def opened() -> Iterator[socket]:
        with closing(server.connect_cdc(**PLAIN)) as connection:
            yield open_dump(connection, stretch.start, SERVER_ID)

    with opened() as sock:
        size = count_bytes(sock, ends_at(stretch.end))
    return size, _dropping(opened, size)


def _dropping(opened: Callable[[], AbstractContextManager[socket]], size: int) -> Work:
    def drop() -> None:
        with opened() as sock:
            drop_bytes(sock, size, _BUFFER)

    return drop


def stream_peer(server: FamilyServer, stretch: Stretch) -> Work:
    """Return what reads a stretch's share by mysql-replication, values of every row included."""
    from pymysqlreplication import BinLogStreamReader
    from pymysqlreplication.row_event import DeleteRowsEvent, UpdateRowsEvent, WriteRowsEvent

    account = {
        "host": server.host,
        "port": server.port,
        "user": server.user,
        "passwd": server.password,
        **PLAIN,
    }

    def read() -> None:
        stream = BinLogStreamReader(
            connection_settings=account,
            server_id=SERVER_ID,
            resume_stream=True,
            log_file=stretch.start.file,
            log_pos=stretch.start.offset,
            end_log_pos=stretch.share_end.offset,
            only_events=[WriteRowsEvent, UpdateRowsEvent, DeleteRowsEvent],
            only_tables=list(stretch.tables),
            enable_logging=False,
        )
        seen = sum(len(event.rows) for event in stream)
        stream.close()
        if stretch.rows == stretch.wanted_rows:
            require_rows(seen, stretch.share_rows)

    return read


def result_works(server: FamilyServer, rows: int) -> tuple[int, dict[str, Work]]:
    """Return the bytes of the table `results` in the binary protocol, and all its readers."""
    query = f"SELECT * FROM {DATABASE}.results"

    @contextmanager
    def opened() -> Iterator[socket]:
        with closing(server.connect_cdc(**PLAIN)) as connection:
            yield open_result(connection, query)

    with opened() as sock:
        size = count_bytes(sock, ends_result())
    return size, {
        "limit": _dropping(opened, size),
        "ours": _select_ours(settings_of(server.host, server.port), rows),
        "pymysql": _select_pymysql(server, query, rows),
        "connectorx": _select_connectorx(server, query, rows),
    }


def _select_ours(settings: MySQLSettings, rows: int) -> Work:
    table = TableId(DATABASE, "results")
    with closing(MySQLSource(settings, pipeline="bench", include=[f"{DATABASE}.*"])) as source:
        schema = source.read_schemas([table])[table]
    query = f"SELECT {select_list(schema)} FROM {DATABASE}.results"

    def read() -> None:
        with closing(connect(settings)) as connection:
            parts = select_arrow(connection, query, (), schema)
            require_rows(sum(part.rows.num_rows for part in parts), rows)

    return read


def _select_pymysql(server: FamilyServer, query: str, rows: int) -> Work:
    def read() -> None:
        connection = server.connect_cdc(cursorclass=SSCursor, **PLAIN)
        with closing(connection), connection.cursor() as cursor:
            cursor.execute(query)
            seen = 0
            while part := cursor.fetchmany(_FETCH):
                seen += len(part)
        require_rows(seen, rows)

    return read


def _select_connectorx(server: FamilyServer, query: str, rows: int) -> Work:
    import connectorx

    account = f"{quote(CDC_USER)}:{quote(CDC_PASSWORD)}"
    url = f"mysql://{account}@{server.host}:{server.port}/{DATABASE}"

    def read() -> None:
        found: Any = connectorx.read_sql(url, query, return_type="arrow")
        require_rows(found.num_rows, rows)

    return read
