"""Folding a loaded shadow table into a live DuckDB table, for one feed, with columns kept.

In: a shadow, the live table's columns, the feed, names of columns to keep. Out: the feed's rows
replaced within the caller's transaction; before that, the loaded rows whose keys other feeds have.
"""

from __future__ import annotations

import pyarrow as pa

from resources.failpoints import failpoint
from resources.sinks.contract import Feed, TargetTable
from resources.sinks.duckdb_connection import DuckDBFile
from resources.sinks.duckdb_names import quote, quote_all
from resources.sinks.duckdb_rows import own_rows
from resources.sinks.duckdb_types import convert, from_storage, read_expression
from resources.sinks.retype import widens
from resources.sinks.shape import misfit, show_schema, target_schema
from resources.sinks.sql import delete, insert, select, where_all

_KEPT = 'temp."cdc_kept"'


class DuckDBFold:
    """One load to fold in.

    Args:
        file: The database file.
        target: The table as it was when the load was begun.
        shadow: Quoted name of the table that was loaded.
        feed: Whose rows are replaced.
        live: The live table's columns now.
        keep: Those whose values stay, by key.

    Raises:
        SchemaMismatch: The live table lacks a column of the load, or has a narrower one.
    """

    def __init__(
        self,
        file: DuckDBFile,
        target: TargetTable,
        shadow: str,
        feed: Feed,
        live: pa.Schema,
        keep: frozenset[str],
    ) -> None:
        self._file = file
        self._target = target
        self._shadow = shadow
        self._feed = feed
        self._live = live
        self._keep = keep
        self._table = file.name(target.id.namespace, target.id.table)
        self._values = self._converted(target_schema(target))

    def count_conflicts(self) -> int:
        """Return how many loaded rows have keys of other feeds."""
        if not self._is_contended:
            return 0
        query = select("count(*)", f"{self._shadow} AS new", where_all(self._foreign))
        return int(self._file.connection.execute(query, [str(self._feed)]).fetchall()[0][0])

    def conflicts(self) -> pa.Table:
        """Return those rows, the other feed in their owner column."""
        schema = target_schema(self._target)
        if not self._is_contended:
            return schema.empty_table()
        owner = self._target.owner
        columns = ", ".join(
            f"{'there' if name == owner else 'new'}.{quote(name)}" for name in schema.names
        )
        foreign = select(
            columns,
            f"{self._shadow} AS new JOIN {self._table} AS there ON {self._match('there')}",
            where_all(f"there.{quote(owner)} IS DISTINCT FROM ?"),
        )
        query = select(", ".join(read_expression(f) for f in schema), f"({foreign})")
        found = self._file.connection.sql(query, params=[str(self._feed)])
        return from_storage(found.to_arrow_table(), schema)

    def run(self) -> None:
        """Replace the feed's rows by those loaded, and drop the shadow."""
        connection = self._file.connection
        own, parameters = own_rows(self._target, self._feed)
        own = where_all(own)
        if self._keep:
            kept = quote_all([*self._target.schema.key, *sorted(self._keep)])
            connection.execute(
                f"CREATE TEMP TABLE cdc_kept AS {select(kept, self._table, own)}", parameters
            )
        connection.execute(delete(self._table, own), parameters)
        failpoint("sink.finish.after_delete")
        self._insert()
        failpoint("sink.finish.after_insert")
        if self._keep:
            connection.execute(f"DROP TABLE {_KEPT}")
        connection.execute(f"DROP TABLE {self._shadow}")

    def _insert(self) -> None:
        columns = quote_all(self._live.names)
        values = ", ".join(self._value(name) for name in self._live.names)
        kept = f"LEFT JOIN {_KEPT} AS kept ON {self._match('kept')}" if self._keep else ""
        own = f"WHERE NOT {self._foreign}" if self._is_contended else ""
        statement = insert(
            self._table, columns, select(values, f"{self._shadow} AS new", kept, own)
        )
        self._file.connection.execute(statement, [str(self._feed)] if own else [])

    @property
    def _is_contended(self) -> bool:
        return bool(self._target.owner) and self._target.mode == "merge"

    @property
    def _foreign(self) -> str:
        """The condition that another feed has a loaded row's key; its parameter is the feed."""
        other = f"there.{quote(self._target.owner)} IS DISTINCT FROM ?"
        taken = select("1", f"{self._table} AS there", where_all(other, self._match("there")))
        return f"EXISTS ({taken})"

    def _match(self, other: str) -> str:
        pairs = ((quote(k), self._values[k]) for k in self._target.schema.key)
        return " AND ".join(f"{other}.{name} = {value}" for name, value in pairs)

    def _value(self, name: str) -> str:
        if name in self._keep:
            return f"kept.{quote(name)}"
        return self._values.get(name, "NULL")

    def _converted(self, loaded: pa.Schema) -> dict[str, str]:
        """Return the SQL of each loaded column in the live table's type, which may be wider."""
        values = {}
        for field in loaded:
            value = None
            if field.name in self._live.names:
                wanted = self._live.field(field.name).type
                if widens(field.type, wanted):
                    value = convert(f"new.{quote(field.name)}", field.type, wanted)
            if value is None:
                raise misfit(self._target.id, show_schema(self._live), show_schema(loaded))
            values[field.name] = value
        return values
