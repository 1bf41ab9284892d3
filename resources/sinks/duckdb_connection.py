"""One DuckDB file: opened when used, waited for while others hold it, its errors in our words.

In: a path and limits. Out: transactions that commit whole or not at all.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import duckdb
import pyarrow as pa

from resources.errors import (
    CdcError,
    ConfigError,
    DirtyRowError,
    FencedOut,
    SinkUnavailable,
    TerminalError,
)
from resources.failpoints import failpoint
from resources.sinks.bisect import Refusal
from resources.sinks.contract import TargetId
from resources.sinks.duckdb_ledger import open_ledger
from resources.sinks.duckdb_names import quote
from resources.sinks.shape import RESERVED_NAMESPACE

_SAFE: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "allow_unsigned_extensions": "false",
}
_RETRY_SECONDS = 0.1
_OPENING = threading.Lock()
"""Keeps two threads of this process from creating the ledger at once."""
_WRITERS: dict[tuple[str, TargetId], threading.Lock] = {}
"""Per file and table: held by those who must not write it at the same time."""
_REFUSALS = (
    duckdb.ConstraintException,
    duckdb.ConversionException,
    duckdb.InvalidInputException,
    duckdb.OutOfRangeException,
)


class DuckDBFile:
    """A lazily opened DuckDB database file.

    Args:
        path: The file; its folder must exist.
        lock_timeout: Seconds to wait while another process has the file open.
        memory_limit: DuckDB's `memory_limit`, e.g. `2GB`; None leaves its default.
        threads: DuckDB's `threads`; None leaves its default.
    """

    def __init__(
        self, path: str, lock_timeout: float, memory_limit: str | None, threads: int | None
    ) -> None:
        self.path = path
        self._lock_timeout = lock_timeout
        self._config = dict(_SAFE)
        if memory_limit is not None:
            self._config["memory_limit"] = memory_limit
        if threads is not None:
            self._config["threads"] = threads
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._catalog = ""

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """The open connection.

        Raises:
            SinkUnavailable: Another process held the file for all of `lock_timeout`.
        """
        if self._connection is None:
            connection = self._wait_and_connect()
            self._catalog = connection.execute("SELECT current_database()").fetchall()[0][0]
            # Times with a zone are kept and shown in UTC; row order means nothing in a target.
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute("SET preserve_insertion_order = false")
            self._connection = connection
            with _OPENING:
                open_ledger(connection, self.name(RESERVED_NAMESPACE))
        return self._connection

    def name(self, *parts: str) -> str:
        """Return a quoted name under this database.

        The database's own name leads, because a schema of the same name (`shop` in
        `shop.duckdb`) makes every shorter form ambiguous.
        """
        _ = self.connection
        return ".".join(quote(p) for p in (self._catalog, *parts))

    def ledger(self, table: str) -> str:
        """Return the quoted name of one of the sink's own tables."""
        return self.name(RESERVED_NAMESPACE, table)

    @contextmanager
    def transaction(
        self, where: str, *, alone: TargetId | None = None
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """Commit what the block did, or roll all of it back.

        Args:
            where: The table concerned, for errors.
            alone: A table that no other connection may write meanwhile under the same promise;
                all of them are in this process, as DuckDB has it.

        Raises:
            CdcError: DuckDB's errors by `translate`.
        """
        connection = self.connection
        with ExitStack() as held:
            if alone is not None:
                key = os.path.realpath(self.path), alone
                held.enter_context(_WRITERS.setdefault(key, threading.Lock()))
            with self._committed(connection, where):
                yield connection

    @contextmanager
    def _committed(self, connection: duckdb.DuckDBPyConnection, where: str) -> Iterator[None]:
        try:
            connection.execute("BEGIN")
            yield
            failpoint("sink.before_commit")
            connection.execute("COMMIT")
        except BaseException as error:
            with suppress(duckdb.Error):  # a failed COMMIT has rolled back by itself
                connection.execute("ROLLBACK")
            if isinstance(error, duckdb.Error):
                if isinstance(error, (duckdb.FatalException, duckdb.InternalException)):
                    self.close()  # DuckDB answers nothing more until it is opened anew
                raise translate(error, where) from None
            raise

    @contextmanager
    def registered(self, name: str, rows: pa.Table) -> Iterator[str]:
        """Show an Arrow table to DuckDB as `temp.<name>` within the block."""
        self.connection.register(name, rows)
        try:
            yield f"temp.{quote(name)}"
        finally:
            with suppress(duckdb.Error):  # unknown after a fatal error closed the connection
                self.connection.unregister(name)

    def close(self) -> None:
        """Release the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _wait_and_connect(self) -> duckdb.DuckDBPyConnection:
        deadline = time.monotonic() + self._lock_timeout
        while True:
            try:
                return duckdb.connect(self.path, config=self._config)
            except duckdb.Error as error:
                text = str(error)
                held = "lock" in text or "different configuration" in text
                if not held or time.monotonic() >= deadline:
                    raise self._unavailable(text, held) from None
            time.sleep(_RETRY_SECONDS)

    def _unavailable(self, text: str, held: bool) -> ConfigError | SinkUnavailable:
        holder = re.search(r"held in (.+?\(PID \d+\))", text)
        if holder:
            message = f"the file is held by {holder[1]}"
        elif held:
            message = "the file is open elsewhere in this process with other settings"
        elif "Permission denied" in text:
            return ConfigError(
                "the file cannot be opened: rights are missing",
                where=self.path,
                remedy="let this user read and write the file, and create files in its folder",
            )
        else:
            return SinkUnavailable(
                f"the file cannot be opened: {text.splitlines()[0]}",
                where=self.path,
                remedy="see that its folder is there and that it is a file of DuckDB",
            )
        return SinkUnavailable(
            f"{message}; waited {self._lock_timeout:g} s",
            where=self.path,
            remedy="close it there: DuckDB lets one process write, or several only read",
        )


def conflict(where: str) -> FencedOut:
    """Return the error of a transaction that another one of this file defeated."""
    return FencedOut(
        "another connection changed this table at the same time; nothing was written",
        where=where,
        remedy="start again: it goes on from the watermark",
    )


def translate(error: duckdb.Error, where: str) -> CdcError:
    """Return the project's error for one of DuckDB's, without the values in its text."""
    if isinstance(error, _REFUSALS):
        refused = refusal(error)
        return DirtyRowError(refused.message, field=refused.field, where=where)
    if isinstance(error, duckdb.TransactionException) and "write file" not in str(error):
        return conflict(where)
    first_line = str(error).splitlines()[0]
    # A commit that cannot write its log to disk is a TransactionException too, like a conflict.
    if isinstance(
        error, (duckdb.IOException, duckdb.OutOfMemoryException, duckdb.TransactionException)
    ):
        return SinkUnavailable(
            first_line, where=where, remedy="free disk space or memory, or raise `memory_limit`"
        )
    return TerminalError(f"DuckDB refused the statement: {first_line}", where=where)


def refusal(error: duckdb.Error) -> Refusal:
    """Return why a row was refused: the constraint, never the value DuckDB quotes beside it."""
    text = str(error).splitlines()[0]
    if match := re.search(r'NOT NULL constraint failed: .*?("(?:[^"]|"")+"|[^."]+)$', text):
        column = match[1][1:-1].replace('""', '"') if match[1][0] == '"' else match[1]
        return Refusal(column, "NULL in a column the table declares NOT NULL")
    if match := re.search(r"CHECK constraint failed on table .* with expression (.*)$", text):
        return Refusal("", f"refused by the constraint {match[1]}")
    if "UNIQUE constraint" in text or "PRIMARY KEY" in text:
        return Refusal("", "a PRIMARY KEY or UNIQUE constraint already has the value")
    if "unicode" in text.lower():
        return Refusal("", "text that is not valid UTF-8")
    return Refusal("", f"DuckDB cannot hold a value ({type(error).__name__})")
