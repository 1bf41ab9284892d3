"""Rows into PostgreSQL tables: keys deleted, rows copied, refused ones named.

In: Arrow tables and a connection within a transaction. Out: the target's rows. Keys go through a
temporary table; rows are copied straight into the target, so that each is written once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from psycopg.rows import TupleRow

from resources.errors import DirtyRowError
from resources.sinks import shape
from resources.sinks.bisect import Refusal, Rows, bisect_rejected
from resources.sinks.contract import Feed, RejectedWrite, TargetId, TargetTable
from resources.sinks.postgres_catalog import PostgresCatalog
from resources.sinks.postgres_connection import PostgresDatabase, copy_into, run
from resources.sinks.postgres_copy import encode, find_unwritable
from resources.sinks.postgres_keys import check_repeats, long_keys
from resources.sinks.postgres_names import literal, quote, quote_all
from resources.sinks.postgres_pool import Connection
from resources.sinks.postgres_types import read_expression, read_values
from resources.sinks.shape import keys_of
from resources.sinks.sql import delete, select, where_all

_KEYS = "pg_temp.cdc_keys"
_TRIED = "pg_temp.cdc_tried"
_LONG = "pg_temp.cdc_long_keys"
_NUMBER = "_cdc_row"
_STAND_IN = TargetId(shape.RESERVED_NAMESPACE, f"{shape.SHADOW_PREFIX}tried")
"""Takes the rows of a trial where the target is not there, or not yet of the rows' shape."""


class PostgresRows:
    """Writes into and reads from tables of one database.

    Args:
        catalog: What tables look like.
    """

    def __init__(self, catalog: PostgresCatalog) -> None:
        self._catalog = catalog

    def insert(
        self, connection: Connection, target: TargetTable, place: TargetId, rows: pa.Table
    ) -> None:
        """Copy rows into a table that fits them.

        Args:
            connection: Within a transaction.
            target: For errors, and for the types of its columns.
            place: The table: the target's own or a load's shadow.
            rows: Columns of the target.
        """
        if rows.num_rows:
            buffers = encode(rows, str(target.id), self._jsonb(target))
            copy_into(connection, self._catalog.name(place), quote_all(rows.column_names), buffers)

    def load(
        self, connection: Connection, target: TargetTable, place: TargetId, rows: pa.Table
    ) -> None:
        """Copy a part of a load into its table, which may not have its primary key yet.

        Args:
            connection: Within a transaction.
            target: The table loaded.
            place: The load's table.
            rows: Columns of the target.

        Raises:
            DirtyRowError: The key will refuse a row.
        """
        check_repeats(target, rows)
        keys = keys_of(target)
        long = long_keys(rows, keys) if keys else rows.slice(0, 0)
        if long.num_rows:
            create = self._catalog.dialect.create_keys(_LONG, self._catalog.name(place), keys)
            run(connection, create)
            run(connection, f"ALTER TABLE {_LONG} ADD PRIMARY KEY ({quote_all(keys)})")
            self._copy(connection, target, _LONG, long)
            run(connection, f"DROP TABLE {_LONG}")
        self.insert(connection, target, place, rows)

    def replace(
        self, connection: Connection, target: TargetTable, upserts: pa.Table, deletes: pa.Table
    ) -> None:
        """Delete the keys of both; of a shared target, only the rows of the feeds named in them.

        Args:
            connection: Within a transaction.
            target: A `merge` target.
            upserts: Rows to come, of which the keys (and owners) are used.
            deletes: The keys to delete (and owners).

        Raises:
            DirtyRowError: A key of `upserts` belongs to another feed.
        """
        names = _key_and_owner(target)
        create = self._catalog.dialect.create_keys(
            _KEYS, self._catalog.name(target.id), target.schema.key, _owner_column(target)
        )
        run(connection, create)
        self._copy(connection, target, _KEYS, upserts.select(names))
        if target.owner:
            for other, own, _ in self._foreign(connection, target, _KEYS, limit=1):
                raise DirtyRowError(shape.belongs_elsewhere(other, own), where=str(target.id))
        self._copy(connection, target, _KEYS, deletes.select(names))
        run(
            connection,
            delete(
                f"{self._catalog.name(target.id)} AS live",
                f"USING {_KEYS} AS gone",
                where_all(match(names, "live", "gone")),
            ),
        )

    def delete_all(self, connection: Connection, target: TargetTable, feed: Feed) -> int:
        """Delete every row, of a shared target the feed's; returns how many."""
        statement = delete(self._catalog.name(target.id), where_all(of_feed(target, feed)))
        return run(connection, statement).rowcount

    def select(self, connection: Connection, source: str, schema: pa.Schema) -> pa.Table:
        """Return rows in exact Arrow types.

        Args:
            connection: Within a transaction.
            source: What follows FROM.
            schema: Columns to read.
        """
        columns = ", ".join(read_expression(f.name, f.type) for f in schema)
        with connection.cursor(binary=True) as cursor:
            rows = cursor.execute(select(columns, source).encode()).fetchall()
        parts = list(zip(*rows, strict=True)) if rows else [()] * len(schema)
        arrays = [read_values(list(p), f.type) for p, f in zip(parts, schema, strict=True)]
        return pa.table(arrays, schema=schema)

    def find_rejected(
        self, database: PostgresDatabase, target: TargetTable, rows: pa.Table
    ) -> list[RejectedWrite]:
        """Name the rows the target refuses; see `Sink.find_rejected`."""
        found = find_unwritable(rows)
        left = _without(np.arange(rows.num_rows), found)
        if target.owner and target.mode == "merge":
            some = rows.take(pa.array(left))
            with database.trial(str(target.id)) as connection:
                found += [_at(left, r) for r in self._taken_keys(connection, target, some)]
            left = _without(left, found)
        some = rows.take(pa.array(left))

        def trial(indices: Rows) -> Refusal | None:
            return self._try(database, target, some.take(pa.array(indices)))

        found += [_at(left, r) for r in bisect_rejected(some.num_rows, trial)]
        return sorted(found, key=lambda r: r.index)

    def _try(
        self, database: PostgresDatabase, target: TargetTable, rows: pa.Table
    ) -> Refusal | None:
        try:
            with database.trial(str(target.id)) as connection:
                place = target.id
                if not self._catalog.fits(connection, target):
                    place = _STAND_IN
                    self._catalog.create(connection, target, place)
                elif target.mode == "merge":
                    self.replace(connection, target, rows, rows.slice(0, 0))
                self.insert(connection, target, place, rows)
                run(connection, "SET CONSTRAINTS ALL IMMEDIATE")
        except DirtyRowError as error:
            return Refusal(error.field, error.message)
        return None

    def _taken_keys(
        self, connection: Connection, target: TargetTable, rows: pa.Table
    ) -> list[RejectedWrite]:
        """Return the rows whose keys other feeds have."""
        if not self._catalog.fits(connection, target):
            return []
        numbered = rows.select(_key_and_owner(target))
        numbered = numbered.append_column(_NUMBER, pa.array(range(rows.num_rows), pa.int64()))
        create = self._catalog.dialect.create_keys(
            _TRIED,
            self._catalog.name(target.id),
            target.schema.key,
            f"{_owner_column(target)}, CAST(0 AS bigint) AS {quote(_NUMBER)}",
        )
        run(connection, create)
        self._copy(connection, target, _TRIED, numbered)
        return [
            RejectedWrite(number, "", shape.belongs_elsewhere(other, own))
            for other, own, number in self._foreign(connection, target, _TRIED, quote(_NUMBER))
        ]

    def _foreign(
        self,
        connection: Connection,
        target: TargetTable,
        keys: str,
        number: str = "0",
        limit: int | None = None,
    ) -> list[TupleRow]:
        """Return owner there, owner in `keys`, and number of the keys that another feed has."""
        owner = quote(target.owner)
        query = select(
            f"live.{owner}, gone.{owner}, {number}",
            f"{self._catalog.name(target.id)} AS live",
            f"JOIN {keys} AS gone ON {match(target.schema.key, 'live', 'gone')}",
            where_all(f"live.{owner} IS DISTINCT FROM gone.{owner}"),
            f"LIMIT {limit}" if limit else "",
        )
        return run(connection, query).fetchall()

    def _copy(
        self, connection: Connection, target: TargetTable, table: str, rows: pa.Table
    ) -> None:
        if rows.num_rows:
            names = quote_all(rows.column_names)
            copy_into(connection, table, names, encode(rows, str(target.id)))

    def _jsonb(self, target: TargetTable) -> frozenset[str]:
        return frozenset(w.name for w in self._catalog.wanted(target) if w.type == "jsonb")


def match(keys: Sequence[str], left: str, right: str) -> str:
    """Return the condition that rows of two tables have one key."""
    return " AND ".join(f"{left}.{quote(k)} = {right}.{quote(k)}" for k in keys)


def of_feed(target: TargetTable, feed: Feed) -> str:
    """Return the condition that a row is the feed's, empty where the table has one feed."""
    return f"{quote(target.owner)} = {literal(str(feed))}" if target.owner else ""


def _key_and_owner(target: TargetTable) -> list[str]:
    return [*target.schema.key, *([target.owner] if target.owner else [])]


def _owner_column(target: TargetTable) -> str:
    return quote(target.owner) if target.owner else ""


def _without(left: Rows, found: Sequence[RejectedWrite]) -> Rows:
    return np.setdiff1d(left, [r.index for r in found], assume_unique=True)


def _at(left: Rows, rejected: RejectedWrite) -> RejectedWrite:
    return RejectedWrite(int(left[rejected.index]), rejected.field, rejected.message)
