"""One ClickHouse server over HTTP, or the engine in this process (chDB), by the same client.

In: an address. Out: statements run, rows selected and inserted as Arrow, errors in our words. The
sink's own tables (`clickhouse_ledger`) are there once it is open.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import clickhouse_connect
import pyarrow as pa
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from resources.errors import SinkUnavailable
from resources.sinks.clickhouse_ddl import LEDGER_TABLES, Dialect
from resources.sinks.clickhouse_errors import not_reached, translate
from resources.sinks.clickhouse_types import FULL_REACH, OLD_REACH, Reach
from resources.sinks.contract import TargetId

_SETTINGS: dict[str, Any] = {
    "async_insert": 0,  # an insert is on disk when its answer comes
    "insert_deduplicate": 0,  # only what carries a token is compared with earlier inserts
    "mutations_sync": 2,
    "alter_sync": 2,
    "input_format_null_as_default": 0,  # NULL is refused, never made a zero
    "output_format_arrow_string_as_string": 0,  # text is checked by us, bytes need not be UTF-8
    # An insert is one block, so one part per partition: readers see it whole or not at all.
    "max_insert_threads": 1,
    "optimize_on_insert": 0,  # the keys of one insert differ: nothing is there to be reduced
    "min_insert_block_size_rows": 0,
    "min_insert_block_size_bytes": 2**30,
}
_ERRORS = (ClickHouseError, OSError)
_RETRY_SECONDS = 0.1
_WRITERS: dict[tuple[str, TargetId], threading.RLock] = {}
"""Per place and table: held by the one thread of this process that writes it."""


@dataclass(frozen=True)
class Place:
    """Where the engine is.

    Args:
        path: Folder of the engine in this process; empty for a server.
        host: Host name or address of a server.
        port: Its HTTP or HTTPS port.
        options: Further arguments of `clickhouse_connect.get_client`.
        settings: ClickHouse settings over the sink's own.
    """

    path: str = ""
    host: str = ""
    port: int = 0
    options: Mapping[str, Any] = field(default_factory=dict, hash=False, repr=False)
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def where(self) -> str:
        """Its name for people."""
        return os.path.realpath(self.path) if self.path else f"{self.host}:{self.port}"


class ClickHouse:
    """A lazily opened connection.

    Args:
        place: Where the engine is.
        dialect: How the sink's own tables are created.
        lock_timeout: Seconds to wait while another process has the folder open.
    """

    def __init__(self, place: Place, dialect: Dialect, lock_timeout: float) -> None:
        self.place = place
        self.dialect = dialect
        self.reach: Reach = FULL_REACH
        self._lock_timeout = lock_timeout
        self._client: Client | None = None
        self._opening = threading.Lock()

    @property
    def client(self) -> Client:
        """The open client.

        Raises:
            SinkUnavailable: The server does not answer, or another process has the folder open.
            ConfigError: The server does not let us in.
        """
        with self._opening:
            if self._client is None:
                client = self._wait_and_connect()
                try:
                    self._prepare(client)
                except BaseException:
                    client.close()
                    raise
                self._client = client
            return self._client

    def run(self, statement: str, where: str) -> None:
        """Run a statement that returns nothing.

        Args:
            statement: With names and literals quoted.
            where: The table concerned, for errors.

        Raises:
            CdcError: ClickHouse's errors by `translate`.
        """
        with self._translated(where):
            self.client.command(statement)

    def rows(self, query: str, where: str) -> list[list[Any]]:
        """Return a query's rows as Python values; for facts, not for data."""
        with self._translated(where):
            text = self.client.raw_query(f"{query} FORMAT JSONCompactEachRow")
        return [json.loads(line) for line in text.splitlines() if line]

    def value(self, query: str, where: str) -> Any:  # noqa: ANN401 - as JSON has it
        """Return the first value of a query's only row."""
        return self.rows(query, where)[0][0]

    def select(self, query: str, where: str) -> pa.Table:
        """Return a query's rows as Arrow; text comes as bytes."""
        with self._translated(where):
            data = self.client.raw_query(f"{query} FORMAT ArrowStream")
        return pa.ipc.open_stream(data).read_all()

    def insert(
        self, table: str, rows: pa.Table, where: str, token: str = "", *, by_content: bool = True
    ) -> None:
        """Insert rows in ClickHouse's own forms (`to_storage`), as one block.

        Args:
            table: Quoted name.
            rows: By column name.
            where: The table concerned.
            token: Another insert of the same token into the table does nothing.
            by_content: Whether that holds for the same rows only.
        """
        buffer = pa.BufferOutputStream()
        with pa.ipc.new_stream(buffer, rows.schema) as writer:
            writer.write_table(rows)
        data = buffer.getvalue()
        settings: dict[str, Any] = {}
        if token:
            told = hashlib.blake2b(data, digest_size=16).hexdigest() if by_content else ""
            settings = {"insert_deduplicate": 1, "insert_deduplication_token": f"{token} {told}"}
        with self._translated(where):
            self.client.raw_insert(
                table,
                column_names=rows.column_names,
                insert_block=pa.BufferReader(data),
                settings=settings,
                fmt="ArrowStream",
            )

    @contextmanager
    def alone(self, target: TargetId) -> Iterator[None]:
        """Keep the other threads of this process from writing a table meanwhile."""
        key = self.place.where, target
        with _WRITERS.setdefault(key, threading.RLock()):
            yield

    def close(self) -> None:
        """Release the folder or the connection; a later call opens it again."""
        with self._opening:
            if self._client is not None:
                self._client.close()
                self._client = None

    @contextmanager
    def _translated(self, where: str) -> Iterator[None]:
        try:
            yield
        except _ERRORS as error:
            raise translate(error, where) from None

    def _wait_and_connect(self) -> Client:
        deadline = time.monotonic() + self._lock_timeout
        while True:
            try:
                return self._connect()
            except _ERRORS as error:
                if not self.place.path:
                    raise not_reached(error, self.place.where) from None
                if time.monotonic() >= deadline:
                    raise self._held() from None
            time.sleep(_RETRY_SECONDS)

    def _connect(self) -> Client:
        settings = {**_SETTINGS, **self.place.settings}
        if self.place.path:
            return clickhouse_connect.get_client(
                interface="chdb", path=self.place.path, settings=settings
            )
        return clickhouse_connect.get_client(
            host=self.place.host,
            port=self.place.port,
            settings=settings,
            autogenerate_session_id=False,
            **self.place.options,
        )

    def _held(self) -> SinkUnavailable:
        return SinkUnavailable(
            f"the folder cannot be opened; waited {self._lock_timeout:g} s",
            where=self.place.where,
            remedy="close it in other processes, and other folders in this one (an engine in the "
            "process has one folder, and a folder one process); check the folder's rights and disk",
        )

    def _prepare(self, client: Client) -> None:
        """Learn which days the server holds, and create the sink's own tables if missing."""
        try:
            far = client.command("SELECT toString(toDate32('9999-12-31'))")
            self.reach = FULL_REACH if far == "9999-12-31" else OLD_REACH
            tables = "SELECT count() FROM system.tables WHERE database = '_cdc' AND name IN "
            names = ", ".join(f"'{name}'" for name in LEDGER_TABLES)
            if client.command(f"{tables} ({names})") != len(LEDGER_TABLES):
                for statement in self.dialect.create_ledger():
                    client.command(statement)
        except _ERRORS as error:
            raise translate(error, self.place.where) from None
