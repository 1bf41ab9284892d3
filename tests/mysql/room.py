"""What the tests of this room share: settings for a private server, and whole-table reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import pyarrow as pa

from resources.model.chunk import Chunk
from resources.model.table import TableId, TableSchema
from resources.mysql.connection import MySQLSettings
from resources.mysql.source import MySQLSource
from tests.servers import CDC_PASSWORD, CDC_USER, Server

WHOLE = Chunk(1, None, None)
T = TypeVar("T")


def settings_for(server: Server, **changes: Any) -> MySQLSettings:
    """Settings of the least-privilege account, over the unix socket."""
    defaults: dict[str, Any] = {
        "socket": server.socket,
        "user": CDC_USER,
        "password": CDC_PASSWORD,
        "flavor": server.kind,
    }
    return MySQLSettings(**{**defaults, **changes})


def tcp_settings(server: Server) -> MySQLSettings:
    """The same over TCP, as pipelines connect."""
    return settings_for(server, socket=None, host=server.host, port=server.port, tls="off")


@contextmanager
def started_together(
    kinds: Mapping[str, Callable[[], Server]], work: Callable[[str, Server], T]
) -> Iterator[dict[str, T]]:
    """Servers by name, and what `work` made of each, until the end."""
    with ThreadPoolExecutor() as threads:
        started = threads.map(lambda name: kinds[name]().start(), kinds)
        servers = dict(zip(kinds, started, strict=True))
        try:
            found = threads.map(work, servers, servers.values())
            yield dict(zip(servers, found, strict=True))
        finally:
            for server in servers.values():
                server.close()


@dataclass(frozen=True)
class Room:
    """A server and a database of the test's own on it."""

    server: Server
    database: str

    @property
    def kind(self) -> str:
        return self.server.kind

    @property
    def settings(self) -> MySQLSettings:
        return settings_for(self.server)

    def source(self, **options: Any) -> MySQLSource:
        defaults: dict[str, Any] = {"pipeline": "test", "include": [f"{self.database}.*"]}
        return MySQLSource(self.settings, **{**defaults, **options})

    def execute(self, *statements: str, values: Sequence[Sequence[Any]] = ()) -> None:
        """Run statements in the test's database; `values` go to the last one."""
        connection = self.server.connect(database=self.database)
        with connection, connection.cursor() as cursor:
            cursor.execute("SET sql_mode = 'ALLOW_INVALID_DATES', time_zone = '+00:00'")
            for statement in statements[: -1 if values else None]:
                cursor.execute(statement)
            if values:
                cursor.executemany(statements[-1], values)

    def table(self, name: str) -> TableId:
        return TableId(self.database, name)

    def schema(self, name: str) -> TableSchema:
        table = self.table(name)
        source = self.source()
        try:
            return source.read_schemas([table])[table]
        finally:
            source.close()


def read_table(
    source: MySQLSource, schema: TableSchema, chunks: Sequence[Chunk] = (WHOLE,)
) -> pa.Table:
    """All rows of some chunks as one table."""
    parts = [part.rows for chunk in chunks for part in source.read_chunk(schema, chunk)]
    empty = pa.schema([f.with_nullable(True) for f in schema.arrow()])
    return pa.Table.from_batches(parts, schema=empty)
