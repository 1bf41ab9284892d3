"""Names and literals in PostgreSQL: how they enter a statement, and which are not to be had."""

from __future__ import annotations

from collections.abc import Iterable

from resources.errors import ConfigError

MAX_BYTES = 63
"""Bytes of the longest name; the server cuts longer ones off without an error."""
SYSTEM_COLUMNS = frozenset({"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"})
"""Names every table has already."""


def quote(name: str) -> str:
    """Return an identifier in double quotes: the one way a name enters a statement.

    Raises:
        ConfigError: The name is empty, longer than 63 bytes or holds a NUL character.
    """
    if not name or "\0" in name or len(name.encode()) > MAX_BYTES:
        raise ConfigError(
            "a name in PostgreSQL has 1 to 63 bytes of UTF-8 and no NUL character",
            where=repr(name[:80]),
            remedy="rename the table or column by a route or a projection",
        )
    return '"' + name.replace('"', '""') + '"'


def quote_all(names: Iterable[str], prefix: str = "") -> str:
    """Return identifiers quoted, each after `prefix`, and joined by commas."""
    return ", ".join(prefix + quote(n) for n in names)


def literal(text: str) -> str:
    """Return text as a string literal; sessions have `standard_conforming_strings` on."""
    return "'" + text.replace("\0", "").replace("'", "''") + "'"


def fold(name: str) -> str:
    """Return the form in which quoted names are compared: as they are."""
    return name


def is_system(namespace: str) -> bool:
    """Return whether a schema belongs to the server."""
    return namespace == "information_schema" or namespace.startswith("pg_")
