"""PostgreSQL as a polled source.

In: a connection. Out: see `resources.sql.flavor.Flavor`.

Who may own an absent id, by what feeds the key:

- A sequence with CACHE 1: `nextval` runs inside the inserting transaction, but may run before it
  has a transaction id, so what is listed are virtual transactions. Each holds a lock on its own
  virtual id from begin to end, and `pg_locks` shows those to everybody. The lock is released after
  the commit has become visible: once it is gone, a new snapshot sees the rows.
- A sequence with CACHE n: ids stay in the session that took them, whatever its transactions do.
  Those sessions have to leave.
- A prepared transaction has given its virtual id up: while any is there, no gap is closed.
- A row with an explicit id does not move the sequence, so absent ids above its last value are not
  reserved yet. They stay in the ledger until the sequence has passed them.

Not provable: ids an application fetches with `nextval` in one transaction and inserts in another.
Such tables need `prove_gaps=False` and a grace period.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from psycopg import Connection

from resources.model.position import ServerIdentity
from resources.model.source import Finding
from resources.model.table import Column, TableId
from resources.sql import postgres_catalog
from resources.sql.connection import Database
from resources.sql.flavor import Page, PollTable, Where, select
from resources.sql.ledger import Survey
from resources.sql.postgres_types import PostgresType, postgres_type
from resources.sql.result_set import page

_PREPARED = "prepared"
_SEQUENCES_PER_STATEMENT = 100
_IDENTITY = sa.text("""
SELECT (SELECT system_identifier FROM pg_control_system()), current_database()""")
# Left out are other databases (a sequence belongs to one) and autovacuum (no user).
_TRANSACTIONS = sa.text("""
SELECT l.virtualtransaction FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'virtualxid' AND l.pid <> pg_backend_pid()
  AND (a.pid IS NULL OR (a.datname = current_database() AND a.usesysid IS NOT NULL))""")
_SESSIONS = sa.text("""
SELECT min(began), max(began)
FROM (SELECT CAST(EXTRACT(EPOCH FROM backend_start) * 1000000 AS bigint) AS began
      FROM pg_stat_activity
      WHERE datname = current_database() AND pid <> pg_backend_pid() AND usesysid IS NOT NULL
        AND backend_type <> 'walsender') s""")
_PREPARED_COUNT = sa.text("""
SELECT count(*), CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS bigint)
FROM pg_prepared_xacts WHERE database = current_database()""")


class PostgresFlavor:
    """PostgreSQL, by psycopg 3."""

    def __init__(self, url: sa.URL, connect_args: Mapping[str, Any], application: str) -> None:
        arguments = {
            "application_name": application,
            "connect_timeout": 10,
            # Poolers that switch servers between transactions lose prepared statements.
            "prepare_threshold": None,
            **connect_args,
        }
        self.database = Database(url.set(drivername="postgresql+psycopg"), arguments, _prepare)

    def identity(self, connection: sa.Connection) -> ServerIdentity:
        """Return the cluster's system identifier and the database's name."""
        system, database = connection.execute(_IDENTITY).one()
        return ServerIdentity("sql", f"postgresql:{system}:{database}")

    def list_tables(self, connection: sa.Connection) -> list[TableId]:
        """Return the tables of users' schemas; partitions belong to their parent."""
        return postgres_catalog.list_tables(connection)

    def describe(
        self, connection: sa.Connection, tables: Sequence[TableId], keys: Mapping[TableId, str]
    ) -> tuple[list[PollTable], list[Finding]]:
        """Return what can be polled of `tables`, and why the others cannot."""
        return postgres_catalog.describe(connection, tables, keys)

    def survey(self, connection: sa.Connection, tables: Sequence[PollTable]) -> Survey:
        """List what is open, after reading the sequences of `tables`.

        The order is that of the proof: an id at or below a sequence's value has its owner in the
        lists made afterwards, or the owner has ended. A transaction that gets prepared between
        the two lists is in the first.
        """
        reserved = _reserved(connection, tables)
        transactions = list(connection.execute(_TRANSACTIONS).scalars())
        oldest, newest = connection.execute(_SESSIONS).one()
        prepared, now = connection.execute(_PREPARED_COUNT).one()
        two_phase = [_PREPARED] if prepared else []
        sessions = [] if newest is None else [f"<={newest}"]
        by_proof = {
            "transactions": (*transactions, *two_phase),
            "sessions": (*sessions, *two_phase),
        }
        return Survey(
            now_us=now,
            open={t.id: by_proof.get(t.proof) for t in tables},
            alive=None if prepared else frozenset(transactions),
            oldest=oldest,
            reserved=reserved,
        )

    def read(
        self, connection: sa.Connection, table: PollTable, where: Where, limit: int | None
    ) -> Page:
        """Return rows in the order of the key."""
        types = [_read_as(column) for column in table.schema.columns]
        chosen = [t.expression(c) for t, c in zip(types, table.clause.c, strict=True)]
        rows = connection.execute(select(table, chosen, where, limit)).all()
        return page(table.schema, table.key, [t.convert for t in types], rows)


def _prepare(connection: Connection[Any]) -> None:
    connection.execute("SET TIME ZONE 'UTC'")
    connection.execute("SET default_transaction_read_only = on")


def _reserved(connection: sa.Connection, tables: Sequence[PollTable]) -> dict[TableId, int]:
    """Return the greatest id each table's sequence has handed out."""
    fed = [table for table in tables if table.sequence]
    reserved: dict[TableId, int] = {}
    for first in range(0, len(fed), _SEQUENCES_PER_STATEMENT):
        some = fed[first : first + _SEQUENCES_PER_STATEMENT]
        parts = [
            sa.select(
                sa.literal_column(str(number)),
                # Before its first call a sequence shows the value it will give next.
                sa.case(
                    (sa.column("is_called"), sa.column("last_value")),
                    else_=sa.column("last_value") - 1,
                ),
            ).select_from(sa.text(table.sequence))
            for number, table in enumerate(some)
        ]
        for number, value in connection.execute(sa.union_all(*parts)):
            reserved[some[number].id] = value
    return reserved


def _read_as(column: Column) -> PostgresType:
    read = postgres_type(column.source_type, enum=column.kind == "enum")
    assert isinstance(read, PostgresType)  # `describe` refused the table otherwise
    return read
