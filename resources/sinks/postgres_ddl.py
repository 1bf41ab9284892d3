"""CREATE TABLE in the PostgreSQL family: what its servers differ in.

In: a target and the PostgreSQL types of its columns. Out: statements.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from resources.errors import ConfigError
from resources.sinks.contract import TargetTable
from resources.sinks.create_table import CreateRule
from resources.sinks.postgres_names import literal, quote, quote_all
from resources.sinks.sql import select

Family = Literal["postgres", "greenplum"]
C_COLLATION = ' COLLATE "C"'


@dataclass(frozen=True)
class Wanted:
    """A column a target shall have.

    Args:
        name: Its name.
        type: Its type in the words of PostgreSQL's catalog.
        key: Whether it is part of the key of a `merge` target.
    """

    name: str
    type: str
    key: bool = False

    def declaration(self) -> str:
        """Return it as CREATE TABLE has it; text keys compare by bytes."""
        collation = C_COLLATION if self.key and self.type == "text" else ""
        return f"{quote(self.name)} {self.type}{collation}{' NOT NULL' if self.key else ''}"


UPKEEP = "autovacuum_enabled"
"""The setting of a table that says whether the server looks after it."""


@dataclass(frozen=True)
class Dialect:
    """What one server of the family needs.

    Args:
        family: `postgres`; or `greenplum` for Greenplum, PieCloudDB and their like, which lay a
            table's rows out by a distribution key and enforce keys only along it.
    """

    family: Family = "postgres"

    def __post_init__(self) -> None:
        """Refuse a family there is not.

        Raises:
            ConfigError: It is unknown.
        """
        if self.family not in ("postgres", "greenplum"):
            raise ConfigError(
                f"the PostgreSQL sink knows no family {self.family!r}",
                remedy="family: postgres or greenplum",
            )

    def create_table(
        self,
        name: str,
        columns: Sequence[Wanted],
        keys: Sequence[str],
        rule: CreateRule | None = None,
        *,
        bare: bool = False,
    ) -> str:
        """Return the statement that creates a table.

        Args:
            name: Its quoted name.
            columns: Its columns.
            keys: Key columns in order, none for an `append` target.
            rule: What the pipeline file says of it.
            bare: Without its primary key and the server's upkeep, which come later: autovacuum
                reads a table that is loaded chunk by chunk again and again. Tables of templates,
                and tables that lie by their key, have both from the start.

        Raises:
            ConfigError: The rule's template does not fit the table.
        """
        plain = ", ".join(c.declaration() for c in columns)
        key = quote_all(keys)
        whole = f"{plain}, PRIMARY KEY ({key})" if keys else plain
        if rule and rule.template:
            return rule.fill(name, {"columns": whole, "plain_columns": plain, "key": key})
        options = f" {rule.options}" if rule and rule.options else ""
        if bare and self.family == "postgres":
            whole, options = plain, options or f" WITH ({UPKEEP} = false)"
        layout = "" if "DISTRIBUTED" in options.upper() else self.layout(keys)
        return f"CREATE TABLE {name} ({whole}){options}{layout}"

    def layout(self, keys: Sequence[str]) -> str:
        """Return what says where a table's rows lie: by their key, so that it can be enforced."""
        if self.family == "postgres":
            return ""
        return f" DISTRIBUTED BY ({quote_all(keys)})" if keys else " DISTRIBUTED RANDOMLY"

    def create_keys(self, table: str, live: str, columns: Sequence[str], more: str = "") -> str:
        """Return the statement of a temporary table with some of a table's columns.

        Args:
            table: Its quoted name.
            live: The quoted name of the table whose types and collations it takes.
            columns: The columns it takes.
            more: A further column, as an expression with its name.
        """
        chosen = quote_all(columns) + (f", {more}" if more else "")
        layout = self.layout(columns)
        none = select(chosen, live, f"WITH NO DATA{layout}")
        return f"CREATE TEMPORARY TABLE {table} ON COMMIT DROP AS {none}"


def comments(name: str, target: TargetTable) -> list[str]:
    """Return the statements that carry the source's comments over."""
    statements = []
    if target.schema.comment:
        statements.append(f"COMMENT ON TABLE {name} IS {literal(target.schema.comment)}")
    statements += [
        f"COMMENT ON COLUMN {name}.{quote(c.name)} IS {literal(c.comment)}"
        for c in target.schema.columns
        if c.comment
    ]
    return statements
