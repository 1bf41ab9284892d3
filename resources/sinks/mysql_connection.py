"""Sessions and transactions on one MySQL-family server, and the sink's own tables in it.

In: an address and a budget of connections. Out: transactions that commit whole or not at all, with
PyMySQL's errors in our words; the database `_cdc` is there and the default one. A statement of DDL
ends the transaction it stands in, so none may stand in one.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pymysql

from resources.failpoints import failpoint
from resources.sinks.budget import Budget
from resources.sinks.ledger_sql import TABLES
from resources.sinks.mysql_errors import translate
from resources.sinks.mysql_names import quote
from resources.sinks.mysql_session import BUDGETS, Address, Server, Session
from resources.sinks.shape import RESERVED_NAMESPACE

LEDGER = quote(RESERVED_NAMESPACE)


@dataclass(frozen=True)
class Answer:
    """What a statement gave.

    Args:
        rows: Texts and bytes, or None for NULL.
        changed: Rows changed.
        warnings: How many the server has.
    """

    rows: tuple[tuple[Any, ...], ...]
    changed: int
    warnings: int


class MySQLDatabase:
    """One server, reached through the process's budget of connections.

    Args:
        place: Its address.
        max_connections: The most connections this process may have to that server as that user.
    """

    def __init__(self, place: Address, max_connections: int) -> None:
        self._place = place
        self._limit = max_connections
        self._budget: Budget[Session] | None = None
        self._joining = threading.Lock()

    @contextmanager
    def session(self, where: str) -> Iterator[Session]:
        """Lend a session on which every statement commits by itself.

        Args:
            where: The table concerned, for errors.

        Raises:
            CdcError: PyMySQL's errors by `translate`.
        """
        with self._joining:
            if self._budget is None:
                self._budget = BUDGETS.join(self._place, self._limit)
            budget = self._budget
        try:
            with budget.borrowed(self._place) as session:
                self._prepare(session, budget)
                yield session
        except pymysql.err.MySQLError as error:
            raise translate(error, where) from None

    @contextmanager
    def transaction(self, where: str) -> Iterator[Session]:
        """Commit what the block did, or roll all of it back. Raises likewise."""
        with self.session(where) as session, committed(session):
            yield session

    @contextmanager
    def trial(self, where: str) -> Iterator[Session]:
        """Roll back whatever the block did. Raises likewise."""
        with self.session(where) as session:
            run(session, "START TRANSACTION")
            yield session

    def close(self) -> None:
        """Leave the budget; a later call joins it again."""
        with self._joining:
            if self._budget is not None:
                BUDGETS.leave(self._place, self._budget, self._limit)
                self._budget = None

    def _prepare(self, session: Session, budget: Budget[Session]) -> None:
        """Create the sink's own tables once per process, if they are missing; be in `_cdc`."""
        if session.home == RESERVED_NAMESPACE:
            return
        if self._place.where not in budget.prepared:
            found = run(
                session,
                "SELECT COUNT(*) FROM information_schema.tables "
                "WHERE table_schema = %s AND table_name IN (%s, %s, %s, %s)",
                [RESERVED_NAMESPACE, *TABLES],
            )
            if int(found.rows[0][0]) < len(TABLES):
                _create_ledger(session)
            budget.prepared.add(self._place.where)
        run(session, f"USE {LEDGER}")
        session.home = RESERVED_NAMESPACE


@contextmanager
def committed(session: Session) -> Iterator[None]:
    """Commit what the block did on a session, or roll it back; no DDL may stand in it."""
    run(session, "START TRANSACTION")
    try:
        yield
        failpoint("sink.before_commit")
    except BaseException:
        if session.open:
            session.rollback_quietly()
        raise
    run(session, "COMMIT")


def run(session: Session, statement: str | bytes, values: Sequence[object] | None = None) -> Answer:
    """Run a statement whose names are quoted.

    Args:
        session: To run it on.
        statement: With `%s` for each of `values`; names with a percent sign need `values` None.
        values: Written into the statement by the driver as literals.
    """
    with session.cursor() as cursor:
        text: Any = statement
        cursor.execute(text, values)
        rows = tuple(cursor.fetchall())
        return Answer(rows, int(cursor.rowcount), int(cursor.warning_count))


def text_type(server: Server, length: int) -> str:
    """Return the type of a text of so many characters that compares by its bytes."""
    if server.collation:
        return f"varchar({length}) CHARACTER SET utf8mb4 COLLATE {server.collation}"
    return f"varbinary({length * 4})"


def _create_ledger(session: Session) -> None:
    name, pipeline = text_type(session.server, 64), text_type(session.server, 128)
    names = f"namespace {name}, target {name}"
    feed = f"pipeline {pipeline}, source_database {pipeline}, source_table {pipeline}"
    marks = (
        "seq bigint unsigned {0}, consistent_from bigint unsigned {0}, token bigint unsigned {0}"
    )
    run(session, f"CREATE DATABASE IF NOT EXISTS {LEDGER}")
    for table, columns in {
        "watermarks": f"{names}, {feed}, {marks.format('NOT NULL')}, updated_at datetime(6) "
        "NOT NULL, PRIMARY KEY (namespace, target, pipeline, source_database, source_table)",
        "tables": f"{names}, arrow longblob, dropping tinyint(1) NOT NULL, "
        "PRIMARY KEY (namespace, target)",
        "loads": f"{names}, load_id {pipeline}, {feed}, shadow {name} NOT NULL, "
        f"row_count bigint, swapping tinyint(1) NOT NULL, {marks.format('')}, "
        "PRIMARY KEY (namespace, target, load_id)",
        "loaded_chunks": f"{names}, load_id {pipeline}, chunk bigint, row_count bigint NOT NULL, "
        "PRIMARY KEY (namespace, target, load_id, chunk)",
    }.items():
        run(session, f"CREATE TABLE IF NOT EXISTS {LEDGER}.{table} ({columns})")
