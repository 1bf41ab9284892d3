"""The tables a log has spoken of: their numbers within a transaction, their compiled decoders.

In: TABLE_MAP events. Out: row decoders by table number; None for tables nobody asked for, whose
maps are not even read.
"""

from __future__ import annotations

from collections.abc import Callable

from resources.errors import CorruptEvent
from resources.model.table import TableId
from resources.mysql.binlog.gtid import Flavor
from resources.mysql.binlog.options import StreamOptions
from resources.mysql.binlog.rows import RowDecoder
from resources.mysql.binlog.table_map import parse_table_map, table_name, table_number
from resources.mysql.binlog.table_schema import build_table

_KEPT = 10_000


class KnownTables:
    """Table maps of a log, compiled once per shape.

    Args:
        flavor: Whose log it is.
        wanted: Which tables' changes are asked for.
        options: Policy for dates, and the catalog.

    Attributes:
        seen: Wanted tables that had rows so far.
    """

    def __init__(
        self, flavor: Flavor, wanted: Callable[[TableId], bool], options: StreamOptions
    ) -> None:
        self._flavor = flavor
        self._wanted = wanted
        self._options = options
        self._answers: dict[TableId, bool] = {}
        self._by_number: dict[int, RowDecoder | None] = {}
        self._by_body: dict[bytes, RowDecoder | None] = {}
        self._current: dict[TableId, RowDecoder] = {}
        self.seen: set[TableId] = set()

    def wanted(self, table: TableId) -> bool:
        """Return whether a table's changes are asked for; each table is asked about once."""
        answer = self._answers.get(table)
        if answer is None:
            answer = self._answers[table] = self._wanted(table)
        return answer

    def define(self, body: bytes, where: str) -> None:
        """Take a TABLE_MAP's body."""
        number = table_number(body)
        try:
            self._by_number[number] = self._by_body[body]
        except KeyError:
            if len(self._by_body) >= _KEPT:
                self._by_body.clear()
            self._by_number[number] = self._by_body[body] = self._compile(body, where)

    def get(self, number: int, where: str) -> RowDecoder | None:
        """Return the decoder for a row event's table, None if nobody asked for it.

        Raises:
            CorruptEvent: No TABLE_MAP came before it in its transaction.
        """
        try:
            return self._by_number[number]
        except KeyError:
            raise CorruptEvent(
                f"rows of table number {number} came without its TABLE_MAP",
                where=where,
                remedy="start at a transaction boundary, as this project's positions are",
            ) from None

    def forget_numbers(self) -> None:
        """Forget which number means which table: numbers hold for one transaction."""
        self._by_number.clear()

    def _compile(self, body: bytes, where: str) -> RowDecoder | None:
        table = table_name(body)
        if not self.wanted(table):
            return None
        self.seen.add(table)
        built = build_table(
            parse_table_map(body, self._flavor),
            self._options.catalog(table),
            self._options.zero_dates,
            where,
        )
        current = self._current.get(table)
        if current is None or current.table.schema != built.schema:
            # Rows of an unchanged shape go on in one batch, though its map has a new number.
            current = self._current[table] = RowDecoder(built)
        return current
