"""Changes of a DuckDB table's columns, in place and exact.

In: `ColumnChange`s. Out: the statements that make those still to be made, run in one transaction
with the table's Arrow schema; or the same statements to read.

DuckDB's casts round (DECIMAL to a smaller scale, DOUBLE to FLOAT), so every value is first carried
to its new type and back, and must be what it was.
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from resources.errors import ConfigError, FencedOut, TransientError
from resources.failpoints import failpoint
from resources.model.column_change import (
    FILL,
    AddColumn,
    ColumnChange,
    DropColumn,
    Fill,
    RenameColumn,
    RetypeColumn,
)
from resources.model.table import Column
from resources.sinks.column_plan import ColumnPlan, ColumnRules, PlannedChange, plan_changes
from resources.sinks.contract import TargetId
from resources.sinks.duckdb_catalog import DuckDBCatalog
from resources.sinks.duckdb_connection import DuckDBFile, translate
from resources.sinks.duckdb_names import fold, quote
from resources.sinks.duckdb_types import convert, duckdb_type, held_alike, literal, text_literal
from resources.sinks.retype import cannot_convert, does_not_fit
from resources.sinks.shape import no_table
from resources.sinks.sql import select, update, where_all

KINDS = frozenset({"add", "drop", "rename", "retype", FILL})
"""`Capabilities.schema_changes` of DuckDB."""
_IN_THE_WAY = (duckdb.DependencyException, duckdb.BinderException, duckdb.CatalogException)


class DuckDBColumns:
    """The columns of one DuckDB file's tables.

    Args:
        file: The database file.
        catalog: Its tables and their Arrow schemas.
    """

    def __init__(self, file: DuckDBFile, catalog: DuckDBCatalog) -> None:
        self._file = file
        self._catalog = catalog

    def alter(self, target: TargetId, changes: Sequence[ColumnChange]) -> None:
        """Make the changes in one transaction; see `Sink.alter_table`."""
        with self._file.transaction(str(target), alone=target):
            plan = self._plan(target, changes)
            for planned in plan.changes:
                statements = self._statements(target, planned)
                self._require_values_fit(target, planned)
                for statement in statements:
                    self._run(target, statement)
                failpoint("sink.alter.after_change")
            self._catalog.store_schema(target, plan.after)
        failpoint("sink.alter.after_commit")

    def render(self, target: TargetId, changes: Sequence[ColumnChange]) -> list[str]:
        """Return the statements `alter` would run now."""
        plan = self._plan(target, changes)
        return [s for planned in plan.changes for s in self._statements(target, planned)]

    def execute(self, statements: Sequence[str]) -> None:
        """Run statements given by a person, in one transaction; see `Sink.execute`."""
        with self._file.transaction("a statement given") as connection:
            for number, statement in enumerate(statements, start=1):
                try:
                    for part in duckdb.extract_statements(statement):
                        if part.type == duckdb.StatementType.TRANSACTION:
                            raise _refused(number, "transactions are begun and ended by the sink")
                        connection.execute(part)
                except duckdb.Error as error:
                    meant = translate(error, "")
                    if isinstance(meant, TransientError | FencedOut):
                        raise
                    raise _refused(number, meant.message) from None

    def _plan(self, target: TargetId, changes: Sequence[ColumnChange]) -> ColumnPlan:
        live = self._catalog.read_schema(target)
        if live is None:
            raise no_table(target)
        return plan_changes(target, live, changes, ColumnRules(KINDS, fold, held_alike))

    def _statements(self, target: TargetId, planned: PlannedChange) -> list[str]:
        table = self._catalog.name(target)
        match planned.change:
            case AddColumn(column=column, fill=Fill() as fill):
                return self._filled(target, planned, column, fill)
            case AddColumn(column=column, copy_of=copy_of):
                name, type_ = quote(column.name), self._catalog.storage_type(target, column)
                added = [f"ALTER TABLE {table} ADD COLUMN {name} {type_}"]
                if copy_of:
                    value = self._conversion(target, planned, copy_of, column)
                    added.append(update(table, f"{name} = {value}"))
                return added
            case DropColumn(name=name):
                return [f"ALTER TABLE {table} DROP COLUMN {quote(name)}"]
            case RenameColumn(old=old, new=new):
                return [f"ALTER TABLE {table} RENAME COLUMN {quote(old)} TO {quote(new)}"]
            case RetypeColumn(column=column):
                name, type_ = quote(column.name), self._catalog.storage_type(target, column)
                value = self._conversion(target, planned, column.name, column)
                if value == name:
                    return []
                return [f"ALTER TABLE {table} ALTER COLUMN {name} TYPE {type_} USING {value}"]

    def _filled(
        self, target: TargetId, planned: PlannedChange, column: Column, fill: Fill
    ) -> list[str]:
        table, name = self._catalog.name(target), quote(column.name)
        value = literal(fill.value)
        add = f"ALTER TABLE {table} ADD COLUMN {name} {self._catalog.storage_type(target, column)}"
        there = column.name in planned.before.names
        if not (there or fill.owner):
            return [f"{add} DEFAULT {value}", f"ALTER TABLE {table} ALTER {name} DROP DEFAULT"]
        own = f"{quote(fill.owner)} = {text_literal(fill.feed)}" if fill.owner else ""
        filled = update(table, f"{name} = {value}", where_all(own))
        return [filled] if there else [add, filled]

    def _conversion(
        self, target: TargetId, planned: PlannedChange, name: str, column: Column
    ) -> str:
        old = planned.before.field(name).type
        value = convert(quote(name), old, column.type)
        if value is None:
            raise cannot_convert(target, name, old, column.type)
        return value

    def _require_values_fit(self, target: TargetId, planned: PlannedChange) -> None:
        """Refuse a change of type that would change a value.

        Raises:
            SchemaMismatch: Counts the values.
        """
        match planned.change:
            case RetypeColumn(column=column):
                source = column.name
            case AddColumn(column=column, copy_of=copy_of) if copy_of:
                source = copy_of
            case _:
                return
        old, name = planned.before.field(source).type, quote(source)
        held, wanted = duckdb_type(old), duckdb_type(column.type)
        if held == wanted or wanted == "VARCHAR":
            return
        there_and_back = f"TRY_CAST(TRY_CAST({name} AS {wanted}) AS {held})"
        changed = where_all(f"{there_and_back} IS DISTINCT FROM {name}")
        query = select("count(*)", self._catalog.name(target), changed)
        misfits = self._file.connection.execute(query).fetchall()[0][0]
        if misfits:
            raise does_not_fit(target, source, old, column.type, misfits)

    def _run(self, target: TargetId, statement: str) -> None:
        try:
            self._file.connection.execute(statement)
        except _IN_THE_WAY as error:
            raise ConfigError(
                f"DuckDB refuses to change the table: {str(error).splitlines()[0]}",
                where=str(target),
                remedy="drop the index or constraint that was added to it by hand, and start "
                "again; or materialize the table's snapshot partition",
            ) from None


def _refused(number: int, why: str) -> ConfigError:
    return ConfigError(
        f"statement {number} of those given is refused: {why}",
        remedy="decide again with statements that DuckDB takes",
    )
