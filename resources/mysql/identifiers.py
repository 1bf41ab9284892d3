"""Quoting of identifiers and strings for statements that cannot take parameters.

In: names and texts as the server spells them. Out: SQL fragments safe in every `sql_mode`.
"""

from __future__ import annotations

from resources.errors import ConfigError
from resources.model.table import TableId


def quote_identifier(name: str) -> str:
    """Return a name in backticks, backticks inside doubled.

    Backticks quote in every `sql_mode`; double quotes only under ANSI_QUOTES.

    Raises:
        ConfigError: The name is empty or holds NUL, which no server allows.
    """
    if not name or "\0" in name:
        raise ConfigError(
            "an identifier is empty or holds a NUL character",
            remedy="use the table's or column's name as the server spells it",
        )
    return "`" + name.replace("`", "``") + "`"


def quote_table(table: TableId) -> str:
    """Return `database`.`table`, both quoted."""
    return f"{quote_identifier(table.database)}.{quote_identifier(table.table)}"


def quote_columns(names: tuple[str, ...]) -> str:
    """Return the quoted names joined by commas."""
    return ", ".join(quote_identifier(name) for name in names)
