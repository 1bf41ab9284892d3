"""What differs between the kinds of SQL servers that can be polled.

In: a connection. Out: polled tables, what is open, pages of rows; see `Flavor`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import sqlalchemy as sa

from resources.model.position import ServerIdentity
from resources.model.source import Finding
from resources.model.table import TableId, TableSchema
from resources.sql.connection import Database
from resources.sql.ledger import Ids, Survey

Proof = Literal["serial", "transactions", "sessions", "grace"]
"""How it is known that an absent id stays absent: `serial`, one writer at a time, so at once;
`transactions`, those that were open have ended; `sessions`, those that were connected have left
(ids cached per session); `grace`, time has passed, which is a promise and no proof."""


def table_clause(table: TableId, columns: Iterable[str]) -> sa.TableClause:
    """Return a table for SQLAlchemy, names quoted as they are spelled.

    Its columns come out with the table before them: SQLite takes a lone quoted name that is no
    column for a text.
    """
    name, schema = (sa.quoted_name(n, quote=True) for n in (table.table, table.database))
    quoted = (sa.quoted_name(n, quote=True) for n in columns)
    return sa.table(name, *map(sa.column, quoted), schema=schema)


@dataclass(frozen=True)
class PollTable:
    """A table that can be polled.

    Args:
        schema: Its schema; `key` is what identifies a row in the target.
        key: The column whose ids only grow.
        proof: How its gaps become final.
        step: Distance between ids of one writer (`auto_increment_increment`).
        sequence: Quoted name of the sequence that feeds the key, where a row with an explicit
            id does not move it along (PostgreSQL); else empty.
    """

    schema: TableSchema
    key: str
    proof: Proof
    step: int = 1
    sequence: str = ""

    @property
    def id(self) -> TableId:
        """The table's name."""
        return self.schema.table

    @property
    def least(self) -> int:
        """The smallest id the key's type can hold."""
        return int(np.iinfo(self.schema.column(self.key).type.to_pandas_dtype()).min)

    @cached_property
    def clause(self) -> sa.TableClause:
        """The table for SQLAlchemy, names quoted as they are spelled."""
        return table_clause(self.id, self.schema.names)

    @property
    def key_clause(self) -> sa.ColumnClause[Any]:
        """The key column for SQLAlchemy."""
        return self.clause.c[self.key]


@dataclass(frozen=True)
class BadRow:
    """A row of a page that does not fit its schema.

    Args:
        index: Its place in the page.
        field: The column at fault.
        message: What is wrong, without the value.
        image: The row as a one-row Arrow IPC stream with NULL in the faulty fields.
        raw: The row as the server sent it, where the driver shows it.
    """

    index: int
    field: str
    message: str
    image: bytes = b""
    raw: bytes = b""


@dataclass(frozen=True)
class Page:
    """Rows of one table in the order of its key.

    Args:
        ids: Their ids, bad rows included, as int64 or uint64.
        rows: The good rows, in the table's Arrow schema, all nullable.
        good: The places of the good rows in `ids`.
        bad: The others.
    """

    ids: Ids
    rows: pa.RecordBatch
    good: npt.NDArray[np.int64]
    bad: tuple[BadRow, ...] = ()


class Flavor(Protocol):
    """One kind of SQL server."""

    database: Database

    def identity(self, connection: sa.Connection) -> ServerIdentity:
        """Return who the server is."""
        ...

    def list_tables(self, connection: sa.Connection) -> list[TableId]:
        """Return every base table of every schema of users."""
        ...

    def describe(
        self, connection: sa.Connection, tables: Sequence[TableId], keys: Mapping[TableId, str]
    ) -> tuple[list[PollTable], list[Finding]]:
        """Return what can be polled of `tables`, and why the others cannot.

        Args:
            connection: The source.
            tables: Tables; those that are gone are left out.
            keys: The id column of tables (or views) that declare none.
        """
        ...

    def survey(self, connection: sa.Connection, tables: Sequence[PollTable]) -> Survey:
        """List what is open now, after reading the counters of `tables`."""
        ...

    def read(
        self, connection: sa.Connection, table: PollTable, where: Where, limit: int | None
    ) -> Page:
        """Return rows in the order of the key.

        Args:
            connection: The source.
            table: The table.
            where: Condition on the key.
            limit: Most rows; None for all that match.
        """
        ...


Where = Callable[[sa.ColumnClause[Any]], sa.ColumnElement[bool]]
"""A condition on ids, given the key column."""


def select(
    table: PollTable, columns: Sequence[sa.ColumnElement[Any]], where: Where, limit: int | None
) -> sa.Select[Any]:
    """Return the statement that reads rows of a table in the order of its key."""
    key = table.key_clause
    chosen = sa.select(*columns).select_from(table.clause).where(where(key)).order_by(key)
    return chosen if limit is None else chosen.limit(limit)
