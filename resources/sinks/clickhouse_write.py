"""Rows into a ClickHouse table, as its engine keeps a key.

In: upserts and deleted keys as Arrow tables. Out: the table changed, so that doing it again changes
nothing more.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from resources.failpoints import failpoint
from resources.sinks.clickhouse_catalog import name_of
from resources.sinks.clickhouse_connection import ClickHouse
from resources.sinks.clickhouse_keys import SentKeys, sent
from resources.sinks.clickhouse_live import LiveTable
from resources.sinks.clickhouse_names import literal, quote, quote_all
from resources.sinks.clickhouse_strategy import Strategy
from resources.sinks.clickhouse_types import takes_null, to_storage
from resources.sinks.contract import Feed, TargetTable
from resources.sinks.sql import delete, insert, select, where_all


@dataclass(frozen=True)
class Write:
    """One write into a table.

    Args:
        server: Where.
        target: The table.
        live: As it is now.
        strategy: How it keeps its key.
        token: Begins the names of its inserts, so that a repeated one does nothing.
    """

    server: ClickHouse
    target: TargetTable
    live: LiveTable
    strategy: Strategy
    token: str = ""

    @property
    def name(self) -> str:
        """The table's quoted name."""
        return name_of(self.target.id)

    def replace(self, upserts: pa.Table, deletes: pa.Table, version: int) -> None:
        """Delete keys and put rows in place.

        Args:
            upserts: The target's columns.
            deletes: The key columns, and the owner's where the target has one.
            version: For tables that have one: what makes these rows the last of their keys.
        """
        if not upserts.num_rows and not deletes.num_rows:
            return
        if self.strategy.kind == "replacing":
            self._replacing(upserts, deletes, version)
        elif self.strategy.kind == "collapsing":
            self._collapsing(upserts, deletes, version)
        else:
            keys = list(self.target.schema.key)
            touched = pa.concat_tables([upserts.select(keys), deletes.select(keys)])
            self._delete(touched)
            failpoint("sink.after_delete")
            self.insert(upserts)

    def insert(self, rows: pa.Table, **constants: int) -> None:
        """Insert rows of the target's columns, and the same value of further columns in each."""
        if rows.num_rows:
            stored = to_storage(rows)
            for name, value in constants.items():
                stored = stored.append_column(name, _repeat(value, rows.num_rows))
            self.server.insert(self.name, stored, str(self.target.id), self.token)

    def _replacing(self, upserts: pa.Table, deletes: pa.Table, version: int) -> None:
        strategy = self.strategy
        versions = {strategy.version: version} if strategy.version else {}
        if not strategy.deleted:
            if deletes.num_rows:
                self._delete(deletes)
            failpoint("sink.after_delete")
            self.insert(upserts, **versions)
            return
        failpoint("sink.after_delete")
        flags = [(upserts, 0), (self._tombstones(deletes, upserts.schema), 1)]
        marked = [
            to_storage(rows)
            .append_column(strategy.version, _repeat(version, rows.num_rows))
            .append_column(strategy.deleted, _repeat(flag, rows.num_rows))
            for rows, flag in flags
        ]
        self.server.insert(self.name, pa.concat_tables(marked), str(self.target.id), self.token)

    def _collapsing(self, upserts: pa.Table, deletes: pa.Table, version: int) -> None:
        strategy, keys = self.strategy, list(self.target.schema.key)
        touched = pa.concat_tables([upserts.select(keys), deletes.select(keys)])
        with sent(self.server, self.target, self.live, strategy, touched) as there:
            if there.count():
                rows = f"{self.name} FINAL WHERE {there.touched}"
                self.server.run(self._cancelled(rows), str(self.target.id))
        failpoint("sink.after_delete")
        versions = {strategy.version: version} if strategy.version else {}
        self.insert(upserts, **versions, **{strategy.sign: 1})

    def _cancelled(self, rows: str) -> str:
        """Return the statement that cancels rows of a collapsing table by their like."""
        sign = self.strategy.sign
        names = quote_all(c.name for c in self.live.columns if c.name != sign)
        return insert(self.name, f"{names}, {quote(sign)}", select(f"{names}, -1", rows))

    def _delete(self, rows: pa.Table) -> None:
        """Delete the rows of these keys, if any is there: a delete costs more than a look."""
        with sent(self.server, self.target, self.live, self.strategy, rows) as keys:
            if keys.count():
                self.delete_where(keys)

    def delete_where(self, keys: SentKeys) -> None:
        """Delete the rows of keys that are sent."""
        if self.strategy.kind == "mutation":
            statement = f"ALTER TABLE {self.name} DELETE WHERE {keys.touched}"
        else:
            statement = delete(self.name, where_all(keys.touched))
        self.server.run(statement, str(self.target.id))

    def delete_feed(self, feed: Feed, version: int) -> int:
        """Delete the rows of a feed in a shared table, else all of them; returns their number."""
        strategy, owner = self.strategy, self.target.owner
        mine = f"{quote(owner)} = {literal(str(feed))}" if owner else "1"
        where, rows = str(self.target.id), f"{self.name}{strategy.final} WHERE {mine}"
        count = int(self.server.value(select("count()", rows), where))
        on_cluster = self.server.dialect.on_cluster
        if not owner:
            statement = f"TRUNCATE TABLE {self.name}{on_cluster}"
        elif strategy.deleted:
            names = quote_all([*self.target.schema.key, owner, strategy.version, strategy.deleted])
            keys = quote_all([*self.target.schema.key, owner])
            statement = insert(self.name, names, select(f"{keys}, {version}, 1", rows))
        elif strategy.sign:
            statement = self._cancelled(rows)
        elif strategy.kind == "mutation":
            statement = f"ALTER TABLE {self.name} DELETE WHERE {mine}"
        else:
            statement = delete(self.name, where_all(mine))
        self.server.run(statement, where)
        return count

    def newest(self) -> int:
        """Return the greatest version in the table."""
        if not self.strategy.version:
            return 0
        query = select(f"max({quote(self.strategy.version)})", self.name)
        return int(self.server.value(query, str(self.target.id)))

    def _tombstones(self, deletes: pa.Table, schema: pa.Schema) -> pa.Table:
        """Return rows that say that keys are gone: NULL, or nothing, in all other columns."""
        columns = []
        for field in schema:
            if field.name in deletes.column_names:
                columns.append(deletes[field.name])
                continue
            live = self.live.column(field.name)
            empty = pa.nulls(deletes.num_rows, field.type)
            if live is not None and not takes_null(live.type):
                empty = pa.repeat(_nothing(field.type), deletes.num_rows)
            columns.append(pa.chunked_array([empty]))
        return pa.table(columns, schema=schema)


def _nothing(type_: pa.DataType) -> pa.Scalar:
    """Return the value of a type that is false, zero or empty."""
    if pa.types.is_string(type_) or pa.types.is_large_string(type_):
        return pa.scalar("", type_)
    if pa.types.is_binary(type_) or pa.types.is_large_binary(type_):
        return pa.scalar(b"", type_)
    if pa.types.is_boolean(type_):
        return pa.scalar(False, type_)
    if pa.types.is_struct(type_):
        return pa.scalar({"srid": 0, "wkb": b""}, type_)
    return pa.scalar(0, pa.int32()).cast(type_)


def _repeat(value: int, rows: int) -> pa.ChunkedArray:
    type_ = pa.uint8() if value < 2 else pa.uint64()
    return pa.chunked_array([pa.repeat(pa.scalar(value, type_), rows)])
