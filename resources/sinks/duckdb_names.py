"""Names in DuckDB: quoting, folding, and the statement parts made of them."""

from __future__ import annotations

import string
from collections.abc import Iterable

from resources.errors import ConfigError

_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def quote(name: str) -> str:
    """Return an identifier in double quotes: the one way a name enters a DuckDB statement.

    Raises:
        ConfigError: The name is empty or holds a NUL character.
    """
    if not name or "\0" in name:
        raise ConfigError(
            "a name in DuckDB cannot be empty or hold a NUL character",
            remedy="rename the table or column by a route or a projection",
        )
    return '"' + name.replace('"', '""') + '"'


def quote_all(names: Iterable[str]) -> str:
    """Return identifiers quoted and joined by commas."""
    return ", ".join(quote(n) for n in names)


def fold(name: str) -> str:
    """Return the form in which DuckDB compares names: ASCII letters in lower case, no others."""
    return name.translate(_LOWER)
