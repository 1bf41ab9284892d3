"""CREATE TABLE in the MySQL family: what its servers differ in.

In: a target and the types of its columns. Out: statements.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from resources.errors import ConfigError
from resources.sinks.create_table import CreateRule
from resources.sinks.mysql_names import literal, quote, quote_all
from resources.sinks.mysql_session import Server
from resources.sinks.sql import delete, insert, where_all

Family: TypeAlias = Literal["mysql", "doris", "starrocks"]
_TEXT = ("varchar", "longtext")
_FALLBACK = "utf8mb4_bin"
"""Pads texts with spaces before it compares them: only for columns that are no key."""
_MAX_COMMENT = 1024
_DORIS = {
    "tinyint(1)": "boolean",
    "tinyint unsigned": "smallint",
    "smallint unsigned": "int",
    "int unsigned": "bigint",
    "bigint unsigned": "largeint",
    "longtext": "string",
    "year": "smallint",
    "bit(64)": "largeint",
    "timestamp(6)": "datetime(6)",
}


@dataclass(frozen=True)
class Wanted:
    """A column a target shall have.

    Args:
        name: Its name.
        type: Its type in the words of the server's catalog.
        key: Whether it is part of the key of a `merge` target.
        comment: The source's comment.
    """

    name: str
    type: str
    key: bool = False
    comment: str = ""

    def declaration(self, server: Server) -> str:
        """Return it as CREATE TABLE and ALTER TABLE have it, without its name."""
        text = self.type
        if self.type.startswith(_TEXT):
            text += f" CHARACTER SET utf8mb4 COLLATE {server.collation or _FALLBACK}"
        text += " NOT NULL" if self.key else " NULL"
        if self.type == "timestamp(6)" and not self.key:
            text += " DEFAULT NULL"  # else some servers set it at every update
        if self.comment:
            text += f" COMMENT {literal(self.comment[:_MAX_COMMENT])}"
        return text


def create_table(
    server: Server,
    name: str,
    columns: Sequence[Wanted],
    keys: Sequence[str],
    comment: str = "",
    rule: CreateRule | None = None,
) -> str:
    """Return the statement that creates a table, unless it is there.

    Args:
        server: What it can do.
        name: Its quoted name.
        columns: Its columns.
        keys: Key columns in order, none for an `append` target.
        comment: The source's comment.
        rule: What the pipeline file says of it.

    Raises:
        ConfigError: The rule's template does not fit the table.
    """
    plain = ", ".join(f"{quote(c.name)} {c.declaration(server)}" for c in columns)
    key = quote_all(keys)
    whole = f"{plain}, PRIMARY KEY ({key})" if keys else plain
    if rule and rule.template:
        return rule.fill(name, {"columns": whole, "plain_columns": plain, "key": key})
    end = " ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARACTER SET utf8mb4"
    if comment:
        end += f" COMMENT={literal(comment[: 2 * _MAX_COMMENT])}"
    if rule and rule.options:
        end += f" {rule.options}"
    return f"CREATE TABLE IF NOT EXISTS {name} ({whole}){end}"


@dataclass(frozen=True)
class Warehouse:
    """Warehouses that speak the MySQL protocol, have a key in their tables, and no transactions.

    Their statements are rendered and tested as text; the sink does not run on them yet.

    Args:
        family: `doris` or `starrocks`.
    """

    family: Family

    def __post_init__(self) -> None:
        """Refuse a family there is not.

        Raises:
            ConfigError: It is unknown.
        """
        if self.family not in ("doris", "starrocks"):
            raise ConfigError(
                f"there is no warehouse {self.family!r}", remedy="family: doris or starrocks"
            )

    def type(self, column: Wanted) -> str:
        """Return a column's type.

        Raises:
            ConfigError: The warehouse has none that holds the same values.
        """
        if column.type == "time(6)":
            return "bigint"  # microseconds
        if column.type.startswith(("varchar", "varbinary")) and self.family == "starrocks":
            return column.type
        if column.type.startswith("varchar"):
            return "varchar(65533)"
        if column.type.startswith(("longblob", "varbinary", "geometry", "json")):
            if self.family == "starrocks" and column.type != "geometry":
                return "json" if column.type == "json" else "varbinary"
            raise ConfigError(
                f"column {column.name!r} is {column.type}, which Doris has no type for",
                remedy="exclude the column",
            )
        name = _DORIS.get(column.type, column.type)
        return name.replace("datetime(6)", "datetime") if self.family == "starrocks" else name

    def create_table(self, name: str, columns: Sequence[Wanted], keys: Sequence[str]) -> str:
        """Return the statement that creates a table; its key columns come first, as they must."""
        ordered = [c for k in keys for c in columns if c.name == k]
        ordered += [c for c in columns if c.name not in keys]
        parts = [
            f"{quote(c.name)} {self.type(c)}{' NOT NULL' if c.key else ' NULL'}"
            + (f" COMMENT {literal(c.comment)}" if c.comment else "")
            for c in ordered
        ]
        by = quote_all(keys or [columns[0].name])
        model = {"doris": "UNIQUE KEY", "starrocks": "PRIMARY KEY"}[self.family]
        model = model if keys else "DUPLICATE KEY"
        more = ""
        if self.family == "doris":
            more = " BUCKETS AUTO"
            if keys:
                more += ' PROPERTIES ("enable_unique_key_merge_on_write" = "true")'
        return (
            f"CREATE TABLE IF NOT EXISTS {name} ({', '.join(parts)}) {model}({by}) "
            f"DISTRIBUTED BY HASH({by}){more}"
        )

    def upsert(self, name: str, columns: Sequence[str], values: str) -> str:
        """Return the statement that puts rows in the place of those with their keys."""
        return insert(name, quote_all(columns), f"VALUES {values}")

    def delete(self, name: str, keys: Sequence[str], values: str) -> str:
        """Return the statement that deletes rows by key; `values` is a list of tuples."""
        listed = quote(keys[0]) if len(keys) == 1 else f"({quote_all(keys)})"
        return delete(name, where_all(f"{listed} IN ({values})"))
