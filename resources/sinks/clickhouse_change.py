"""The statements of one change of a ClickHouse table's columns.

In: a table as it is at that point of a list, and the change. Out: SQL.

Added, dropped, renamed and widened columns are ALTERs. A change of type that narrows, and any of a
key column, makes the table anew beside and exchanges the two: ClickHouse converts every version of
a row, dead ones too, and fails or wraps where one does not fit.

A column that copies another is added with that as its DEFAULT, which fills the rows there in the
same instant; then its values are written out and the default is taken away. Its comment says so
until that is done.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import pyarrow as pa

from resources.errors import ConfigError
from resources.model.column_change import (
    AddColumn,
    DropColumn,
    Fill,
    RenameColumn,
    RetypeColumn,
)
from resources.model.table import Column
from resources.sinks import clickhouse_ledger as ledger
from resources.sinks.clickhouse_catalog import ClickHouseCatalog, name_of
from resources.sinks.clickhouse_connection import ClickHouse
from resources.sinks.clickhouse_ddl import StoredColumn
from resources.sinks.clickhouse_live import LiveColumn, LiveTable
from resources.sinks.clickhouse_names import literal, quote, quote_all
from resources.sinks.clickhouse_place import beside
from resources.sinks.clickhouse_strategy import own_columns
from resources.sinks.clickhouse_types import bare, clickhouse_type, takes_null
from resources.sinks.column_plan import PlannedChange
from resources.sinks.retype import widens
from resources.sinks.sql import insert, select
from resources.sinks.value_texts import hexadecimal, microseconds, value_text

COPYING = "[cdc:copying]"
"""Begins the comment of a column that still takes its values from another."""


@dataclass(frozen=True)
class ClickHouseChange:
    """One change.

    Args:
        server: Where.
        catalog: What columns become.
        live: The table before it.
        planned: The change.
    """

    server: ClickHouse
    catalog: ClickHouseCatalog
    live: LiveTable
    planned: PlannedChange

    def statements(self) -> list[str]:
        """Return the statements that make it.

        Raises:
            ConfigError: The table has things of the user's that a new one would not have.
        """
        match self.planned.change:
            case AddColumn(column=column, fill=Fill() as fill):
                return self._filled(column, fill)
            case AddColumn(column=column, copy_of=copy_of) if copy_of:
                return self._copied(column, copy_of)
            case AddColumn(column=column):
                return [self._alter(f"ADD COLUMN {self._declared(column).declaration()}")]
            case DropColumn(name=name):
                return [self._alter(f"DROP COLUMN {quote(name)}")]
            case RenameColumn(old=old, new=new):
                if self._column(old).fixed:
                    return self._anew({}, {old: new})
                return [self._alter(f"RENAME COLUMN {quote(old)} TO {quote(new)}")]
            case RetypeColumn(column=column):
                return self._retyped(column)

    def _retyped(self, column: Column) -> list[str]:
        there = self._column(column.name)
        stored = self._declared(column, there)
        if bare(stored.type) == bare(there.type):
            return [self._alter(f"COMMENT COLUMN {quote(column.name)} {literal(stored.comment)}")]
        if there.fixed or not widens(self._type(column.name), column.type):
            value = f"CAST({quote(column.name)} AS {stored.type})"
            return self._anew({column.name: (stored, value)}, {})
        said = f" COMMENT {literal(stored.comment)}"
        return [self._alter(f"MODIFY COLUMN {quote(column.name)} {stored.type}{said}")]

    def _copied(self, column: Column, copy_of: str) -> list[str]:
        stored = self._declared(column)
        value = f"CAST({quote(copy_of)} AS {stored.type})"
        if not widens(self._type(copy_of), column.type):
            return self._anew({column.name: (stored, value)}, {})
        return self._with_default(stored, value)

    def _filled(self, column: Column, fill: Fill) -> list[str]:
        stored = self._declared(column)
        value = f"CAST({_literal(fill.value)} AS {stored.type})"
        mine = f"{quote(fill.owner)} = {literal(fill.feed)}" if fill.owner else "1"
        if column.name in self.planned.before.names:
            return [self._alter(f"UPDATE {quote(column.name)} = {value} WHERE {mine}")]
        if fill.owner:
            value = f"if({mine}, {value}, NULL)"
        return self._with_default(stored, value)

    def _with_default(self, stored: StoredColumn, value: str) -> list[str]:
        name, comment = quote(stored.name), f"{COPYING} {stored.comment}".strip()
        said = f"COMMENT {literal(comment)}"
        return [
            self._alter(f"ADD COLUMN {name} {stored.type} DEFAULT {value} {said}"),
            self._alter(f"MATERIALIZE COLUMN {name}"),
            self._alter(f"MODIFY COLUMN {name} REMOVE DEFAULT"),
            self._alter(f"COMMENT COLUMN {name} {literal(stored.comment)}"),
        ]

    def _anew(
        self, values: Mapping[str, tuple[StoredColumn, str]], names: Mapping[str, str]
    ) -> list[str]:
        """Return the statements that make the table anew and exchange the two.

        Args:
            values: New columns, or columns of another type, and the SQL of their values.
            names: New names by old ones.
        """
        self._require_plain()
        target, place = self.live.id, beside(self.live.id, "new")
        kept = {
            c.name: (StoredColumn(names.get(c.name, c.name), c.type, c.comment), quote(c.name))
            for c in self.live.columns
        }
        columns = {**kept, **values}
        declared = ", ".join(stored.declaration() for stored, _ in columns.values())
        into = quote_all(stored.name for stored, _ in columns.values())
        selected = ", ".join(value for _, value in columns.values())
        on_cluster, final = self.server.dialect.on_cluster, own_columns(self.live).final
        engine = _renamed(self.live.full_engine, names)
        drop = f"{name_of(place)}{on_cluster} SYNC SETTINGS max_table_size_to_drop = 0"
        return [
            f"DROP TABLE IF EXISTS {drop}",
            f"CREATE TABLE {name_of(place)}{on_cluster} ({declared}) ENGINE = {engine}",
            ledger.carry_marks(target, place),
            insert(name_of(place), into, select(selected, name_of(target), final)),
            f"EXCHANGE TABLES {name_of(place)} AND {name_of(target)}{on_cluster}",
            f"DROP TABLE IF EXISTS {drop}",
        ]

    def _require_plain(self) -> None:
        if self.live.adorned or any(c.default for c in self.live.columns):
            raise ConfigError(
                "this change makes the table anew, and its constraints, indexes, projections or "
                "defaults would be lost",
                where=str(self.live.id),
                remedy="make the change by hand, or drop them and start again",
            )

    def _alter(self, what: str) -> str:
        return f"ALTER TABLE {name_of(self.live.id)}{self.server.dialect.on_cluster} {what}"

    def _column(self, name: str) -> LiveColumn:
        column = self.live.column(name)
        assert column is not None, name
        return column

    def _type(self, name: str) -> pa.DataType:
        return self.planned.before.field(name).type

    def _declared(self, column: Column, there: LiveColumn | None = None) -> StoredColumn:
        key = there is not None and not takes_null(there.type)
        return self.catalog.stored_column(self.live.id, column, key=key)


def changed(catalog: ClickHouseCatalog, live: LiveTable, planned: PlannedChange) -> LiveTable:
    """Return what a table will look like after a change."""
    columns = list(live.columns)
    engine = live.full_engine
    match planned.change:
        case AddColumn(column=column) if column.name not in planned.before.names:
            stored = catalog.stored_column(live.id, column)
            columns.append(LiveColumn(column.name, stored.type, stored.comment, "", False, False))
        case DropColumn(name=name):
            columns = [c for c in columns if c.name != name]
        case RenameColumn(old=old, new=new):
            columns = [replace(c, name=new) if c.name == old else c for c in columns]
            engine = _renamed(engine, {old: new})
        case RetypeColumn(column=column):
            there = live.column(column.name)
            key = there is not None and not takes_null(there.type)
            stored = catalog.stored_column(live.id, column, key=key)
            columns = [
                replace(c, type=stored.type, comment=stored.comment) if c.name == column.name else c
                for c in columns
            ]
    return replace(live, columns=tuple(columns), full_engine=engine)


def _renamed(engine: str, names: Mapping[str, str]) -> str:
    """Return an engine with its keys under new names; its settings and strings stay."""

    def token(match: re.Match[str]) -> str:
        text = match[0]
        for old, new in names.items():
            if text in (old, quote(old)):
                return quote(new)
        return text

    head, word, tail = engine.partition(" SETTINGS ")
    return re.sub(r"'(?:[^'\\]|\\.)*'|`(?:[^`\\]|\\.)*`|\w+", token, head) + word + tail


def _literal(value: pa.Scalar) -> str:
    """Return a value as SQL that a CAST makes a value of its column's type."""
    if pa.types.is_duration(value.type):
        return str(microseconds(value))
    if clickhouse_type(value.type) == "String" and pa.types.is_binary(value.type):
        return f"unhex('{hexadecimal(value)}')"
    if pa.types.is_large_binary(value.type):
        return f"unhex('{hexadecimal(value)}')"
    return literal(value_text(value))
