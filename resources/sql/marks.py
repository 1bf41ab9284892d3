"""The greatest id of many tables in a few statements, for bounds, sensors and lag.

In: tables and their id columns. Out: ids by table.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Any

import sqlalchemy as sa

from resources.errors import ConfigError
from resources.model.position import PollMark
from resources.model.table import TableId
from resources.sql.connection import Database
from resources.sql.flavor import PollTable, table_clause
from resources.sql.flavors import open_flavor

TABLES_PER_STATEMENT = 100


def read_ends(
    connection: sa.Connection, keys: Sequence[tuple[TableId, str]]
) -> dict[str, tuple[int, int] | None]:
    """Return the least and the greatest id of tables, None for an empty one.

    Args:
        connection: The source.
        keys: Tables and their id columns, at most `TABLES_PER_STATEMENT`.

    Raises:
        ConfigError: An id is not an integer.
    """
    parts = []
    for number, (table, key) in enumerate(keys):
        clause = table_clause(table, [key])
        column = clause.c[key]
        # Two subqueries, since SQLite finds both ends in the index only if asked one by one.
        least = sa.select(sa.func.min(column)).select_from(clause).scalar_subquery()
        greatest = sa.select(sa.func.max(column)).select_from(clause).scalar_subquery()
        parts.append(
            sa.select(
                sa.literal_column(str(number)).label("n"),
                least.label("least"),
                greatest.label("greatest"),
            )
        )
    ends: dict[str, tuple[int, int] | None] = {}
    for number, least_id, greatest_id in connection.execute(sa.union_all(*parts)):
        table, key = keys[number]
        if greatest_id is None:
            ends[str(table)] = None
        elif _is_integer(least_id) and _is_integer(greatest_id):
            ends[str(table)] = (int(least_id), int(greatest_id))
        else:
            raise ConfigError(
                f"column {key} of {table} holds ids that are not integers",
                remedy="name an integer column under `keys`, or exclude the table",
            )
    return ends


def _is_integer(value: object) -> bool:
    # The union of signed and unsigned ids is a decimal on MySQL.
    return isinstance(value, int) or (isinstance(value, Decimal) and value == int(value))


def all_ends(
    database: Database, keys: Mapping[TableId, str], budget_seconds: float | None = None
) -> dict[str, tuple[int, int] | None]:
    """Return the least and the greatest id of every table, None for an empty one.

    Args:
        database: The source.
        keys: Tables and their id columns.
        budget_seconds: No further statement is begun after this time; None for no limit.
    """
    deadline = None if budget_seconds is None else time.monotonic() + budget_seconds
    pairs = sorted(keys.items())
    ends: dict[str, tuple[int, int] | None] = {}
    for first in range(0, len(pairs), TABLES_PER_STATEMENT):
        if deadline is not None and time.monotonic() > deadline:
            break
        some = pairs[first : first + TABLES_PER_STATEMENT]
        ends |= database.run(partial(read_ends, keys=some))
    return ends


def count_rows(connection: sa.Connection, table: PollTable, mark: PollMark) -> int:
    """Return the number of rows a mark accounts for: at or below it, outside its open gaps."""
    if mark.high is None:
        return 0
    key = table.key_clause
    seen = sa.and_(
        key <= sa.literal_column(str(mark.high)),
        *(
            sa.not_(key.between(sa.literal_column(str(g.low)), sa.literal_column(str(g.high))))
            for g in mark.gaps
        ),
    )
    statement = sa.select(sa.func.count()).select_from(table.clause).where(seen)
    return int(connection.execute(statement).scalar_one())


def poll_marks(
    url: str,
    keys: Mapping[TableId, str],
    *,
    connect_args: Mapping[str, Any] | None = None,
    budget_seconds: float = 5.0,
) -> dict[str, int | None]:
    """Return the greatest id of tables by `database.table`, for a sensor's tick.

    Args:
        url: SQLAlchemy URL of the source.
        keys: Tables and their id columns (`SqlPollingSource.keys`).
        connect_args: Passed to the driver.
        budget_seconds: Tables that were not reached in this time are left out of the answer.

    Returns:
        None for an empty table.

    Raises:
        SourceUnavailable: The source cannot be reached.
        SchemaMismatch: One of the tables is gone.
    """
    database = open_flavor(url, connect_args or {}, "cdc-assets sensor", "null").database
    try:
        ends = all_ends(database, keys, budget_seconds)
    finally:
        database.close()
    return {table: None if end is None else end[1] for table, end in ends.items()}
