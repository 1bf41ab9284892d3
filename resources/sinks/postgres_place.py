"""Putting a finished load in the live table's place: by renaming, or row by row.

In: a load's table and a connection within a transaction. Out: the live table with the load's rows.

A renamed table is another table: views, foreign keys, grants, triggers and indexes of the one
before stay with it. So where anything hangs on the live table, and in tables of several feeds or
with columns to keep, the rows are exchanged and the table stays.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from resources.failpoints import failpoint
from resources.sinks import postgres_ledger as ledger
from resources.sinks import shape
from resources.sinks.contract import TargetTable
from resources.sinks.postgres_catalog import Columns, PostgresCatalog
from resources.sinks.postgres_connection import run
from resources.sinks.postgres_ddl import C_COLLATION
from resources.sinks.postgres_ledger import Load
from resources.sinks.postgres_names import literal, quote, quote_all
from resources.sinks.postgres_pool import Connection
from resources.sinks.postgres_write import PostgresRows, of_feed
from resources.sinks.shape import keys_of
from resources.sinks.sql import insert, select, where_all

_KEPT = "pg_temp.cdc_kept"
_HANGS_ON = """
SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s AND (
    c.relkind <> 'r' OR c.relacl IS NOT NULL OR c.relhassubclass OR c.reloptions IS NOT NULL
    OR NOT pg_has_role(c.relowner, 'USAGE')
    OR EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attacl IS NOT NULL)
    OR EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid = c.oid AND NOT i.indisprimary)
    OR EXISTS (SELECT 1 FROM pg_inherits h WHERE h.inhrelid = c.oid)
    OR EXISTS (SELECT 1 FROM pg_constraint k WHERE k.confrelid = c.oid
               OR (k.conrelid = c.oid AND k.contype NOT IN ('p', 'n')))
    OR EXISTS (SELECT 1 FROM pg_depend d WHERE d.refclassid = CAST('pg_class' AS regclass)
               AND d.refobjid = c.oid AND d.classid NOT IN (CAST('pg_class' AS regclass),
               CAST('pg_constraint' AS regclass), CAST('pg_type' AS regclass))))"""


class PostgresPlacer:
    """Exchanges live tables' rows for those of loads.

    Args:
        catalog: What tables look like.
        rows: Reads and deletes rows.
    """

    def __init__(self, catalog: PostgresCatalog, rows: PostgresRows) -> None:
        self._catalog = catalog
        self._rows = rows

    def place(
        self,
        connection: Connection,
        target: TargetTable,
        load: Load,
        keep: Sequence[str],
        conflicts: int,
    ) -> int:
        """Put a load's rows into the live table; its own table is gone then.

        Args:
            connection: Within a transaction.
            target: The table as it was when the load was begun.
            load: The load.
            keep: Columns whose live values are kept, by key.
            conflicts: How many keys of other feeds are known.

        Returns:
            The rows left out since their keys belong to other feeds.

        Raises:
            DirtyRowError: The number of conflicts is another one by now.
            SchemaMismatch: The live table has not all columns.
        """
        self._catalog.require_fit(connection, target, load.place)
        there = self._catalog.columns(connection, target.id) is not None
        whole = not target.owner and not keep
        if whole and not (there and self._stays(connection, target)):
            self._rename(connection, target, load)
            left_out = 0
        else:
            left_out = self._exchange(connection, target, load, keep, conflicts, whole)
        return left_out

    def _stays(self, connection: Connection, target: TargetTable) -> bool:
        """Return whether a live table stays, so that its rows alone are exchanged.

        Raises:
            SchemaMismatch: It shall stay as it was made, and has other columns.
        """
        if target.existing == "kept":
            self._catalog.require_fit(connection, target, target.id)
            return True
        names = [target.id.namespace, target.id.table]
        return target.existing != "anew" and bool(run(connection, _HANGS_ON, names).fetchone())

    def read_conflicts(self, connection: Connection, target: TargetTable, load: Load) -> pa.Table:
        """Return the loaded rows whose keys other feeds have, with the other feed as owner."""
        schema = shape.target_schema(target)
        live = self._catalog.columns(connection, target.id)
        if not target.owner or not keys_of(target) or not live:
            return schema.empty_table()
        others = [f"live.{quote(target.owner)} AS {quote(target.owner)}"]
        others += [f"load.{quote(n)} AS {quote(n)}" for n in schema.names if n != target.owner]
        source = self._conflicts(target, load, live)
        query = f"({select(', '.join(others), source)}) AS found"
        return self._rows.select(connection, query, schema)

    def _rename(self, connection: Connection, target: TargetTable, load: Load) -> None:
        """Drop the live table and give the load's table its name."""
        ledger.lock_name(connection, target.id)
        self._catalog.create_namespace(connection, target.id.namespace)
        run(connection, f"DROP TABLE IF EXISTS {self._catalog.name(target.id)}")
        failpoint("sink.finish.after_drop")
        moved = f"{quote(target.id.namespace)}.{quote(load.shadow)}"
        run(
            connection,
            f"ALTER TABLE {self._catalog.name(load.place)} SET SCHEMA {quote(target.id.namespace)}",
        )
        run(connection, f"ALTER TABLE {moved} RENAME TO {quote(target.id.table)}")
        ledger.write_arrow(connection, target.id, shape.target_schema(target))
        failpoint("sink.finish.after_swap")

    def _exchange(
        self,
        connection: Connection,
        target: TargetTable,
        load: Load,
        keep: Sequence[str],
        conflicts: int,
        whole: bool,
    ) -> int:
        """Delete the feed's rows and insert the load's; returns the rows left out."""
        if self._catalog.columns(connection, target.id) is None:
            shape.check_keep(target, None, keep)
            self._catalog.create(connection, target, target.id)
        live = self._catalog.lock(connection, target.id, "SHARE ROW EXCLUSIVE")
        if not whole:
            self._require_columns(connection, target, live, keep)
        found = self._count_conflicts(connection, target, load, live)
        if found != conflicts:
            raise shape.conflicts_changed(target.id, load.id, conflicts, found)
        kept = self._keep(connection, target, load, keep)
        self._rows.delete_all(connection, target, load.feed)
        failpoint("sink.finish.after_delete")
        if whole:
            self._reshape(connection, target, live)
            ledger.write_arrow(connection, target.id, shape.target_schema(target))
            live = self._catalog.columns(connection, target.id) or ()
        self._insert(connection, target, load, keep, kept, live)
        failpoint("sink.finish.after_insert")
        run(connection, f"DROP TABLE {self._catalog.name(load.place)}")
        failpoint("sink.finish.after_swap")
        return found

    def _require_columns(
        self, connection: Connection, target: TargetTable, live: Columns, keep: Sequence[str]
    ) -> None:
        schema = self._catalog.read_schema(connection, target.id)
        missing = {w.name for w in self._catalog.wanted(target)} - {c.name for c in live}
        if missing and schema is not None:
            wanted = shape.show_schema(shape.target_schema(target))
            raise shape.misfit(target.id, shape.show_schema(schema), wanted)
        shape.check_keep(target, schema, keep)

    def _same_key(self, target: TargetTable, live: Columns, there: Sequence[str] = ()) -> str:
        """Return the condition that a loaded row's key is a live one's, in the live types.

        Args:
            target: The table.
            live: Its columns as they are.
            there: The key columns it is compared with; the live table's own if left out.
        """
        there = there or [f"live.{quote(k)}" for k in target.schema.key]
        types = {c.name: c.type for c in live}
        loaded = {w.name: w.type for w in self._catalog.wanted(target)}
        parts = []
        for key, other in zip(target.schema.key, there, strict=True):
            value = f"load.{quote(key)}"
            if types[key] != loaded[key]:
                value = f"CAST({value} AS {types[key]})"
                value += C_COLLATION if types[key] == "text" else ""
            parts.append(f"{other} = {value}")
        return " AND ".join(parts)

    def _conflicts(self, target: TargetTable, load: Load, live: Columns) -> str:
        """Return what follows FROM: loaded rows `load` and live ones `live` of other feeds."""
        owner = f"live.{quote(target.owner)}"
        return (
            f"{self._catalog.name(load.place)} AS load "
            f"JOIN {self._catalog.name(target.id)} AS live ON {self._same_key(target, live)} "
            f"WHERE {owner} IS DISTINCT FROM {literal(str(load.feed))}"
        )

    def _count_conflicts(
        self, connection: Connection, target: TargetTable, load: Load, live: Columns
    ) -> int:
        if not target.owner or not keys_of(target):
            return 0
        row = run(connection, select("count(*)", self._conflicts(target, load, live))).fetchone()
        return int(row[0]) if row else 0

    def _keep(
        self, connection: Connection, target: TargetTable, load: Load, keep: Sequence[str]
    ) -> bool:
        """Put the values to keep aside, with their keys."""
        if not keep:
            return False
        keys = [f"{quote(k)} AS {quote(f'key {i}')}" for i, k in enumerate(target.schema.key)]
        values = [f"{quote(k)} AS {quote(f'value {i}')}" for i, k in enumerate(keep)]
        layout = self._catalog.dialect.layout([f"key {i}" for i in range(len(keys))])
        run(
            connection,
            f"CREATE TEMPORARY TABLE {_KEPT} ON COMMIT DROP AS "
            + select(
                ", ".join([*keys, *values]),
                self._catalog.name(target.id),
                where_all(of_feed(target, load.feed)),
                layout,
            ),
        )
        return True

    def _insert(
        self,
        connection: Connection,
        target: TargetTable,
        load: Load,
        keep: Sequence[str],
        kept: bool,
        live: Columns,
    ) -> None:
        names = [n for n in shape.target_schema(target).names if n not in keep]
        chosen = [f"load.{quote(n)}" for n in names]
        source = f"{self._catalog.name(load.place)} AS load"
        if kept:
            aside = [f"kept.{quote(f'key {i}')}" for i in range(len(target.schema.key))]
            source += f" LEFT JOIN {_KEPT} AS kept ON {self._same_key(target, live, aside)}"
            chosen += [f"kept.{quote(f'value {i}')}" for i in range(len(keep))]
            names += keep
        name, free = self._catalog.name(target.id), ""
        if target.owner and keys_of(target):  # what is left there belongs to other feeds
            taken = select("1", f"{name} AS live", where_all(self._same_key(target, live)))
            free = where_all(f"NOT EXISTS ({taken})")
        run(connection, insert(name, quote_all(names), select(", ".join(chosen), source, free)))

    def _reshape(self, connection: Connection, target: TargetTable, live: Columns) -> None:
        """Give a table without rows the columns and key of the target that it has not."""
        table = f"ALTER TABLE {self._catalog.name(target.id)}"
        wanted = {w.name: w for w in self._catalog.wanted(target)}
        types = {c.name: c.type for c in live}
        statements = []
        keys = keys_of(target)
        if self._catalog.key(connection, target.id) - set(keys):
            statements += [
                f"{table} DROP CONSTRAINT {quote(n)}" for n in self._keys(connection, target)
            ]
        statements += [f"{table} DROP COLUMN {quote(n)}" for n in types if n not in wanted]
        for name, column in wanted.items():
            if name not in types:
                statements.append(f"{table} ADD COLUMN {column.declaration()}")
            elif types[name] != column.type:
                kind = column.type + (C_COLLATION if column.key and column.type == "text" else "")
                using = f"CAST(NULL AS {column.type})"
                statements.append(f"{table} ALTER COLUMN {quote(name)} TYPE {kind} USING {using}")
        for statement in statements:
            run(connection, statement)
        if keys and self._catalog.key(connection, target.id) != frozenset(keys):
            run(connection, f"{table} ADD PRIMARY KEY ({quote_all(keys)})")

    def _keys(self, connection: Connection, target: TargetTable) -> list[str]:
        rows = run(
            connection,
            "SELECT k.conname FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid "
            "JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE n.nspname = %s AND c.relname = %s AND k.contype = 'p'",
            [target.id.namespace, target.id.table],
        ).fetchall()
        return [str(row[0]) for row in rows]
