"""Transactions on one PostgreSQL database, and the sink's own tables in it.

In: an address and a budget of connections. Out: transactions that commit whole or not at all,
with psycopg's errors in our words; the schema `_cdc` is there when one begins.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import psycopg
from psycopg.rows import TupleRow

from resources.errors import TerminalError
from resources.failpoints import failpoint
from resources.sinks.budget import Budget
from resources.sinks.ledger_sql import TABLES
from resources.sinks.postgres_copy import HEADER, TRAILER
from resources.sinks.postgres_errors import translate
from resources.sinks.postgres_names import quote
from resources.sinks.postgres_pool import BUDGETS, Address, Connection
from resources.sinks.shape import RESERVED_NAMESPACE

_NAMES = 'namespace text COLLATE "C", target text COLLATE "C"'
_FEED = 'pipeline text COLLATE "C", source_database text COLLATE "C", source_table text COLLATE "C"'
_LEDGER = (
    f"""CREATE TABLE IF NOT EXISTS {{ledger}}.watermarks(
        {_NAMES}, {_FEED}, seq numeric(20,0) NOT NULL, consistent_from numeric(20,0) NOT NULL,
        token numeric(20,0) NOT NULL, updated_at timestamp with time zone NOT NULL,
        PRIMARY KEY (namespace, target, pipeline, source_database, source_table))""",
    f"""CREATE TABLE IF NOT EXISTS {{ledger}}.tables(
        {_NAMES}, arrow bytea NOT NULL, PRIMARY KEY (namespace, target))""",
    f"""CREATE TABLE IF NOT EXISTS {{ledger}}.loads(
        {_NAMES}, load_id text COLLATE "C", {_FEED}, shadow text NOT NULL,
        rows bigint, PRIMARY KEY (namespace, target, load_id))""",
    f"""CREATE TABLE IF NOT EXISTS {{ledger}}.loaded_chunks(
        {_NAMES}, load_id text COLLATE "C", chunk bigint, rows bigint NOT NULL,
        PRIMARY KEY (namespace, target, load_id, chunk))""",
)
_LEDGER_LOCK = 0x6364635F
"""Advisory lock of those who create the ledger: `IF NOT EXISTS` alone fails in a race."""


class PostgresDatabase:
    """One database, reached through the process's budget of connections.

    Args:
        place: Its address.
        max_connections: The most connections this process may have to that server as that user.
    """

    def __init__(self, place: Address, max_connections: int) -> None:
        self._place = place
        self._limit = max_connections
        self._budget: Budget[Connection] | None = None
        self._joining = threading.Lock()

    @contextmanager
    def transaction(self, where: str) -> Iterator[Connection]:
        """Commit what the block did, or roll all of it back.

        Args:
            where: The table concerned, for errors.

        Raises:
            CdcError: PostgreSQL's errors by `translate`.
        """
        with self._begun(where) as connection:
            yield connection
            failpoint("sink.before_commit")
            _commit(connection)

    @contextmanager
    def reading(self, where: str) -> Iterator[Connection]:
        """Let the block see one state of the database; nothing is committed. Raises likewise."""
        with self._begun(where) as connection:
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            yield connection

    @contextmanager
    def trial(self, where: str) -> Iterator[Connection]:
        """Roll back whatever the block did. Raises likewise."""
        with self._begun(where) as connection:
            yield connection

    def close(self) -> None:
        """Leave the budget; a later call joins it again."""
        with self._joining:
            if self._budget is not None:
                BUDGETS.leave(self._place, self._budget, self._limit)
                self._budget = None

    @contextmanager
    def _begun(self, where: str) -> Iterator[Connection]:
        with self._joining:
            if self._budget is None:
                self._budget = BUDGETS.join(self._place, self._limit)
            budget = self._budget
        try:
            with budget.borrowed(self._place) as connection:
                self._prepare_ledger(connection, budget)
                yield connection
        except psycopg.Error as error:
            raise translate(error, where) from None

    def _prepare_ledger(self, connection: Connection, budget: Budget[Connection]) -> None:
        """Create the sink's own tables once per process and database, if they are missing."""
        if self._place.where in budget.prepared:
            return
        found = connection.execute(
            "SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE n.nspname = %s AND c.relname = ANY (%s)",
            [RESERVED_NAMESPACE, list(TABLES)],
        ).fetchall()
        if len(found) < len(TABLES):
            run(connection, f"SELECT pg_advisory_xact_lock({_LEDGER_LOCK})")
            run(connection, f"CREATE SCHEMA IF NOT EXISTS {quote(RESERVED_NAMESPACE)}")
            for statement in _LEDGER:
                run(connection, statement.format(ledger=quote(RESERVED_NAMESPACE)))
        _commit(connection)
        connection.execute("BEGIN")
        budget.prepared.add(self._place.where)


def run(
    connection: Connection, statement: str, values: Sequence[object] | None = None
) -> psycopg.Cursor[TupleRow]:
    """Run a statement whose names are quoted.

    Args:
        connection: Within a transaction.
        statement: With `%s` for each of `values`; names with a percent sign need `values` None.
        values: Sent apart from the statement.
    """
    return connection.execute(statement.encode(), values)


def _commit(connection: Connection) -> None:
    """Commit; a transaction that an error has broken would be rolled back without a word."""
    if connection.execute("COMMIT").statusmessage != "COMMIT":
        raise TerminalError("PostgreSQL rolled the transaction back at its commit")


def copy_into(
    connection: Connection, table: str, columns: str, buffers: Iterable[npt.NDArray[np.uint8]]
) -> None:
    """Copy encoded rows into a table.

    Args:
        connection: Within a transaction.
        table: Its quoted name.
        columns: Quoted names in the order of the encoded cells.
        buffers: What `encode` yields.
    """
    statement = f"COPY {table} ({columns}) FROM STDIN (FORMAT BINARY)"
    with connection.cursor() as cursor, cursor.copy(statement.encode()) as copy:
        copy.write(HEADER)
        for buffer in buffers:
            copy.write(buffer.data)
        copy.write(TRAILER)
