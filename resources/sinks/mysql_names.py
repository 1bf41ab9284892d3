"""Names and literals in the MySQL family: how they enter a statement, and which cannot be had."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from resources.errors import ConfigError

MAX_LENGTH = 64
"""Characters of the longest name of a database, table or column."""
SYSTEM_DATABASES = frozenset(
    {"mysql", "information_schema", "performance_schema", "sys", "oceanbase", "test_schema"}
    | {"__internal_schema", "_statistics_"}
)
"""Databases of the servers themselves."""


def wrong(name: str) -> str:
    """Return what keeps a name from being had, empty if nothing does."""
    if not name or "\0" in name:
        return "is empty or holds a NUL character"
    if len(name) > MAX_LENGTH:
        return f"has more than {MAX_LENGTH} characters"
    if name.endswith(" "):
        return "ends with a space"
    if any(c > "\uffff" for c in name):
        return "has a character beyond U+FFFF, which names here cannot have"
    return ""


def quote(name: str) -> str:
    """Return an identifier in backticks: the one way a name enters a statement.

    Raises:
        ConfigError: No table or column can be called so.
    """
    if why := wrong(name):
        raise ConfigError(
            f"a name {why}",
            where=repr(name[:80]),
            remedy="rename the table or column by a route or a projection",
        )
    return "`" + name.replace("`", "``") + "`"


def quote_all(names: Iterable[str], prefix: str = "") -> str:
    """Return identifiers quoted, each after `prefix`, and joined by commas."""
    return ", ".join(prefix + quote(n) for n in names)


def literal(text: str) -> str:
    """Return text as a string literal; backslashes escape in the sessions of the sink."""
    text = text.replace("\\", "\\\\").replace("'", "\\'").replace("\0", "\\0")
    return f"'{text}'"


def fold(name: str) -> str:
    """Return the form in which column names are compared: without case and accents.

    Servers compare them by `utf8mb3_general_ci`; this folds a little more than that.
    """
    plain = unicodedata.normalize("NFKD", name)
    return "".join(c for c in plain if not unicodedata.combining(c)).casefold()


def is_system(namespace: str) -> bool:
    """Return whether a database belongs to the server."""
    return namespace.lower() in SYSTEM_DATABASES
