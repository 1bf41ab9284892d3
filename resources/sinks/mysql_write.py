"""Rows into MySQL-family tables: put by LOAD DATA or VALUES, deleted by key, refused ones named.

In: Arrow tables and a session within a transaction. Out: the target's rows.

LOAD DATA LOCAL goes on after a row it cannot take and says so in warnings only, so any warning is
the end of the transaction.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from resources.errors import DirtyRowError
from resources.sinks import shape
from resources.sinks.bisect import Refusal, bisect_rejected
from resources.sinks.contract import RejectedWrite, TargetId, TargetTable
from resources.sinks.mysql_catalog import MySQLCatalog
from resources.sinks.mysql_connection import MySQLDatabase, run
from resources.sinks.mysql_encode import (
    LOAD_FORMAT,
    find_unwritable,
    load_buffers,
    require_keys,
    value_lists,
)
from resources.sinks.mysql_errors import refusal
from resources.sinks.mysql_names import literal, quote, quote_all
from resources.sinks.mysql_session import Session
from resources.sinks.mysql_types import read_expression, read_values
from resources.sinks.shape import keys_of
from resources.sinks.sql import delete, select, where_all

TRIED_PREFIX = "_cdc_tried_"
KEYS_AT_ONCE = 1000
_HARMLESS = frozenset({"1287", "1592", "1681", "3719", "4095"})
"""Warnings that say something is deprecated or unsafe to replicate by statement."""
_CONVERTED = {
    "bit(64)": "CAST({0} AS UNSIGNED)",
    "json": "CONVERT({0} USING utf8mb4)",
}


class MySQLRows:
    """Writes into and reads from tables of one server.

    Args:
        catalog: What tables look like.
    """

    def __init__(self, catalog: MySQLCatalog) -> None:
        self._catalog = catalog

    def insert(
        self,
        session: Session,
        target: TargetTable,
        place: TargetId,
        rows: pa.Table,
        *,
        replace: bool = False,
    ) -> None:
        """Put rows into a table that fits them.

        Args:
            session: Within a transaction.
            target: For errors and the key.
            place: The table: the target's own or a load's shadow.
            rows: Columns of the target.
            replace: Let them take the place of rows with the same primary key.

        Raises:
            DirtyRowError: The server would not take a row as it is.
        """
        if not rows.num_rows:
            return
        where, name = str(target.id), self._catalog.name(session.server, place)
        require_keys(rows, keys_of(target), where)
        if not session.server.bulk:
            verb = "REPLACE" if replace else "INSERT"
            head = f"{verb} INTO {name} ({quote_all(rows.column_names)}) VALUES ".encode()
            for values in value_lists(rows, where, session.server):
                _refuse_warnings(session, where, run(session, head + values).warnings)
            return
        live = self._catalog.columns(session, place) or ()
        columns, assigned = _load_columns(rows.column_names, {c.name: c.type for c in live})
        verb = " REPLACE" if replace else ""
        statement = f"LOAD DATA LOCAL INFILE 'rows'{verb} INTO TABLE {name} {LOAD_FORMAT} "
        buffers = load_buffers(rows, where, session.server)
        _, warnings = session.load(f"{statement}({columns}){assigned}", buffers)
        _refuse_warnings(session, where, warnings)

    def merge(
        self,
        session: Session,
        target: TargetTable,
        upserts: pa.Table,
        deletes: pa.Table,
        own: str,
    ) -> bool:
        """Delete keys, and make room for rows to come; returns whether they may replace others.

        LOAD DATA REPLACE is two to three times as fast as deleting first, but takes rows away
        that have the same value under any unique key, and rows of other feeds: so it is used
        where the primary key is the only one and the table has one feed.

        Args:
            session: Within a transaction.
            target: A `merge` target.
            upserts: Rows to come.
            deletes: The keys to delete.
            own: What the owner column of a shared table holds for the writing feed.

        Raises:
            DirtyRowError: A key of `upserts` belongs to another feed.
        """
        where = str(target.id)
        require_keys(upserts, target.schema.key, where)
        keys = upserts.select(list(target.schema.key))
        if target.owner:
            self._refuse_foreign(session, target, keys, own)
        self._delete_keys(session, target, deletes, of_feed(target, own))
        indexes = self._catalog.indexes(session, target.id)
        alone = not target.owner and not indexes.unique
        if alone and indexes.key == frozenset(target.schema.key):
            return True
        self._delete_keys(session, target, keys, of_feed(target, own))
        return False

    def delete_all(self, session: Session, target: TargetTable, own: str) -> int:
        """Delete every row, of a shared target the feed's; returns how many."""
        name = self._catalog.name(session.server, target.id)
        return run(session, delete(name, where_all(of_feed(target, own)))).changed

    def select(
        self, session: Session, source: str, schema: pa.Schema, prefixes: Mapping[str, str]
    ) -> pa.Table:
        """Return rows in exact Arrow types.

        Args:
            session: A session.
            source: What follows FROM.
            schema: Columns to read.
            prefixes: The alias, with its dot, that a column is read from, where there are some.
        """
        columns = ", ".join(
            read_expression(f.name, f.type, prefixes.get(f.name, "")) for f in schema
        )
        rows = run(session, select(columns, source)).rows
        parts = list(zip(*rows, strict=True)) if rows else [()] * len(schema)
        arrays = [read_values(list(p), f.type) for p, f in zip(parts, schema, strict=True)]
        return pa.table(arrays, schema=schema)

    def find_rejected(
        self, database: MySQLDatabase, target: TargetTable, rows: pa.Table
    ) -> list[RejectedWrite]:
        """Name the rows the target refuses; see `Sink.find_rejected`."""
        with database.session(str(target.id)) as session:
            found = find_unwritable(rows, keys_of(target), session.server)
            place = target.id
            if not self._catalog.fits(session, target):
                place = TargetId(shape.RESERVED_NAMESPACE, TRIED_PREFIX + uuid.uuid4().hex[:16])
                self._catalog.create(session, target, place)
        bad = [r.index for r in found]
        left = np.setdiff1d(np.arange(rows.num_rows), bad, assume_unique=True)
        some = rows.take(pa.array(left))
        try:
            refused = bisect_rejected(
                some.num_rows,
                lambda indices: self._try(database, target, place, some.take(pa.array(indices))),
            )
        finally:
            if place != target.id:
                with database.session(str(target.id)) as session:
                    run(session, f"DROP TABLE {self._catalog.name(session.server, place)}")
        found += [RejectedWrite(int(left[r.index]), r.field, r.message) for r in refused]
        return sorted(found, key=lambda r: r.index)

    def _try(
        self, database: MySQLDatabase, target: TargetTable, place: TargetId, rows: pa.Table
    ) -> Refusal | None:
        if not rows.num_rows:
            return None
        try:
            with database.trial(str(target.id)) as session:
                replace = False
                if place == target.id and target.mode == "merge":
                    replace = self._make_room(session, target, rows)
                self.insert(session, target, place, rows, replace=replace)
        except DirtyRowError as error:
            return Refusal(error.field, error.message)
        return None

    def _make_room(self, session: Session, target: TargetTable, rows: pa.Table) -> bool:
        """Make room for rows of whatever feeds their owner column names."""
        none = rows.select(list(target.schema.key)).slice(0, 0)
        if not target.owner:
            return self.merge(session, target, rows, none, "")
        for owner in rows[target.owner].unique().to_pylist():
            own = rows.filter(pc.equal(rows[target.owner], owner))
            self.merge(session, target, own, none, str(owner))
        return False

    def _refuse_foreign(
        self, session: Session, target: TargetTable, keys: pa.Table, own: str
    ) -> None:
        """Refuse keys that another feed has in the live table."""
        owner = quote(target.owner)
        name = self._catalog.name(session.server, target.id)
        query = select(owner, name, where_all(f"NOT ({owner} <=> {literal(own)})"), "AND ")
        for values in self._key_lists(session, target, keys):
            statement = query.encode() + values + b" LIMIT 1 FOR UPDATE"
            for (other,) in run(session, statement).rows:
                said = other.decode() if isinstance(other, bytes) else other
                raise DirtyRowError(shape.belongs_elsewhere(said, own), where=str(target.id))

    def _delete_keys(
        self, session: Session, target: TargetTable, keys: pa.Table, condition: str
    ) -> None:
        """Delete rows by key, some hundred at a time; a NULL in a key is no row's."""
        more = f"{condition} AND " if condition else ""
        name = self._catalog.name(session.server, target.id)
        statement = delete(name, f"WHERE {more}").encode()
        for values in self._key_lists(session, target, keys):
            run(session, statement + values)

    def _key_lists(self, session: Session, target: TargetTable, keys: pa.Table) -> Iterator[bytes]:
        """Yield conditions that a row's key is one of some hundred."""
        names = quote_all(target.schema.key)
        head = f"({names}) IN (" if len(target.schema.key) > 1 else f"{names} IN ("
        where = str(target.id)
        for values in value_lists(keys, where, session.server, typed=True, limit=KEYS_AT_ONCE):
            yield head.encode() + values + b")"


def of_feed(target: TargetTable, own: str) -> str:
    """Return the condition that a row is a feed's, empty where the table has one feed."""
    return f"{quote(target.owner)} = {literal(own)}" if target.owner else ""


def _load_columns(names: Sequence[str], types: Mapping[str, str]) -> tuple[str, str]:
    """Return the columns of LOAD DATA, and what it computes of those it cannot take as they are."""
    columns, assigned = [], []
    for number, name in enumerate(names):
        convert = _CONVERTED.get(types.get(name, ""))
        columns.append(f"@v{number}" if convert else quote(name))
        if convert:
            assigned.append(f"{quote(name)} = {convert.format(f'@v{number}')}")
    return ", ".join(columns), f" SET {', '.join(assigned)}" if assigned else ""


def _refuse_warnings(session: Session, where: str, count: int) -> None:
    """End the transaction if the last statement left a warning that a row was changed."""
    shown = run(session, "SHOW WARNINGS").rows if count else ()
    for _, code, text in shown:
        if code not in _HARMLESS:
            found = refusal(int(code), str(text))
            raise DirtyRowError(found.message, field=found.field, where=where)
    if len(shown) < count:
        raise DirtyRowError(
            "a value the server would change; it shows too few warnings", where=where
        )
