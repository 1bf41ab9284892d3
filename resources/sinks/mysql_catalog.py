"""What a MySQL-family server holds of our targets, and what it cannot hold.

In: targets, and a session. Out: findings, tables as they are now, tables created.
"""

from __future__ import annotations

from typing import Literal

import pyarrow as pa

from resources.errors import ConfigError
from resources.model.change import CHANGE_FIELDS
from resources.model.source import Finding
from resources.model.table import Column
from resources.sinks import mysql_ledger as ledger
from resources.sinks import shape
from resources.sinks.contract import TargetId, TargetTable
from resources.sinks.create_table import CreateRules, wrongly_made
from resources.sinks.mysql_connection import run
from resources.sinks.mysql_ddl import Wanted, create_table
from resources.sinks.mysql_live import Columns, Indexes, LiveColumn
from resources.sinks.mysql_names import fold, is_system, quote, wrong
from resources.sinks.mysql_session import Server, Session
from resources.sinks.mysql_types import MySQLTypes, arrow_type, may_stand_for, normal
from resources.sinks.shape import keys_of
from resources.sinks.sql import select

MAX_COLUMNS = 1017
COPY_PREFIX = "_cdc_copy_"
"""Begins the names of columns that are being filled; they count as not there."""
_PAGE = 8126
_EXTERNAL = 41
"""Bytes of a row that a value takes which lies elsewhere, at least, and their length."""
_COLUMNS = """
SELECT column_name, column_type, collation_name, extra FROM information_schema.columns
WHERE table_schema = %s AND table_name = %s ORDER BY ordinal_position"""
_INDEXES = """
SELECT index_name, non_unique, column_name, sub_part FROM information_schema.statistics
WHERE table_schema = %s AND table_name = %s"""
_KIND = """
SELECT table_type, engine FROM information_schema.tables
WHERE table_schema = %s AND table_name = %s"""
_REFERRED_TO = (
    "SELECT 1 FROM information_schema.key_column_usage WHERE referenced_table_schema = %s "
    "AND referenced_table_name = %s LIMIT 1"
)
_HANGING = (
    "SELECT 1 FROM information_schema.triggers "
    "WHERE event_object_schema = %s AND event_object_table = %s LIMIT 1",
    "SELECT 1 FROM information_schema.key_column_usage WHERE table_schema = %s "
    "AND table_name = %s AND referenced_table_name IS NOT NULL LIMIT 1",
    _REFERRED_TO,
    "SELECT 1 FROM information_schema.partitions WHERE table_schema = %s "
    "AND table_name = %s AND partition_name IS NOT NULL LIMIT 1",
)
_UNSAFE = frozenset({"myisam", "aria", "memory", "csv", "archive", "blackhole", "merge"})
Level = Literal["error", "warning"]


class MySQLCatalog:
    """Tables of one server, by the rules of one sink.

    Args:
        types: The types it gives.
        rules: How it creates tables.
    """

    def __init__(self, types: MySQLTypes, rules: CreateRules | None = None) -> None:
        self.types = types
        self._rules = rules or CreateRules()

    def place(self, server: Server, target: TargetId) -> TargetId:
        """Return a target's name as the server keeps it."""
        if not server.folds_tables:
            return target
        return TargetId(target.namespace.lower(), target.table.lower())

    def name(self, server: Server, target: TargetId) -> str:
        """Return a target's quoted name."""
        place = self.place(server, target)
        return f"{quote(place.namespace)}.{quote(place.table)}"

    def check(self, session: Session, target: TargetTable) -> list[Finding]:
        """Return everything that keeps the target from being held exactly."""
        findings = self.check_names(target)
        findings += shape.type_findings(target, "MySQL", self._holds)
        findings = findings or self._row_findings(session.server, target)
        return findings or self._live_findings(session, target)

    def is_table(self, session: Session, target: TargetId) -> bool:
        """Return whether a name is that of a table (and not of a view)."""
        return self._kind(session, target)[0] == "BASE TABLE"

    def columns(self, session: Session, target: TargetId) -> Columns | None:
        """Return a table's columns as they are now, None if it does not exist."""
        place = self.place(session.server, target)
        rows = run(session, _COLUMNS, [place.namespace, place.table]).rows
        if not rows:
            return None
        return tuple(
            LiveColumn(_text(n), normal(_text(t)), _text(c), "GENERATED" in _text(e).upper())
            for n, t, c, e in rows
            if not _text(n).startswith(COPY_PREFIX) and not _is_row_id(_text(n), _text(e))
        )

    def copies(self, session: Session, target: TargetId) -> list[str]:
        """Return columns that a writer who died was filling."""
        place = self.place(session.server, target)
        rows = run(session, _COLUMNS, [place.namespace, place.table]).rows
        return [_text(r[0]) for r in rows if _text(r[0]).startswith(COPY_PREFIX)]

    def indexes(self, session: Session, target: TargetId) -> Indexes:
        """Return what indexes a table has."""
        place = self.place(session.server, target)
        rows = run(session, _INDEXES, [place.namespace, place.table]).rows
        key = frozenset(_text(r[2]) for r in rows if r[0] == "PRIMARY" and r[3] is None)
        others = [r for r in rows if r[0] != "PRIMARY"]
        return Indexes(key, any(r[1] == "0" for r in others), bool(others))

    def hangs(self, session: Session, target: TargetId) -> bool:
        """Return whether something hangs on a table that would not follow its name."""
        place = self.place(session.server, target)
        names = [place.namespace, place.table]
        if self.indexes(session, target).plain:
            return True
        return any(run(session, query, names).rows for query in _HANGING)

    def require_free(self, session: Session, target: TargetId) -> None:
        """Refuse a table that others refer to, since it cannot be dropped.

        Raises:
            ConfigError: There are such.
        """
        place = self.place(session.server, target)
        if run(session, _REFERRED_TO, [place.namespace, place.table]).rows:
            raise ConfigError(
                "foreign keys of other tables refer to it, so it cannot be made anew",
                where=str(target),
                remedy="drop them, or write `existing: {table: create_if_missing}` for the sink",
            )

    def wanted(self, server: Server, target: TargetTable) -> tuple[Wanted, ...]:
        """Return the columns a target shall have.

        Raises:
            ConfigError: A type has no exact counterpart.
        """
        columns = {c.name: c for c in target.schema.columns}
        if target.mode == "append":
            columns |= {f.name: Column(f.name, f.type) for f in CHANGE_FIELDS}
        return self.declared(server, columns, keys_of(target), str(target.id))

    def declared(
        self, server: Server, columns: dict[str, Column], keys: tuple[str, ...], where: str
    ) -> tuple[Wanted, ...]:
        """Return columns with the types they shall have; raises as `wanted`."""
        found = []
        for name, type_ in self.types.names(columns, keys).items():
            column = columns[name]
            if type_ is None:
                raise ConfigError(
                    f"column {name!r} has type {column.type}, which MySQL cannot hold",
                    where=where,
                    remedy="exclude the column",
                )
            if type_.startswith("varchar") and not server.collation:
                type_ = f"varbinary({int(type_[8:-1]) * 4})"
            found.append(Wanted(name, type_, name in keys, column.comment))
        return tuple(found)

    def create(self, session: Session, target: TargetTable, place: TargetId) -> None:
        """Create an empty table of the target's shape, and its database, where missing.

        Args:
            session: Not within a transaction.
            target: The shape.
            place: The name: the target's own or that of a load's shadow.

        Raises:
            ConfigError: The name is taken or not to be had, or a type has no exact counterpart.
        """
        self.require_names(target)
        kind, _ = self._kind(session, place)
        if kind == "BASE TABLE":
            return
        if kind:
            raise self._taken(target, kind)
        self.create_namespace(session, place)
        name, server = self.name(session.server, place), session.server
        columns, rule = self.wanted(server, target), self._rules.of(target.id)
        keys, comment = keys_of(target), target.schema.comment
        run(session, create_table(server, name, columns, keys, comment, rule))
        live = () if rule.is_own else self.columns(session, place) or ()
        if not (rule.is_own or self._fits(target, live)):
            run(session, f"DROP TABLE {name}")  # it was not there before, so it is empty
            raise wrongly_made(target.id, show(live), show(columns))

    def require_names(self, target: TargetTable) -> None:
        """Refuse a target whose names or number of columns cannot be had.

        Raises:
            ConfigError: The first finding about them.
        """
        for finding in self.check_names(target):
            raise ConfigError(finding.message, remedy=finding.remedy)

    def create_namespace(self, session: Session, target: TargetId) -> None:
        """Create a database if it is missing; one that is there needs no right to create any."""
        name = self.place(session.server, target).namespace
        query = "SELECT 1 FROM information_schema.schemata WHERE schema_name = %s"
        if not run(session, query, [name]).rows:
            run(session, f"CREATE DATABASE IF NOT EXISTS {quote(name)} CHARACTER SET utf8mb4")

    def touch(self, session: Session, target: TargetId, *, missing: bool = False) -> None:
        """Read from a table, so that no DDL can change it until the transaction ends.

        Args:
            session: Within a transaction.
            target: The table.
            missing: Whether it may be missing.

        Raises:
            SchemaMismatch: It is missing.
        """
        if ledger.exists(session, target):
            run(session, select("1", self.name(session.server, target), "LIMIT 0"))
        elif not missing:
            raise shape.no_table(target)

    def require_fit(self, session: Session, target: TargetTable, place: TargetId) -> None:
        """Refuse a table whose columns are not the target's; their order does not matter.

        Raises:
            SchemaMismatch: Shows both shapes, or it does not exist.
        """
        live = self.columns(session, place)
        if live is None:
            raise shape.no_table(target.id)
        if not self._fits(target, live):
            wanted = self.wanted(session.server, target)
            raise shape.misfit(target.id, show(live), show(wanted))

    def fits(self, session: Session, target: TargetTable) -> bool:
        """Return whether the target is there with the columns it shall have."""
        live = self.columns(session, target.id)
        return live is not None and self._fits(target, live)

    def read_schema(self, session: Session, target: TargetId) -> pa.Schema | None:
        """Return the columns there are now, in the Arrow types they were made for."""
        live = self.columns(session, target)
        if live is None:
            return None
        stored = ledger.read_arrow(session, target)
        fields = []
        for column in live:
            known = stored.field(column.name) if stored and column.name in stored.names else None
            fits = known is not None and may_stand_for(known.type, column.type)
            fields.append(known if fits else pa.field(column.name, arrow_type(column.type)))
        return pa.schema(fields)

    def _holds(self, column: Column) -> bool:
        return self.types.name(column) is not None

    def check_names(self, target: TargetTable) -> list[Finding]:
        """Return what is wrong with a target's names and number of columns."""
        findings = shape.shape_findings(target, fold)
        if findings:
            return findings
        if is_system(target.id.namespace):
            message = f"database {target.id.namespace!r} belongs to the server itself"
            findings.append(_error(target, "name_reserved", message))
        for name in [target.id.namespace, target.id.table, *target.schema.names]:
            if why := wrong(name):
                findings.append(_error(target, "name_invalid", f"the name {name!r} {why}"))
            elif name.startswith(COPY_PREFIX):
                message = f"names beginning {COPY_PREFIX!r} are the sink's own"
                findings.append(_error(target, "name_reserved", message))
        count = len(shape.target_schema(target))
        if count > MAX_COLUMNS:
            message = f"it has {count} columns; tables of InnoDB have at most {MAX_COLUMNS}"
            findings.append(_error(target, "too_many_columns", message))
        return findings

    def _row_findings(self, server: Server, target: TargetTable) -> list[Finding]:
        if server.flavor == "oceanbase":
            return []
        wide = sum(c.type.startswith("long") for c in self.wanted(server, target)) * _EXTERNAL
        if wide <= _PAGE:
            return []
        message = f"its rows may need {wide} bytes of a page, which holds {_PAGE} of a row"
        return [_error(target, "row_too_wide", message)]

    def _live_findings(self, session: Session, target: TargetTable) -> list[Finding]:
        kind, engine = self._kind(session, target.id)
        if not kind:
            return []
        if kind != "BASE TABLE":
            error = self._taken(target, kind)
            return [_finding(target, "name_collision", error.message, error.remedy)]
        live = self.columns(session, target.id) or ()
        if not self._fits(target, live):
            wanted = self.wanted(session.server, target)
            return [shape.misfit_finding(target, show(live), show(wanted))]
        if engine.lower() in _UNSAFE:
            message = f"the table there is of engine {engine}, which has no transactions"
            return [_error(target, "no_transactions", message)]
        keys = keys_of(target)
        exact = session.server.collation
        loose = [c.name for c in live if c.name in keys and c.collation not in ("", exact)]
        if loose:
            message = f"key columns {loose} have a collation that takes different texts for equal"
            return [_error(target, "key_collation", message)]
        if keys and self.indexes(session, target.id).key != frozenset(keys):
            message = f"the table there has no primary key on {list(keys)}: merges read all of it"
            return [_error(target, "no_key_index", message, "warning")]
        return []

    def _fits(self, target: TargetTable, live: Columns) -> bool:
        types = {f.name: f.type for f in shape.target_schema(target)}
        return {c.name for c in live} == set(types) and all(
            may_stand_for(types[c.name], c.type) and not c.generated for c in live
        )

    def _kind(self, session: Session, target: TargetId) -> tuple[str, str]:
        """Return the kind and engine of what has a name, empty if nothing has."""
        place = self.place(session.server, target)
        rows = run(session, _KIND, [place.namespace, place.table]).rows
        return (_text(rows[0][0]), _text(rows[0][1])) if rows else ("", "")

    def _taken(self, target: TargetTable, kind: str) -> ConfigError:
        return ConfigError(
            f"{target.id}: the name is taken by the {kind.lower()} {target.id}",
            remedy="route one of them to another name, or drop the one there",
        )


def show(columns: Columns | tuple[Wanted, ...]) -> str:
    """Return columns on one line, `(name type, name type)`."""
    return "(" + ", ".join(f"{c.name} {c.type}" for c in columns) + ")"


def _is_row_id(name: str, extra: str) -> bool:
    """Return whether a column is the key the server gives tables without one, unseen."""
    return name == "my_row_id" and "INVISIBLE" in extra.upper()


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value or "")


def _error(target: TargetTable, code: str, message: str, level: Level = "error") -> Finding:
    remedy = {
        "name_reserved": "rename it by a route or a projection",
        "name_invalid": "rename it by a route or a projection",
        "too_many_columns": "leave columns out by a projection",
        "row_too_wide": "leave texts out by a projection, or split the table",
        "no_transactions": "ALTER TABLE … ENGINE=InnoDB",
        "key_collation": "give them the collation utf8mb4_0900_bin (MariaDB: utf8mb4_nopad_bin)",
        "no_key_index": "add the primary key",
    }[code]
    return _finding(target, code, f"{target.id}: {message}", remedy, level)


def _finding(
    target: TargetTable, code: str, message: str, remedy: str, level: Level = "error"
) -> Finding:
    return Finding(level, code, message, remedy, target.schema.table)
