"""Changes of a MySQL-family table's columns: one ALTER TABLE for a list of them.

In: what `column_plan` leaves to do. Out: statements, and the questions asked before them.

DDL commits by itself, so a list of changes is summed up: what becomes of every column there is, and
which new ones come. That is one ALTER TABLE, made whole or not at all. Columns that get values (a
copy, a fill) are made first under a name that counts as not there, filled, and get their own name
in that one statement. A writer that dies before it leaves such columns, which the next one drops.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import pyarrow as pa
import pymysql

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
from resources.sinks import mysql_ledger as ledger
from resources.sinks import shape
from resources.sinks.column_plan import ColumnPlan, ColumnRules, plan_changes
from resources.sinks.contract import TargetId
from resources.sinks.mysql_catalog import COPY_PREFIX, MySQLCatalog
from resources.sinks.mysql_cells import form_of, texts_of
from resources.sinks.mysql_connection import committed, run
from resources.sinks.mysql_ddl import Wanted
from resources.sinks.mysql_encode import value_lists
from resources.sinks.mysql_errors import translate
from resources.sinks.mysql_misfits import misfit
from resources.sinks.mysql_names import fold, literal, quote, wrong
from resources.sinks.mysql_place import joined
from resources.sinks.mysql_session import Session
from resources.sinks.retype import does_not_fit, widens
from resources.sinks.sql import select, update, where_all

KINDS = frozenset({"add", "drop", "rename", "retype", FILL})


@dataclass(frozen=True)
class Fate:
    """What becomes of a column, or how a new one comes.

    Args:
        origin: The live column whose values it has; empty for none.
        column: Name and type if it gets a new type; None if it keeps its own.
        copied: Whether the origin goes on under another name, too.
        fill: The value it gets, if it is new.
        types: The types its values go through, the live one first.
    """

    origin: str = ""
    column: Column | None = None
    copied: bool = False
    fill: Fill | None = None
    types: tuple[pa.DataType, ...] = field(default=())


class MySQLAlter:
    """Changes columns of one server's tables.

    Args:
        catalog: What tables look like.
    """

    def __init__(self, catalog: MySQLCatalog) -> None:
        self._catalog = catalog

    def render(
        self, session: Session, target: TargetId, changes: Sequence[ColumnChange]
    ) -> list[str]:
        """Return the statements `alter` would run."""
        plan = self._plan(session, target, changes)
        return self._statements(session, target, plan, *_fates(plan, target))

    def alter(self, session: Session, target: TargetId, changes: Sequence[ColumnChange]) -> None:
        """Make the changes that are not there yet; call it outside of any transaction.

        Raises:
            SchemaMismatch: A column is missing or its name taken, or values do not fit.
            ConfigError: The change cannot be made in place.
        """
        plan = self._plan(session, target, changes)
        fates, fills = _fates(plan, target)
        statements = self._statements(session, target, plan, fates, fills)
        live = self._catalog.read_schema(session, target)
        if plan.changes:
            with committed(session):
                ledger.write_arrow(session, target, joined(plan.after, live))
        name = self._catalog.name(session.server, target)
        with _locked(session, name):
            self._check_values(session, target, fates)
            for left in self._catalog.copies(session, target):
                run(session, f"ALTER TABLE {name} DROP COLUMN {quote(left)}")
            for statement in statements:
                run(session, statement)
        for _ in plan.changes:
            failpoint("sink.alter.after_change")
        with committed(session):
            ledger.write_arrow(session, target, plan.after)

    def execute(self, session: Session, statements: Sequence[str]) -> None:
        """Run statements given by a person, after all of them were parsed; see `Sink.execute`."""
        for prepare in (True, False):
            for number, statement in enumerate(statements, start=1):
                text = f"PREPARE cdc_given FROM {literal(statement)}" if prepare else statement
                try:
                    run(session, text)
                except pymysql.err.MySQLError as error:
                    meant = translate(error, "")
                    if isinstance(meant, TransientError):
                        raise
                    done = "nothing was changed" if prepare else "those before it were run"
                    raise ConfigError(
                        f"statement {number} was refused: {meant.message}",
                        remedy=f"{done}; decide again with other statements",
                    ) from None

    def _plan(
        self, session: Session, target: TargetId, changes: Sequence[ColumnChange]
    ) -> ColumnPlan:
        live = self._catalog.read_schema(session, target)
        if live is None:
            raise shape.no_table(target)
        plan = plan_changes(
            target, live, changes, ColumnRules(KINDS, fold, self._catalog.types.same)
        )
        for name in plan.after.names:
            if why := wrong(name) or "is the sink's own" * name.startswith(COPY_PREFIX):
                raise ConfigError(
                    f"{name!r} cannot be the name of a column: it {why}",
                    where=str(target),
                    remedy="rename it by a projection",
                )
        return plan

    def _statements(
        self,
        session: Session,
        target: TargetId,
        plan: ColumnPlan,
        fates: dict[str, Fate],
        fills: list[tuple[str, Fill]],
    ) -> list[str]:
        """Return the statements that make a table's columns those of `fates`."""
        server, name = session.server, self._catalog.name(session.server, target)
        wanted = self._wanted(session, target, fates)
        first, values, last = [], [], []
        there = [f.origin for f in fates.values() if f.origin and not f.copied]
        before = plan.changes[0].before if plan.changes else plan.after
        dropped = [n for n in before.names if n not in there]
        # OceanBase takes no name again in the statement that gives it up.
        again = [n for n in dropped if n in fates and server.flavor == "oceanbase"]
        last += [f"DROP COLUMN {quote(n)}" for n in dropped if n not in again]
        for number, (column, fate) in enumerate(fates.items()):
            declared = wanted[column].declaration(server) if column in wanted else ""
            if fate.copied or fate.fill:
                aside = quote(f"{COPY_PREFIX}{number}")
                first.append(f"ADD COLUMN {aside} {declared}")
                values.append(_update(session, name, aside, fate))
                last.append(f"CHANGE COLUMN {aside} {quote(column)} {declared}")
            elif not fate.origin:
                last.append(f"ADD COLUMN {quote(column)} {declared}")
            elif declared:
                last.append(f"CHANGE COLUMN {quote(fate.origin)} {quote(column)} {declared}")
            elif fate.origin != column:
                last.append(f"RENAME COLUMN {quote(fate.origin)} TO {quote(column)}")
        statements = [f"ALTER TABLE {name} DROP COLUMN {quote(n)}" for n in again]
        statements += [f"ALTER TABLE {name} {', '.join(first)}"] if first else []
        statements += values
        statements += [f"ALTER TABLE {name} {', '.join(last)}"] if last else []
        return statements + [
            _update(session, name, quote(column), Fate(fill=fill)) for column, fill in fills
        ]

    def _wanted(
        self, session: Session, target: TargetId, fates: dict[str, Fate]
    ) -> dict[str, Wanted]:
        """Return the new declarations of the columns that get one, by name."""
        keys = self._catalog.indexes(session, target).key
        columns = {
            name: fate.column or Column(name, fate.types[-1]) for name, fate in fates.items()
        }
        still = tuple(n for n, f in fates.items() if f.origin in keys and not f.copied)
        declared = self._catalog.declared(session.server, columns, still, str(target))
        live = {c.name: c.type for c in self._catalog.columns(session, target) or ()}
        return {
            w.name: w
            for w in declared
            if (fate := fates[w.name]).column is not None
            and (fate.copied or fate.origin not in live or live[fate.origin] != w.type)
        }

    def _check_values(self, session: Session, target: TargetId, fates: dict[str, Fate]) -> None:
        """Refuse changes of type that would change a value, before anything is changed.

        Raises:
            SchemaMismatch: Says how many values of which column.
        """
        name = self._catalog.name(session.server, target)
        for fate in fates.values():
            for old, new in zip(fate.types, fate.types[1:], strict=False):
                if widens(old, new):
                    continue
                condition = misfit(quote(fate.origin), old, new)
                query = select("COUNT(*)", name, where_all(condition))
                count = int(run(session, query).rows[0][0])
                if count:
                    raise does_not_fit(target, fate.origin, old, new, count)


def _fates(plan: ColumnPlan, target: TargetId) -> tuple[dict[str, Fate], list[tuple[str, Fill]]]:
    """Sum changes up: what becomes of each column, and the fills of columns there already."""
    before = plan.changes[0].before if plan.changes else plan.after
    fates = {f.name: Fate(f.name, types=(f.type,)) for f in before}
    fills: list[tuple[str, Fill]] = []
    for planned in plan.changes:
        match planned.change:
            case AddColumn(column=column, fill=fill) if fill and column.name in fates:
                fills.append((column.name, fill))
            case AddColumn(column=column, copy_of=copy_of, fill=fill):
                source = fates[copy_of] if copy_of else Fate()
                types = (*source.types, column.type)
                fates[column.name] = Fate(source.origin, column, False, fill or source.fill, types)
            case DropColumn(name=name):
                del fates[name]
                fills = [f for f in fills if f[0] != name]
            case RenameColumn(old=old, new=new):
                fates = {new if n == old else n: f for n, f in fates.items()}
                fills = [(new if n == old else n, f) for n, f in fills]
            case RetypeColumn(column=column):
                fate = fates[column.name]
                fates[column.name] = replace(fate, column=column, types=(*fate.types, column.type))
    return _with_copies(fates), fills


def _with_copies(fates: dict[str, Fate]) -> dict[str, Fate]:
    """Mark all but one of the columns that have the values of one live column as its copies."""
    taken: dict[str, str] = {}
    for name, fate in fates.items():
        if fate.origin and (fate.origin not in taken or name == fate.origin):
            taken[fate.origin] = name
    return {
        name: replace(fate, copied=bool(fate.origin) and taken[fate.origin] != name)
        for name, fate in fates.items()
    }


def _update(session: Session, table: str, column: str, fate: Fate) -> str:
    """Return the statement that gives a column the values of another, or one value."""
    if fate.fill is None:
        return update(table, f"{column} = {quote(fate.origin)}")
    value = pa.array([fate.fill.value.as_py()], fate.fill.value.type)
    if form_of(value.type) == "bytes":
        text = f"x'{texts_of(value)[0].as_py().hex()}'"
    else:
        (listed,) = value_lists(pa.table({"v": value}), table, session.server)
        text = listed[1:-1].decode()
    own = ""
    if fate.fill.owner:
        own = f"{quote(fate.fill.owner)} = {literal(fate.fill.feed)}"
    return update(table, f"{column} = {text}", where_all(own))


@contextmanager
def _locked(session: Session, table: str) -> Iterator[None]:
    """Keep others from writing into a table meanwhile."""
    run(session, f"LOCK TABLES {table} WRITE")
    try:
        yield
    finally:
        if session.open:
            session.query("UNLOCK TABLES")
