"""The tables a log has spoken of: their numbers within a transaction, the shapes of wanted ones.

In: TABLE_MAP events. Out: the arrays by which the walk knows maps and shapes again; shapes by
slot. Tables nobody asked for have no slot; their maps are not even read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import pyarrow as pa

from resources.errors import CorruptEvent
from resources.model.change import change_schema
from resources.model.table import TableId
from resources.mysql.binlog.gtid import Flavor
from resources.mysql.binlog.options import StreamOptions
from resources.mysql.binlog.table_map import (
    TableMap,
    parse_table_map,
    table_name,
    table_number,
)
from resources.mysql.binlog.table_schema import DecodableTable, build_table
from resources.mysql.binlog.wire_cells import layout_of, steps_of_cells
from resources.mysql.kernels import walk_state as w
from resources.mysql.kernels.cells import Bytes, Ints
from resources.mysql.kernels.direct import Steps
from resources.mysql.schema_history.history import UndecodableTableError

_KEPT = 10_000
_NUMBER_BYTES = 6
_FREE = -1


@dataclass(frozen=True)
class Shape:
    """A wanted table as its rows are now.

    Args:
        table: Schema, columns on the wire, key.
        arrow: `change_schema` of the schema.
        steps: What makes columns of its row images.
    """

    table: DecodableTable
    arrow: pa.Schema
    steps: Steps


class KnownTables:
    """Table maps of a log, compiled once each.

    Args:
        flavor: Whose log it is.
        wanted: Which tables' changes are asked for.
        options: Policy for dates, the catalog, and the history of shapes.
        undecodable: Told of a wanted table whose rows cannot be decoded where its map stands, and
            why.

    Attributes:
        seen: Wanted tables that had rows so far.
        shapes: The shape of each slot.
        maps: Known maps, as the walk finds them by table number.
        arena: Their bodies.
        slots: What the walk knows of each slot.
        layout: What it knows of their columns.
    """

    def __init__(
        self,
        flavor: Flavor,
        wanted: Callable[[TableId], bool],
        options: StreamOptions,
        undecodable: Callable[[TableId, str], None],
    ) -> None:
        self._flavor = flavor
        self._wanted = wanted
        self._options = options
        self._undecodable = undecodable
        self._kept = _KEPT
        self._answers: dict[TableId, bool] = {}
        self._latest: dict[TableId, int] = {}
        self.seen: set[TableId] = set()
        self._forget()

    def _forget(self) -> None:
        self.shapes: list[Shape] = []
        self._details: list[bytes] = []
        self._known: dict[int, int] = {}
        self._arena_used = self._layout_used = 0
        self.maps: Ints = np.full((64, w.MAP_FIELDS), _FREE, np.int64)
        self.arena: Bytes = np.empty(1 << 14, np.uint8)
        self.slots: Ints = np.empty((16, w.SLOT_FIELDS), np.int64)
        self.layout: Ints = np.empty((256, w.CELL_FIELDS), np.int64)

    @property
    def full(self) -> bool:
        """Whether the next map makes it forget the others, and all slots get new numbers."""
        return len(self._known) >= self._kept

    def wanted(self, table: TableId) -> bool:
        """Return whether a table's changes are asked for; each table is asked about once."""
        answer = self._answers.get(table)
        if answer is None:
            answer = self._answers[table] = self._wanted(table)
        return answer

    def define(self, body: bytes, epoch: int, where: str) -> None:
        """Take a TABLE_MAP's body; its number holds for the epoch."""
        if self.full:
            self._shrink(epoch)
        at = self._known.get(table_number(body))
        if at is not None and self._body(at) == body:
            self.maps[at, w.MAP_EPOCH] = epoch
            return
        try:
            self._keep(table_number(body), body, self._slot(body, where), epoch)
        except UndecodableTableError as error:
            self._undecodable(table_name(body), str(error))
            # Without its body the walk never knows it again: elsewhere it may be decodable.
            self._keep(table_number(body), b"", _FREE, epoch)

    def forget(self, changed: Callable[[TableId], bool]) -> None:
        """Forget what maps of these tables mean: the same bytes may stand for another shape."""
        for at in self._known.values():
            slot = self.maps[at, w.MAP_SLOT]
            if slot >= 0 and changed(self.shapes[slot].table.schema.table):
                self.maps[at, w.MAP_SIZE] = 0

    def get(self, number: int, epoch: int, where: str) -> Shape | None:
        """Return the shape of a row event's table, None if nobody asked for it.

        Raises:
            CorruptEvent: No TABLE_MAP came before it in its transaction.
        """
        at = self._known.get(number)
        if at is None or self.maps[at, w.MAP_EPOCH] != epoch:
            raise CorruptEvent(
                f"rows of table number {number} came without its TABLE_MAP",
                where=where,
                remedy="start at a transaction boundary, as this project's positions are",
            )
        slot = int(self.maps[at, w.MAP_SLOT])
        return self.shapes[slot] if slot >= 0 else None

    def touched(self, epoch: int) -> set[TableId]:
        """Return the wanted tables that had rows in an epoch."""
        marked = np.flatnonzero(self.slots[: len(self.shapes), w.SLOT_EPOCH] == epoch)
        return {self.shapes[slot].table.schema.table for slot in marked}

    def _body(self, at: int) -> bytes:
        _, _, begin, size, _ = self.maps[at]
        return self.arena[begin : begin + size].tobytes()

    def _slot(self, body: bytes, where: str) -> int:
        """Return the slot of a map's table, made for a new shape; -1 if nobody asked for it."""
        table = table_name(body)
        if not self.wanted(table):
            return -1
        self.seen.add(table)
        built = self._build(parse_table_map(body, self._flavor), where)
        latest = self._latest.get(table)
        if latest is not None and self.shapes[latest].table.schema == built.schema:
            if self._details[latest] == body[_NUMBER_BYTES:]:
                return latest
            # Rows of an unchanged schema go on in one batch, whatever changed on the wire.
            built = replace(built, schema=self.shapes[latest].table.schema)
        self._latest[table] = slot = self._add(built, body[_NUMBER_BYTES:])
        return slot

    def _build(self, table_map: TableMap, where: str) -> DecodableTable:
        """Compile a map; without names of its own, by the history of its table's shape."""
        history, zero_dates = self._options.history, self._options.zero_dates
        if history is None or table_map.named:
            if history is not None:
                history.check_map(table_map, where)
            return build_table(table_map, self._options.catalog(table_map.table), zero_dates, where)
        named, schema = history.name_map(table_map, where)
        return replace(build_table(named, schema, zero_dates, where), schema=schema)

    def _add(self, table: DecodableTable, details: bytes) -> int:
        slot, first, columns = len(self.shapes), self._layout_used, len(table.columns)
        steps = steps_of_cells(table.columns, len(table.schema.columns))
        self.shapes.append(Shape(table, change_schema(table.schema), steps))
        self._details.append(details)
        self.slots = _grown(self.slots, slot + 1)
        watched = self._options.watched(table.schema)
        compared = {*table.key, *(i for i, n in enumerate(table.schema.names) if n in watched)}
        self.slots[slot] = first, columns, len(compared) if table.key else 0, _FREE
        self._layout_used += columns
        self.layout = _grown(self.layout, self._layout_used)
        self.layout[first : self._layout_used] = layout_of(table.columns, compared)
        return slot

    def _keep(self, number: int, body: bytes, slot: int, epoch: int) -> None:
        begin, self._arena_used = self._arena_used, self._arena_used + len(body)
        self.arena = _grown(self.arena, self._arena_used)
        self.arena[begin : self._arena_used] = np.frombuffer(body, np.uint8)
        if 2 * len(self._known) >= len(self.maps):
            self._rehash()
        self._place((number, slot, begin, len(body), epoch))

    def _rehash(self) -> None:
        old = [tuple(self.maps[at].tolist()) for at in self._known.values()]
        self.maps = np.full((2 * len(self.maps), w.MAP_FIELDS), _FREE, np.int64)
        self._known = {}
        for row in old:
            self._place(row)

    def _place(self, row: tuple[int, ...]) -> None:
        mask = len(self.maps) - 1
        at = row[0] & mask
        while self.maps[at, w.MAP_NUMBER] not in (_FREE, row[0]):
            at = (at + 1) & mask
        self.maps[at] = row
        self._known[row[0]] = at

    def _shrink(self, epoch: int) -> None:
        """Forget all but the maps of the epoch."""
        held = [
            (number, self._body(at), int(self.maps[at, w.MAP_SLOT]))
            for number, at in self._known.items()
            if self.maps[at, w.MAP_EPOCH] == epoch
        ]
        old, touched = self.shapes, self.touched(epoch)
        latest, details = self._latest, self._details
        self._kept = max(self._kept, 2 * len(held))
        self._forget()
        # The newest shape of every table stays, so that its rows go on in one batch.
        moved = {slot: self._add(old[slot].table, details[slot]) for slot in latest.values()}
        self._latest = {table: moved[slot] for table, slot in latest.items()}
        for number, body, slot in held:
            if slot >= 0 and slot not in moved:
                moved[slot] = self._add(old[slot].table, details[slot])
            self._keep(number, body, moved.get(slot, -1), epoch)
        for slot, shape in enumerate(self.shapes):
            if shape.table.schema.table in touched:
                self.slots[slot, w.SLOT_EPOCH] = epoch


_Array = TypeVar("_Array", Bytes, Ints)


def _grown(array: _Array, length: int) -> _Array:
    """Return an array with at least `length` rows, and room for as many again if it grew."""
    if length <= len(array):
        return array
    more = np.empty((2 * length, *array.shape[1:]), array.dtype)
    more[: len(array)] = array
    return more
