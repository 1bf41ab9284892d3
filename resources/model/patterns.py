"""Which tables a pattern of a pipeline file means, the same for every source and for the engine.

In: patterns `database.table` as fnmatch knows them. Out: yes or no.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from fnmatch import fnmatchcase

from resources.model.table_id import TableId


def matches(pattern: str, table: TableId, fold_case: bool = False) -> bool:
    """Return whether a pattern means a table; its first dot divides database and table.

    Args:
        pattern: `database.table`, each part with `*`, `?` and `[…]`.
        table: The table.
        fold_case: Whether the server ignores case in names.
    """
    database, name = table.database, table.table
    if fold_case:
        pattern, database, name = pattern.lower(), database.lower(), name.lower()
    left, _, right = pattern.partition(".")
    return fnmatchcase(database, left) and fnmatchcase(name, right)


def selects(
    include: Iterable[str], exclude: Iterable[str], table: TableId, fold_case: bool = False
) -> bool:
    """Return whether some pattern of `include` means the table and none of `exclude` does."""
    return any(matches(p, table, fold_case) for p in include) and not any(
        matches(p, table, fold_case) for p in exclude
    )


def filter_selects(capture_filter: str, table: TableId) -> bool:
    """Return whether a segment's `capture_filter` (`{"include": […], "exclude": […]}`) did.

    Case is ignored on the side that selects less, so the answer yes is always true.
    """
    patterns = json.loads(capture_filter)
    if not selects(patterns["include"], (), table):
        return False
    return not any(matches(p, table, fold_case=True) for p in patterns["exclude"])
