"""Changes of a PostgreSQL table's columns, in one transaction and without changing a value.

In: what `column_plan` leaves to do. Out: ALTER statements, and the questions asked before them.
PostgreSQL rounds and cuts without a word where a cast allows it, so values are counted first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
import pyarrow as pa
import pyarrow.types as t

from resources.errors import ConfigError, TransientError
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
from resources.sinks import postgres_ledger as ledger
from resources.sinks import shape
from resources.sinks.column_plan import ColumnPlan, ColumnRules, PlannedChange, plan_changes
from resources.sinks.contract import TargetId
from resources.sinks.postgres_catalog import PostgresCatalog
from resources.sinks.postgres_connection import run
from resources.sinks.postgres_ddl import C_COLLATION
from resources.sinks.postgres_errors import translate
from resources.sinks.postgres_names import SYSTEM_COLUMNS, fold, literal, quote
from resources.sinks.postgres_pool import Connection
from resources.sinks.retype import does_not_fit, is_exact, widens
from resources.sinks.sql import select, update, where_all
from resources.sinks.value_texts import hexadecimal, microseconds, value_text

KINDS = frozenset({"add", "drop", "rename", "retype", FILL})
_MANTISSA = {32: 24, 64: 53}
_FLOAT32 = ("3.4028234663852886e38", "1.401298464324817e-45")


@dataclass(frozen=True)
class Step:
    """One change as statements.

    Args:
        statements: They, in order.
        source: The column whose values go into another type; empty if none do.
        old: Its type.
        new: The other type.
    """

    statements: tuple[str, ...]
    source: str = ""
    old: pa.DataType | None = None
    new: pa.DataType | None = None


class PostgresAlter:
    """Changes columns of one database's tables.

    Args:
        catalog: What tables look like.
    """

    def __init__(self, catalog: PostgresCatalog) -> None:
        self._catalog = catalog

    def render(
        self, connection: Connection, target: TargetId, changes: Sequence[ColumnChange]
    ) -> list[str]:
        """Return the statements `alter` would run."""
        plan = self._plan(connection, target, changes)
        steps = self._steps(connection, target, plan)
        return [statement for step in steps for statement in step.statements]

    def alter(
        self, connection: Connection, target: TargetId, changes: Sequence[ColumnChange]
    ) -> None:
        """Make the changes that are not there yet; call it within a transaction.

        Raises:
            SchemaMismatch: A column is missing or its name taken, or values do not fit.
            ConfigError: The change cannot be made in place.
        """
        self._catalog.lock(connection, target, "ACCESS EXCLUSIVE")
        plan = self._plan(connection, target, changes)
        for step in self._steps(connection, target, plan):
            self._check_values(connection, target, step)
            for statement in step.statements:
                run(connection, statement)
            failpoint("sink.alter.after_change")
        ledger.write_arrow(connection, target, plan.after)

    def execute(self, connection: Connection, statements: Sequence[str]) -> None:
        """Run statements given by a person; call it within a transaction; see `Sink.execute`."""
        for number, statement in enumerate(statements, start=1):
            # Inside DO no statement can end the transaction, however many there are in one text.
            body = f"BEGIN EXECUTE {literal(statement)}; END"
            try:
                run(connection, f"DO {literal(body)}")
            except psycopg.Error as error:
                meant = translate(error, "")
                if isinstance(meant, TransientError):
                    raise
                raise ConfigError(
                    f"statement {number} was refused: {meant.message}",
                    remedy="nothing was changed; decide again with other statements",
                ) from None

    def _plan(
        self, connection: Connection, target: TargetId, changes: Sequence[ColumnChange]
    ) -> ColumnPlan:
        live = self._catalog.read_schema(connection, target)
        if live is None:
            raise shape.no_table(target)
        same = self._catalog.types.same
        plan = plan_changes(target, live, changes, ColumnRules(KINDS, fold, same))
        for name in SYSTEM_COLUMNS.intersection(plan.after.names):
            raise ConfigError(
                f"{name!r} cannot be the name of a column: every table has it already",
                where=str(target),
                remedy="rename it by a projection",
            )
        return plan

    def _steps(self, connection: Connection, target: TargetId, plan: ColumnPlan) -> list[Step]:
        keys = set(self._catalog.key(connection, target))
        steps = []
        for planned in plan.changes:
            steps.append(self._step(target, planned, keys))
            match planned.change:
                case RenameColumn(old=old, new=new) if old in keys:
                    keys = {*keys - {old}, new}
                case DropColumn(name=name) if name in keys:
                    keys = set()  # the primary key goes with its column
        return steps

    def _step(self, target: TargetId, planned: PlannedChange, keys: set[str]) -> Step:
        table = self._catalog.name(target)
        match planned.change:
            case AddColumn(column=column, copy_of=copy_of, fill=fill):
                return self._add(target, planned, column, copy_of, fill)
            case DropColumn(name=name):
                return Step((f"ALTER TABLE {table} DROP COLUMN {quote(name)}",))
            case RenameColumn(old=old, new=new):
                return Step((f"ALTER TABLE {table} RENAME COLUMN {quote(old)} TO {quote(new)}",))
            case RetypeColumn(column=column):
                return self._retype(target, planned, column, column.name in keys)

    def _add(
        self,
        target: TargetId,
        planned: PlannedChange,
        column: Column,
        copy_of: str,
        fill: Fill | None,
    ) -> Step:
        table, type_ = self._catalog.name(target), self._type(target, column)
        there = column.name in planned.before.names
        statements = [f"ALTER TABLE {table} ADD COLUMN {quote(column.name)} {type_}"]
        if fill is not None:
            statements = _filled(table, column, type_, fill, there)
        if column.comment and not there:
            name = f"{table}.{quote(column.name)}"
            statements.append(f"COMMENT ON COLUMN {name} IS {literal(column.comment)}")
        if not copy_of:
            return Step(tuple(statements))
        value = f"CAST({quote(copy_of)} AS {type_})"
        statements.append(update(table, f"{quote(column.name)} = {value}"))
        return Step(tuple(statements), copy_of, planned.before.field(copy_of).type, column.type)

    def _retype(self, target: TargetId, planned: PlannedChange, column: Column, key: bool) -> Step:
        old = planned.before.field(column.name).type
        type_ = self._type(target, column)
        if self._catalog.types.name(Column(column.name, old)) == type_ and widens(old, column.type):
            return Step(())
        name = quote(column.name)
        collation = C_COLLATION if key and type_ == "text" else ""
        statement = (
            f"ALTER TABLE {self._catalog.name(target)} ALTER COLUMN {name} "
            f"TYPE {type_}{collation} USING CAST({name} AS {type_})"
        )
        return Step((statement,), column.name, old, column.type)

    def _type(self, target: TargetId, column: Column) -> str:
        type_ = self._catalog.types.name(column)
        if type_ is None:
            raise ConfigError(
                f"column {column.name!r} would have type {column.type}, which PostgreSQL "
                "cannot hold",
                where=str(target),
                remedy="exclude the column",
            )
        return type_

    def _check_values(self, connection: Connection, target: TargetId, step: Step) -> None:
        if step.old is None or step.new is None or widens(step.old, step.new):
            return
        misfit = _misfit(quote(step.source), step.old, step.new)
        query = select("count(*)", self._catalog.name(target), where_all(misfit))
        row = run(connection, query).fetchone()
        if row and row[0]:
            raise does_not_fit(target, step.source, step.old, step.new, row[0])


def _filled(table: str, column: Column, type_: str, fill: Fill, there: bool) -> list[str]:
    """Return the statements that fill a column; without an owner PostgreSQL writes no row."""
    name, value = quote(column.name), _value(fill, type_)
    add = f"ALTER TABLE {table} ADD COLUMN {name} {type_}"
    if not (there or fill.owner):
        return [f"{add} DEFAULT {value}", f"ALTER TABLE {table} ALTER COLUMN {name} DROP DEFAULT"]
    own = f"{quote(fill.owner)} = {literal(fill.feed)}" if fill.owner else ""
    filled = update(table, f"{name} = {value}", where_all(own))
    return [filled] if there else [add, filled]


def _value(fill: Fill, type_: str) -> str:
    if t.is_duration(fill.value.type):
        text = f"{microseconds(fill.value)} microseconds"
    elif t.is_binary(fill.value.type) or t.is_large_binary(fill.value.type):
        text = f"\\x{hexadecimal(fill.value)}"
    else:
        text = value_text(fill.value)
    return f"CAST({literal(text)} AS {type_})"


def _misfit(column: str, old: pa.DataType, new: pa.DataType) -> str:
    """Return the condition that a value of the old type would change in the new one."""
    if t.is_integer(new):
        bits, signed = new.bit_width, t.is_signed_integer(new)
        low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
        return f"{column} NOT BETWEEN {low} AND {high} OR {column} <> trunc({column})"
    if t.is_decimal(new):
        top = 10 ** (new.precision - new.scale)
        number = f"CAST({column} AS numeric)"
        return f"abs({number}) >= {top} OR {number} <> round({number}, {new.scale})"
    if is_exact(old):
        return _float_misfit(column, new)
    if t.is_floating(new):
        top, least = _FLOAT32
        return (
            f"CASE WHEN {column} IN ('NaN', 'Infinity', '-Infinity', 0) THEN false "
            f"WHEN abs({column}) NOT BETWEEN {least} AND {top} THEN true "
            f"ELSE CAST(CAST({column} AS real) AS double precision) <> {column} END"
        )
    if t.is_date(new):
        return f"{column} <> date_trunc('day', {column})"
    return "false"


def _float_misfit(column: str, new: pa.DataType) -> str:
    """Return the condition that a whole number has no float of its value.

    Near and past 2**63 a float does not go back into a bigint; there the spacing of floats tells.
    """
    bits = _MANTISSA[new.bit_width]
    name = "real" if new.bit_width == 32 else "double precision"
    number = f"CAST({column} AS numeric)"
    return (
        f"CASE WHEN abs({number}) <= {2**bits} THEN false "
        f"WHEN abs({number}) >= {2**63} THEN {number} % {2 ** (64 - bits)} <> 0 "
        f"WHEN abs({number}) >= {2**63 - 2**40} THEN {number} % {2 ** (63 - bits)} <> 0 "
        f"ELSE CAST(CAST({column} AS {name}) AS bigint) <> {column} END"
    )
