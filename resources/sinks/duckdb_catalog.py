"""What a DuckDB file holds of our targets: their columns and the Arrow types these stand for.

In: targets. Out: findings, DDL, shapes as they are now.
"""

from __future__ import annotations

import duckdb
import pyarrow as pa

from resources.errors import ConfigError
from resources.model.source import Finding
from resources.model.table import Column
from resources.sinks import shape
from resources.sinks.contract import TargetId, TargetTable
from resources.sinks.create_table import CreateRules, wrongly_made
from resources.sinks.duckdb_connection import DuckDBFile
from resources.sinks.duckdb_names import fold, quote, quote_all
from resources.sinks.duckdb_types import duckdb_type, is_text_decimal
from resources.sinks.sql import delete, insert, select

Columns = tuple[tuple[str, str], ...]
"""Column names and DuckDB types in order."""

_SYSTEM_NAMESPACES = frozenset({"information_schema", "pg_catalog", "temp", "system"})


_OF_TARGET = "WHERE namespace = ? AND target = ?"


class DuckDBCatalog:
    """Tables and the ledger of one DuckDB file.

    Args:
        file: The database file.
        text_decimals: Whether DECIMAL beyond 38 digits may become VARCHAR.
        rules: How tables are created.
    """

    def __init__(
        self, file: DuckDBFile, text_decimals: bool, rules: CreateRules | None = None
    ) -> None:
        self._file = file
        self._text_decimals = text_decimals
        self._rules = rules or CreateRules()

    def check(self, target: TargetTable) -> list[Finding]:
        """Return everything that keeps the target from being held exactly."""
        findings = [*shape.shape_findings(target, fold), *self._type_findings(target)]
        if findings:
            return findings
        findings = self._name_findings(target)
        if any(f.level == "error" for f in findings):
            return findings
        live = self.columns(target.id)
        wanted = self.wanted_columns(target)
        if live is not None and dict(live) != dict(wanted):
            findings.append(shape.misfit_finding(target, show(live), show(wanted)))
        return findings

    def name(self, target: TargetId) -> str:
        """Return the target's quoted name."""
        return self._file.name(target.namespace, target.table)

    def columns(self, target: TargetId) -> Columns | None:
        """Return a table's columns as DuckDB has them now, None if it does not exist."""
        query = select("*", self.name(target), "LIMIT 0")
        try:
            relation = self._file.connection.sql(query)
        except duckdb.CatalogException:
            return None
        return tuple((n, str(t)) for n, t in zip(relation.columns, relation.types, strict=True))

    def wanted_columns(self, target: TargetTable) -> Columns:
        """Return the columns a target shall have.

        Raises:
            ConfigError: A type has no exact counterpart.
        """
        fields = shape.target_schema(target)
        return tuple((f.name, self.storage_type(target.id, f)) for f in fields)

    def storage_type(self, target: TargetId, column: Column | pa.Field) -> str:
        """Return the DuckDB type of a column.

        Raises:
            ConfigError: There is no exact one.
        """
        type_ = duckdb_type(column.type)
        if type_ is None or (is_text_decimal(column.type) and not self._text_decimals):
            raise ConfigError(
                f"column {column.name!r} has type {column.type}, which DuckDB cannot hold",
                where=str(target),
                remedy=_type_remedy(column.type),
            )
        return type_

    def create(self, target: TargetTable, table: str) -> None:
        """Create an empty table of the target's shape, and its schema, where missing.

        Args:
            target: The shape, and the namespace.
            table: The table's name, the target's own or that of a load's shadow.

        Raises:
            ConfigError: The names collide, or a type has no exact counterpart.
        """
        for finding in self._name_findings(target):
            if finding.level == "error":
                raise ConfigError(finding.message, remedy=finding.remedy)
        keys = shape.keys_of(target)
        columns = ", ".join(
            f"{quote(name)} {type_}{' NOT NULL' if name in keys else ''}"
            for name, type_ in self.wanted_columns(target)
        )
        connection = self._file.connection
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {self._file.name(target.id.namespace)}")
        name, rule = self._file.name(target.id.namespace, table), self._rules.of(target.id)
        if rule.is_own:
            connection.execute(f"CREATE TABLE IF NOT EXISTS {name} ({columns})")
        elif self.columns(TargetId(target.id.namespace, table)) is None:
            places = {"columns": columns, "plain_columns": columns, "key": quote_all(keys)}
            connection.execute(rule.fill(name, places))
            self._require_made(target, table)

    def _require_made(self, target: TargetTable, table: str) -> None:
        """Refuse a table whose rule made something else; the transaction takes it back.

        Raises:
            ConfigError: Shows both.
        """
        live = self.columns(TargetId(target.id.namespace, table)) or ()
        wanted = self.wanted_columns(target)
        if dict(live) != dict(wanted):
            raise wrongly_made(target.id, show(live), show(wanted))

    def require_fit(self, target: TargetTable, table: str) -> None:
        """Refuse a table whose columns are not the target's, in whatever order.

        Raises:
            SchemaMismatch: Shows both shapes.
        """
        live = self.columns(TargetId(target.id.namespace, table))
        if live is None:
            raise shape.no_table(target.id)
        wanted = self.wanted_columns(target)
        if dict(live) != dict(wanted):
            raise shape.misfit(target.id, show(live), show(wanted))

    def read_schema(self, target: TargetId) -> pa.Schema | None:
        """Return the columns there are now, in the Arrow types they were made for."""
        live = self.columns(target)
        if live is None:
            return None
        stored = self._stored_schema(target)
        query = select("*", self.name(target), "LIMIT 0")
        exported = self._file.connection.sql(query).to_arrow_table().schema
        fields = []
        for (name, type_), field in zip(live, exported, strict=True):
            known = stored.field(name) if stored is not None and name in stored.names else None
            fits = known is not None and duckdb_type(known.type) == type_
            fields.append(known if fits else pa.field(name, field.type))
        return pa.schema(fields)

    def store_schema(self, target: TargetId, schema: pa.Schema) -> None:
        """Remember the Arrow types a table's columns stand for, if they are not known yet."""
        stored = self._stored_schema(target)
        if stored is None or not stored.equals(schema):
            self._file.connection.execute(
                insert(
                    self._file.ledger("tables"),
                    "",
                    "VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET arrow = excluded.arrow",
                ),
                [target.namespace, target.table, schema.serialize().to_pybytes()],
            )

    def forget(self, target: TargetId) -> None:
        """Delete the ledger's rows of a table."""
        for table in ("watermarks", "tables", "loads", "loaded_chunks"):
            self._file.connection.execute(
                delete(self._file.ledger(table), _OF_TARGET),
                [target.namespace, target.table],
            )

    def _stored_schema(self, target: TargetId) -> pa.Schema | None:
        rows = self._file.connection.execute(
            select("arrow", self._file.ledger("tables"), _OF_TARGET),
            [target.namespace, target.table],
        ).fetchall()
        return pa.ipc.read_schema(pa.py_buffer(rows[0][0])) if rows else None

    def _type_findings(self, target: TargetTable) -> list[Finding]:
        findings = []
        for column in target.schema.columns:
            refused = is_text_decimal(column.type) and not self._text_decimals
            if refused or duckdb_type(column.type) is None:
                message = (
                    f"{target.id}: column {column.name!r} ({column.source_type or column.type}) "
                    f"is Arrow {column.type}, which DuckDB cannot hold exactly"
                )
                remedy = _type_remedy(column.type)
                findings.append(
                    Finding("error", "type_refused", message, remedy, target.schema.table)
                )
        return findings

    def _name_findings(self, target: TargetTable) -> list[Finding]:
        """Compare with the tables and views there are, under DuckDB's folding of names."""
        if fold(target.id.namespace) in _SYSTEM_NAMESPACES:
            message = f"{target.id}: schema {target.id.namespace!r} belongs to DuckDB itself"
            remedy = "route the table to another schema"
            return [Finding("error", "name_reserved", message, remedy, target.schema.table)]
        taken = self._file.connection.execute(
            "SELECT table_schema, table_name, table_type FROM information_schema.tables "
            "WHERE table_catalog = current_database() AND lower(table_schema) = lower(?)",
            [target.id.namespace],
        ).fetchall()
        findings = []
        for namespace, table, kind in taken:
            there = TargetId(namespace, table)
            same = (fold(namespace), fold(table)) == (
                fold(target.id.namespace),
                fold(target.id.table),
            )
            if same and (there != target.id or kind != "BASE TABLE"):
                message = f"{target.id}: the name is taken by the {kind.lower()} {there}"
                remedy = "route one of them to another name, or drop the one there"
                findings.append(
                    Finding("error", "name_collision", message, remedy, target.schema.table)
                )
        return findings


def show(columns: Columns) -> str:
    """Return columns on one line."""
    return "(" + ", ".join(f"{name} {type_}" for name, type_ in columns) + ")"


def _type_remedy(type_: pa.DataType) -> str:
    if is_text_decimal(type_):
        return "set `types: {decimal_overflow: text}` on the sink, or exclude the column"
    return "exclude the column"
