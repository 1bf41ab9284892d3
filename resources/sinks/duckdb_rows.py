"""Rows in a DuckDB table: deleted, inserted, tried, and whose they are where feeds share it.

In: Arrow tables, within an open transaction of the caller. Out: the table changed, or the rows
named that it would not take.
"""

from __future__ import annotations

import pyarrow as pa

from resources.errors import DirtyRowError
from resources.sinks.bisect import Refusal, Rows, bisect_rejected
from resources.sinks.contract import Feed, RejectedWrite, TargetTable
from resources.sinks.duckdb_catalog import DuckDBCatalog
from resources.sinks.duckdb_connection import DuckDBFile
from resources.sinks.duckdb_names import quote, quote_all
from resources.sinks.duckdb_types import to_storage
from resources.sinks.shape import belongs_elsewhere
from resources.sinks.sql import delete, insert, select, where_all


class DuckDBRows:
    """Rows of the live tables of one DuckDB file.

    Args:
        file: The database file.
        catalog: Its tables.
    """

    def __init__(self, file: DuckDBFile, catalog: DuckDBCatalog) -> None:
        self._file = file
        self._catalog = catalog

    def delete(self, target: TargetTable, rows: pa.Table, feed: Feed | None = None) -> None:
        """Delete the rows of these keys; of a shared table, only the feed's where one is given."""
        if not rows.num_rows:
            return
        match = " AND ".join(f"live.{quote(k)} = gone.{quote(k)}" for k in target.schema.key)
        owner, parameters = own_rows(target, feed, "live.")
        with self._file.registered("cdc_keys", to_storage(keys_of(target, rows))) as gone:
            self._file.connection.execute(
                delete(
                    f"{self._catalog.name(target.id)} AS live",
                    f"USING {gone} AS gone",
                    where_all(match, owner),
                ),
                parameters,
            )

    def delete_all(self, target: TargetTable, feed: Feed) -> int:
        """Delete all rows, of a shared table the feed's; return their number."""
        owner, parameters = own_rows(target, feed)
        statement = delete(self._catalog.name(target.id), where_all(owner))
        return int(self._file.connection.execute(statement, parameters).fetchall()[0][0])

    def insert(self, target: TargetTable, rows: pa.Table) -> None:
        """Insert rows by column name."""
        if not rows.num_rows:
            return
        columns = quote_all(rows.column_names)
        with self._file.registered("cdc_rows", to_storage(rows)) as view:
            self._file.connection.execute(
                insert(self._catalog.name(target.id), columns, select(columns, view))
            )

    def refuse_foreign(self, target: TargetTable, rows: pa.Table) -> None:
        """Refuse rows whose keys other feeds have in a shared table.

        Raises:
            DirtyRowError: There are such; the first is told.
        """
        for message in self.foreign(target, rows).values():
            raise DirtyRowError(message, where=str(target.id))

    def foreign(self, target: TargetTable, rows: pa.Table) -> dict[int, str]:
        """Return why a row is refused, by number, where another feed has its key."""
        if not target.owner or target.mode != "merge" or not rows.num_rows:
            return {}
        # The columns go by number here, since any name may be one of the table's.
        keys = [f"k{i}" for i in range(len(target.schema.key))]
        stored = to_storage(rows.select([*target.schema.key, target.owner]))
        stored = stored.rename_columns([*keys, "own"])
        stored = stored.append_column("number", pa.array(range(rows.num_rows), pa.int64()))
        pairs = zip(target.schema.key, keys, strict=True)
        match = " AND ".join(f"live.{quote(name)} = claim.{key}" for name, key in pairs)
        owner = f"live.{quote(target.owner)}"
        with self._file.registered("cdc_claims", stored) as view:
            found = self._file.connection.execute(
                select(
                    f"claim.number, {owner}, claim.own",
                    f"{view} AS claim JOIN {self._catalog.name(target.id)} AS live ON {match}",
                    where_all(f"{owner} IS DISTINCT FROM claim.own"),
                    "ORDER BY claim.number",
                )
            ).fetchall()
        return {number: belongs_elsewhere(other, own) for number, other, own in found}

    def find_rejected(self, target: TargetTable, rows: pa.Table) -> list[RejectedWrite]:
        """Try the rows in transactions that are rolled back and name those refused.

        Where the table does not exist yet (a first load), one of the target's shape stands in.
        """
        exists = self._catalog.columns(target.id) is not None
        foreign = self.foreign(target, rows) if exists else {}
        others = [i for i in range(rows.num_rows) if i not in foreign]

        def trial(indices: Rows) -> Refusal | None:
            return self._try(target, rows.take(pa.array([others[i] for i in indices], pa.int64())))

        tried = bisect_rejected(len(others), trial)
        found = [RejectedWrite(i, "", message) for i, message in foreign.items()]
        found += [RejectedWrite(others[r.index], r.field, r.message) for r in tried]
        return sorted(found, key=lambda r: r.index)

    def _try(self, target: TargetTable, rows: pa.Table) -> Refusal | None:
        try:
            with self._file.transaction(str(target.id)):
                if self._catalog.columns(target.id) is None:
                    self._catalog.create(target, target.id.table)
                if target.mode == "merge":
                    self.delete(target, rows)
                self.insert(target, rows)
                raise _UndoTrial
        except DirtyRowError as error:
            return Refusal(error.field, error.message)
        except _UndoTrial:
            return None


class _UndoTrial(Exception):
    """Rolls back a trial whose rows were all taken."""


def keys_of(target: TargetTable, rows: pa.Table) -> pa.Table:
    """Return the key columns of rows."""
    return rows.select(list(target.schema.key))


def own_rows(target: TargetTable, feed: Feed | None, of: str = "") -> tuple[str, list[str]]:
    """Return the condition that a row is the feed's, and its parameters; empty if all are.

    Args:
        target: The table.
        feed: Whose rows; None for anybody's.
        of: What the owner column's name is written after, e.g. `live.`.
    """
    if not target.owner or feed is None:
        return "", []
    return f"{of}{quote(target.owner)} = ?", [str(feed)]
