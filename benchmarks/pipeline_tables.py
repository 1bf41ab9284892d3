"""The tables of `benchmarks.pipeline`, and the changes made to them.

In: a private MySQL. Out: a table of a million rows of many types, rounds of changes spread over
all of it, and a proof that the lake ended equal.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from benchmarks.wire_log import MIXED, MIXED_ROWS

if TYPE_CHECKING:
    from tests.servers.family import FamilyServer

NAMESPACE = "bench"
_PART = 20_000
_SUMS = (
    "COUNT(*), SUM(r.id), SUM(r.code), SUM(r.amount), COUNT(r.name), SUM(LENGTH(r.note)), "
    "MIN(r.at), MAX(r.at), COUNT(DISTINCT r.day), COUNT(CASE WHEN r.state = 'paid' THEN 1 END)"
)


class Tables:
    """`rows`, the table that is measured, and `warm`, a small one of the same columns.

    Args:
        server: A private MySQL.
        rows: Rows of `rows`; also the changes of a round.

    Attributes:
        rows: Rows of `rows`, the same after every round; a multiple of 20,000 if that many.
    """

    def __init__(self, server: FamilyServer, rows: int) -> None:
        self._server = server
        self._part = min(_PART, rows)
        self._parts = max(1, rows // _PART)
        self.rows = self._part * self._parts
        self._low, self._high = 0, self.rows
        self._connection: Any = server.connect()
        self._execute(
            f"CREATE DATABASE {NAMESPACE}",
            f"USE {NAMESPACE}",
            f"SET cte_max_recursion_depth = {_PART}",
            "CREATE TABLE numbers (n INT PRIMARY KEY)",
            "INSERT INTO numbers WITH RECURSIVE c AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM c "
            f"WHERE n < {_PART}) SELECT n FROM c",
            f"CREATE TABLE `rows` {MIXED}",
            f"CREATE TABLE warm {MIXED}",
        )
        for base in range(0, self._high, self._part):
            self._insert("rows", base, self._part)
        self._execute("ANALYZE TABLE `rows`")

    def _execute(self, *statements: str) -> int:
        with self._connection.cursor() as cursor:
            return sum(cursor.execute(statement) for statement in statements)

    def _insert(self, table: str, base: int, count: int) -> int:
        rows = MIXED_ROWS.format(base=base, count=count)
        return self._execute(f"INSERT INTO `{table}` {rows}")

    def warm_up(self) -> None:
        """Change the small table."""
        self._execute("DELETE FROM warm")
        self._insert("warm", 0, min(1000, self._part))

    def change(self) -> int:
        """Make a round of changes: three of five rows updated, a fifth replaced by new ones.

        Updates go over the whole table, the oldest rows are deleted, new ones come at its end.

        Returns:
            The number of row changes in the log.
        """
        fifth = self._part // 5
        made = 0
        for _ in range(self._parts):
            made += self._insert("rows", self._high, fifth)
            self._high += fifth
            made += self._execute(
                f"DELETE FROM `rows` WHERE id > {self._low} AND id <= {self._low + fifth}"
            )
            self._low += fifth
        step = max(1, (self._high - self._low) // self._parts)
        for base in range(self._low, self._high, step):
            made += self._execute(
                "UPDATE `rows` SET amount = amount + 1, at = at + INTERVAL 1 SECOND "
                f"WHERE id > {base} AND id <= {base + step} AND id % 5 < 3"
            )
        return made

    def require_equal(self, lake: Path) -> None:
        """Compare counts and sums of `rows` on both sides.

        Raises:
            SystemExit: They differ.
        """
        ((*source,),) = self._server.execute(f"SELECT {_SUMS} FROM {NAMESPACE}.`rows` AS r")
        with duckdb.connect(str(lake), read_only=True) as connection:
            query = f'SELECT {_SUMS} FROM {NAMESPACE}."rows" AS r'
            ((*there,),) = connection.sql(query).fetchall()
        if [str(v) for v in source] != [str(v) for v in there]:
            raise SystemExit(f"the lake differs: {source} on the source, {there} there")
