"""What a PostgreSQL database holds of our targets, and what it cannot hold.

In: targets, and a connection within a transaction. Out: findings, tables as they are now, tables
created.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
from psycopg import errors

from resources.errors import ConfigError
from resources.model.change import CHANGE_FIELDS
from resources.model.source import Finding
from resources.model.table import Column
from resources.sinks import postgres_ledger as ledger
from resources.sinks import shape
from resources.sinks.contract import TargetId, TargetTable
from resources.sinks.create_table import CreateRules, wrongly_made
from resources.sinks.create_template import names_of
from resources.sinks.postgres_connection import run
from resources.sinks.postgres_ddl import UPKEEP, Dialect, Wanted, comments
from resources.sinks.postgres_keys import repeated_key
from resources.sinks.postgres_names import (
    MAX_BYTES,
    SYSTEM_COLUMNS,
    fold,
    is_system,
    quote,
    quote_all,
)
from resources.sinks.postgres_pool import Connection
from resources.sinks.postgres_types import PostgresTypes, arrow_type, may_stand_for
from resources.sinks.shape import keys_of

MAX_COLUMNS = 1600
_KINDS = {
    "v": "view",
    "m": "materialized view",
    "i": "index",
    "I": "index",
    "S": "sequence",
    "f": "foreign table",
    "c": "type",
}
_COLUMNS = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod),
       coalesce(row_to_json(k)->>'collisdeterministic', 'true') = 'true'
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_collation k ON k.oid = a.attcollation
WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p')
  AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum"""
_RELATION = """
SELECT c.relkind FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s"""
_KEY = """
SELECT a.attname FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey)
WHERE n.nspname = %s AND c.relname = %s AND i.indisprimary"""


@dataclass(frozen=True)
class LiveColumn:
    """A column that is there.

    Args:
        name: Its name.
        type: Its type as `format_type` spells it.
        by_bytes: Whether texts in it are equal only if their bytes are.
    """

    name: str
    type: str
    by_bytes: bool = True


Columns = tuple[LiveColumn, ...]
Level = Literal["error", "warning"]


class PostgresCatalog:
    """Tables of one database, by the rules of one sink.

    Args:
        types: The types it gives.
        dialect: The server's family.
        rules: How it creates tables.
    """

    def __init__(
        self, types: PostgresTypes, dialect: Dialect, rules: CreateRules | None = None
    ) -> None:
        self.types = types
        self.dialect = dialect
        self._rules = rules or CreateRules()

    def name(self, target: TargetId) -> str:
        """Return a target's quoted name."""
        return f"{quote(target.namespace)}.{quote(target.table)}"

    def check(self, connection: Connection, target: TargetTable) -> list[Finding]:
        """Return everything that keeps the target from being held exactly."""
        findings = self.check_names(target)
        findings += shape.type_findings(target, "PostgreSQL", self._holds)
        return findings or self._live_findings(connection, target)

    def columns(self, connection: Connection, target: TargetId) -> Columns | None:
        """Return a table's columns as they are now, None if it does not exist."""
        rows = run(connection, _COLUMNS, [target.namespace, target.table]).fetchall()
        if rows:
            return tuple(LiveColumn(*row) for row in rows)
        return () if self._kind(connection, target) in ("r", "p") else None

    def key(self, connection: Connection, target: TargetId) -> frozenset[str]:
        """Return the columns of a table's primary key."""
        rows = run(connection, _KEY, [target.namespace, target.table]).fetchall()
        return frozenset(row[0] for row in rows)

    def wanted(self, target: TargetTable) -> tuple[Wanted, ...]:
        """Return the columns a target shall have.

        Raises:
            ConfigError: A type has no exact counterpart.
        """
        columns = [*target.schema.columns]
        if target.mode == "append":
            columns += [Column(f.name, f.type) for f in CHANGE_FIELDS]
        keys = keys_of(target)
        found = []
        for column in columns:
            type_ = self.types.name(column)
            if type_ is None:
                raise ConfigError(
                    f"column {column.name!r} has type {column.type}, which PostgreSQL cannot hold",
                    where=str(target.id),
                    remedy="exclude the column",
                )
            found.append(Wanted(column.name, type_, column.name in keys))
        return tuple(found)

    def create(
        self, connection: Connection, target: TargetTable, place: TargetId, *, bare: bool = False
    ) -> None:
        """Create an empty table of the target's shape, and its schema, where missing.

        Args:
            connection: Within a transaction.
            target: The shape.
            place: The name: the target's own or that of a load's shadow.
            bare: Leave its primary key and upkeep to `complete`, where that can be.

        Raises:
            ConfigError: The name is taken or not to be had, or a type has no exact counterpart.
        """
        for finding in self.check_names(target):
            raise ConfigError(finding.message, remedy=finding.remedy)
        ledger.lock_name(connection, target.id)
        kind = self._kind(connection, place)
        if kind in ("r", "p"):
            return
        if kind is not None:
            raise self._taken(target, kind)
        self.create_namespace(connection, place.namespace)
        name = self.name(place)
        rule = self._rules.of(target.id)
        keys = keys_of(target)
        create = self.dialect.create_table(name, self.wanted(target), keys, rule, bare=bare)
        run(connection, ";\n".join([create, *comments(name, target)]))
        if not rule.is_own:
            self._require_made(connection, target, place)

    def complete(self, connection: Connection, target: TargetTable, place: TargetId) -> None:
        """Give a bare table upkeep by the server, and its primary key if it shall have one.

        Args:
            connection: Within a transaction.
            target: The shape.
            place: The table.

        Raises:
            TerminalError: Two of its rows have one key.
        """
        keys, rule, name = keys_of(target), self._rules.of(target.id), self.name(place)
        if self.dialect.family == "postgres" and UPKEEP not in rule.options + rule.template:
            run(connection, f"ALTER TABLE {name} RESET ({UPKEEP})")
        declared = not rule.template or "columns" in names_of(rule.template)
        if not keys or not declared or self.key(connection, place):
            return
        try:
            run(connection, f"ALTER TABLE {name} ADD PRIMARY KEY ({quote_all(keys)})")
        except errors.UniqueViolation:
            raise repeated_key(target) from None

    def create_namespace(self, connection: Connection, namespace: str) -> None:
        """Create a schema if it is missing; one that is there needs no right to create any."""
        query = "SELECT 1 FROM pg_namespace WHERE nspname = %s"
        if not run(connection, query, [namespace]).fetchone():
            ledger.lock_name(connection, TargetId(namespace, ""))
            run(connection, f"CREATE SCHEMA IF NOT EXISTS {quote(namespace)}")

    def require_fit(self, connection: Connection, target: TargetTable, place: TargetId) -> None:
        """Refuse a table whose columns are not the target's; their order does not matter.

        The table is locked first: rows in binary form must not meet a column of another type.

        Raises:
            SchemaMismatch: Shows both shapes.
        """
        live = self.lock(connection, place, "ROW EXCLUSIVE", target.id)
        if not self._fits(target, live):
            raise shape.misfit(target.id, _show(live), _show(self.wanted(target)))

    def fits(self, connection: Connection, target: TargetTable) -> bool:
        """Return whether the target is there with the columns it shall have."""
        live = self.columns(connection, target.id)
        return live is not None and self._fits(target, live)

    def lock(
        self, connection: Connection, place: TargetId, mode: str, target: TargetId | None = None
    ) -> Columns:
        """Lock a table until the transaction ends; returns its columns.

        Args:
            connection: Within a transaction.
            place: The table.
            mode: PostgreSQL's name of the lock.
            target: The target it stands for, for errors.

        Raises:
            SchemaMismatch: It does not exist.
        """
        try:
            run(connection, f"LOCK TABLE {self.name(place)} IN {mode} MODE")
        except (errors.UndefinedTable, errors.InvalidSchemaName):
            raise shape.no_table(target or place) from None
        return self.columns(connection, place) or ()

    def read_schema(self, connection: Connection, target: TargetId) -> pa.Schema | None:
        """Return the columns there are now, in the Arrow types they were made for."""
        live = self.columns(connection, target)
        if live is None:
            return None
        stored = ledger.read_arrow(connection, target)
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
        if is_system(target.id.namespace):
            message = f"schema {target.id.namespace!r} belongs to PostgreSQL itself"
            findings.append(_error(target, "name_reserved", message))
        names = [target.id.namespace, target.id.table, *target.schema.names]
        for name in names:
            if len(name.encode()) > MAX_BYTES:
                message = f"the name {name!r} has more than {MAX_BYTES} bytes"
                findings.append(_error(target, "name_too_long", message))
        for name in SYSTEM_COLUMNS.intersection(target.schema.names):
            message = f"{name!r} is a column every table of PostgreSQL has already"
            findings.append(_error(target, "name_reserved", message))
        count = len(shape.target_schema(target))
        if count > MAX_COLUMNS:
            message = f"it has {count} columns; PostgreSQL's tables have at most {MAX_COLUMNS}"
            findings.append(_error(target, "too_many_columns", message))
        return findings

    def _live_findings(self, connection: Connection, target: TargetTable) -> list[Finding]:
        kind = self._kind(connection, target.id)
        if kind is None:
            return []
        if kind not in ("r", "p"):
            error = self._taken(target, kind)
            return [_finding(target, "name_collision", error.message, error.remedy)]
        live = self.columns(connection, target.id) or ()
        if not self._fits(target, live):
            return [shape.misfit_finding(target, _show(live), _show(self.wanted(target)))]
        keys = keys_of(target)
        loose = [c.name for c in live if c.name in keys and not c.by_bytes]
        if loose:
            message = f"key columns {loose} have a collation that takes different texts for equal"
            return [_error(target, "key_collation", message)]
        if keys and self.key(connection, target.id) != frozenset(keys):
            message = f"the table there has no primary key on {list(keys)}: merges read all of it"
            return [_error(target, "no_key_index", message, "warning")]
        return []

    def _fits(self, target: TargetTable, live: Columns) -> bool:
        return {(c.name, c.type) for c in live} == {(w.name, w.type) for w in self.wanted(target)}

    def _require_made(self, connection: Connection, target: TargetTable, place: TargetId) -> None:
        """Refuse a table whose rule made something else; the transaction takes it back.

        Raises:
            ConfigError: Shows both.
        """
        live = self.columns(connection, place) or ()
        keys = keys_of(target)
        if not self._fits(target, live) or any(c.name in keys and not c.by_bytes for c in live):
            raise wrongly_made(target.id, _show(live), _show(self.wanted(target)))

    def _kind(self, connection: Connection, target: TargetId) -> str | None:
        rows = run(connection, _RELATION, [target.namespace, target.table]).fetchall()
        return str(rows[0][0]) if rows else None

    def _taken(self, target: TargetTable, kind: str) -> ConfigError:
        return ConfigError(
            f"{target.id}: the name is taken by the {_KINDS.get(kind, 'relation')} {target.id}",
            remedy="route one of them to another name, or drop the one there",
        )


def _show(columns: tuple[LiveColumn, ...] | tuple[Wanted, ...]) -> str:
    return "(" + ", ".join(f"{c.name} {c.type}" for c in columns) + ")"


def _error(target: TargetTable, code: str, message: str, level: Level = "error") -> Finding:
    remedy = {
        "name_reserved": "rename it by a route or a projection",
        "name_too_long": "rename it by a route or a projection",
        "too_many_columns": "leave columns out by a projection",
        "key_collation": 'give them the collation "C"',
        "no_key_index": "add the primary key",
    }[code]
    return _finding(target, code, f"{target.id}: {message}", remedy, level)


def _finding(
    target: TargetTable, code: str, message: str, remedy: str, level: Level = "error"
) -> Finding:
    return Finding(level, code, message, remedy, target.schema.table)
