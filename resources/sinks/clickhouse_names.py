"""Names and literals in ClickHouse: the one way each enters a statement.

In: names and values. Out: their text in a statement. ClickHouse compares names byte by byte.
https://clickhouse.com/docs/sql-reference/syntax
"""

from __future__ import annotations

from collections.abc import Iterable

from resources.errors import ConfigError

MAX_FILE_NAME = 200
"""Bytes a table's name may take as the name of its metadata file, `.sql.tmp` and such not counted;
file systems stop at 255."""
_ESCAPES = str.maketrans({"\\": "\\\\", "`": "\\`", "'": "\\'", "\n": "\\n", "\0": "\\0"})


def quote(name: str) -> str:
    """Return an identifier in backticks.

    Raises:
        ConfigError: The name is empty or holds a NUL character.
    """
    if not name or "\0" in name:
        raise ConfigError(
            "a name in ClickHouse cannot be empty or hold a NUL character",
            remedy="rename the table or column by a route or a projection",
        )
    return "`" + name.translate(_ESCAPES) + "`"


def quote_all(names: Iterable[str]) -> str:
    """Return identifiers quoted and joined by commas."""
    return ", ".join(quote(n) for n in names)


def literal(text: str) -> str:
    """Return a string literal."""
    return "'" + text.translate(_ESCAPES) + "'"


def fold(name: str) -> str:
    """Return the form in which names are compared: as they are."""
    return name


def file_name_bytes(name: str) -> int:
    """Return how many bytes ClickHouse writes a name with in the file system.

    All but ASCII letters, digits and underscores become `%XX`, byte by byte.
    """
    plain = sum(c.isascii() and (c.isalnum() or c == "_") for c in name)
    return 3 * len(name.encode()) - 2 * plain
