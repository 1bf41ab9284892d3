"""Folding a load into a live ClickHouse table, for one feed, with columns kept.

In: a load's table, the live one, the feed, names of columns to keep. Out: one INSERT that marks the
feed's rows that were not loaded as deleted and adds those that were, under a version above all
others there; before that, the loaded rows whose keys other feeds have.
"""

from __future__ import annotations

import pyarrow as pa

from resources.errors import ConfigError
from resources.failpoints import failpoint
from resources.sinks.clickhouse_catalog import ClickHouseCatalog, name_of
from resources.sinks.clickhouse_connection import ClickHouse
from resources.sinks.clickhouse_ledger import Load
from resources.sinks.clickhouse_live import LiveTable
from resources.sinks.clickhouse_names import literal, quote, quote_all
from resources.sinks.clickhouse_types import from_storage
from resources.sinks.clickhouse_write import Write
from resources.sinks.contract import TargetTable
from resources.sinks.retype import widens
from resources.sinks.shape import misfit, show_schema, target_schema
from resources.sinks.sql import insert, select, where_all


class ClickHouseFold:
    """One load to fold in.

    Args:
        server: Where.
        catalog: What tables look like.
        target: The table as it was when the load was begun.
        load: The load.
        live: The live table as it is now.
        keep: Those of its columns whose values stay, by key.

    Raises:
        SchemaMismatch: The live table lacks a column of the load, or has a narrower one.
        ConfigError: Its engine cannot replace some rows and leave others.
    """

    def __init__(
        self,
        server: ClickHouse,
        catalog: ClickHouseCatalog,
        target: TargetTable,
        load: Load,
        live: LiveTable,
        keep: frozenset[str],
    ) -> None:
        self._server = server
        self._target = target
        self._load = load
        self._feed = literal(str(load.feed))
        self._live = live
        self._keep = keep
        self._shadow = name_of(load.place)
        self._table = name_of(target.id)
        self._columns = catalog.data_columns(live)
        self._schema = catalog.schema_of(live)
        self._values = self._converted(target_schema(target))
        self._strategy = catalog.strategy(target, live)
        if target.mode == "merge" and not self._strategy.deleted:
            raise ConfigError(
                "a load cannot take the place of some rows only in a table of this engine",
                where=str(target.id),
                remedy="let the sink create the table: ReplacingMergeTree(version, is_deleted)",
            )

    def count_conflicts(self) -> int:
        """Return how many loaded rows have keys of other feeds."""
        if not self._is_contended:
            return 0
        query = select("count()", f"{self._shadow} AS new FINAL", where_all(self._foreign))
        return int(self._server.value(query, str(self._target.id)))

    def conflicts(self) -> pa.Table:
        """Return those rows, the other feed in their owner column."""
        schema, owner = target_schema(self._target), self._target.owner
        if not self._is_contended:
            return schema.empty_table()
        columns = ", ".join(
            f"{'there' if n == owner else 'new'}.{quote(n)} AS {quote(n)}" for n in schema.names
        )
        loaded = select("*", self._shadow, "FINAL")
        others = select("*", self._table, "FINAL", where_all(self._others))
        joined = f"({loaded}) AS new INNER JOIN ({others}) AS there ON {self._match('there')}"
        found = self._server.select(select(columns, joined), str(self._target.id))
        return from_storage(found, schema)

    def run(self, version: int) -> int:
        """Replace the feed's rows by those loaded; returns the version they have.

        Args:
            version: The least version they may have.
        """
        write = Write(self._server, self._target, self._live, self._strategy)
        if self._target.mode == "append":
            write.delete_feed(self._load.feed, 0)
            failpoint("sink.finish.after_delete")
            names = quote_all(c.name for c in self._columns)
            values = ", ".join(self._values.get(c.name, "NULL") for c in self._columns)
            loaded = select(values, f"{self._shadow} AS new")
            self._server.run(insert(self._table, names, loaded), str(self._target.id))
            failpoint("sink.finish.after_insert")
            return 0
        version = max(version, write.newest())
        failpoint("sink.finish.after_delete")
        own = (self._strategy.version, self._strategy.deleted)
        into = quote_all([*(c.name for c in self._columns), *own])
        self._server.run(
            f"INSERT INTO {self._table} ({into}) "
            f"{self._gone(version)} UNION ALL {self._come(version)}",
            str(self._target.id),
        )
        failpoint("sink.finish.after_insert")
        return version

    def _gone(self, version: int) -> str:
        """The rows that say that the feed's keys which were not loaded are deleted."""
        known = {*self._target.schema.key, self._target.owner}
        values = [
            quote(c.name) if c.name in known else f"defaultValueOfTypeName({literal(c.type)})"
            for c in self._columns
        ]
        keys = self._target.schema.key
        loaded = select(", ".join(self._values[k] for k in keys), f"{self._shadow} AS new FINAL")
        return select(
            f"{', '.join(values)}, {version}, 1",
            f"{self._table} FINAL",
            where_all(self._mine, f"({quote_all(keys)}) NOT IN ({loaded})"),
        )

    def _come(self, version: int) -> str:
        """The loaded rows, with the kept columns of the rows they replace."""
        values = ", ".join(self._value(c.name) for c in self._columns)
        source = f"{self._shadow} AS new FINAL"
        if self._keep:
            columns = quote_all([*self._target.schema.key, *sorted(self._keep)])
            kept = select(columns, f"{self._table} FINAL", where_all(self._mine))
            source = (
                f"({select('*', self._shadow, 'FINAL')}) AS new "
                f"LEFT JOIN ({kept}) AS kept ON {self._match('kept')}"
            )
        free = f"NOT ({self._foreign})" if self._is_contended else ""
        return select(f"{values}, {version}, 0", source, where_all(free))

    def _value(self, name: str) -> str:
        if name in self._keep:
            return f"kept.{quote(name)}"
        live = self._live.column(name)
        assert live is not None
        return self._values.get(name, f"defaultValueOfTypeName({literal(live.type)})")

    @property
    def _mine(self) -> str:
        owner = self._target.owner
        return f"{quote(owner)} = {self._feed}" if owner else "1"

    @property
    def _others(self) -> str:
        return f"ifNull({quote(self._target.owner)} != {self._feed}, 1)"

    @property
    def _is_contended(self) -> bool:
        return bool(self._target.owner) and self._target.mode == "merge"

    @property
    def _foreign(self) -> str:
        """The condition that another feed has a loaded row's key."""
        keys = self._target.schema.key
        loaded = ", ".join(self._values[k] for k in keys)
        others = select(quote_all(keys), f"{self._table} FINAL", where_all(self._others))
        return f"({loaded}) IN ({others})"

    def _match(self, other: str) -> str:
        keys = self._target.schema.key
        return " AND ".join(f"{self._values[k]} = {other}.{quote(k)}" for k in keys)

    def _converted(self, loaded: pa.Schema) -> dict[str, str]:
        """Return the SQL of each loaded column in the live table's type, which may be wider."""
        values = {}
        for field in loaded:
            live = self._live.column(field.name)
            known = self._schema.get_field_index(field.name) >= 0
            if not known or live is None:
                raise misfit(self._target.id, show_schema(self._schema), show_schema(loaded))
            wanted = self._schema.field(field.name).type
            if not widens(field.type, wanted):
                raise misfit(self._target.id, show_schema(self._schema), show_schema(loaded))
            plain = f"new.{quote(field.name)}"
            values[field.name] = plain if field.type == wanted else f"CAST({plain} AS {live.type})"
        return values
