"""A table's name on its source, apart from its schema so that definitions load without Arrow.

In: two names. Out: an immutable, ordered value.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class TableId:
    """A table's name on its source.

    Args:
        database: The database (MySQL) or schema (other SQL servers).
        table: The table's name as the server spells it.
    """

    database: str
    table: str

    def __str__(self) -> str:
        """Return `database.table`, the form used in keys, logs and metadata."""
        return f"{self.database}.{self.table}"
