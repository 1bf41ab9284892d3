"""What is known of shapes at a place of a log, and the text it is kept as.

In: records of an earlier run. Out: immutable states; records of what changed since.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from resources.model.change import ShapeRecord
from resources.model.position import BinlogPosition, position_from_json
from resources.model.table import TableId
from resources.mysql.schema_history.apply import Shapes
from resources.mysql.schema_history.shape import TableShape, shape_from_json
from resources.mysql.working_copies import is_working_copy

_SCOPE = TableId("", "")


class StoredShapes(Mapping[TableId, TableShape]):
    """Shapes as they were kept, each read when it is first needed.

    Args:
        items: By table; what `TableShape.to_json` gave, or the shape itself.
    """

    def __init__(self, items: Mapping[TableId, TableShape | dict[str, Any]]) -> None:
        self._items = dict(items)

    def __getitem__(self, table: TableId) -> TableShape:
        """Return a table's shape."""
        item = self._items[table]
        if isinstance(item, dict):
            item = self._items[table] = shape_from_json(item)
        return item

    def __iter__(self) -> Iterator[TableId]:
        """Yield the tables."""
        return iter(self._items)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._items)

    @cached_property
    def copies(self) -> frozenset[TableId]:
        """The tables among them that schema change tools work with."""
        return frozenset(table for table in self._items if is_working_copy(table.table))

    @cached_property
    def databases(self) -> frozenset[str]:
        """Their databases."""
        return frozenset(table.database for table in self._items)

    def changed(self, table: TableId, shape: TableShape | None) -> StoredShapes:
        """Return a copy in which a table has another shape, or none."""
        items = dict(self._items)
        items.pop(table, None)
        return StoredShapes(items if shape is None else {**items, table: shape})


@dataclass(frozen=True)
class Memory:
    """What is known at a place of a log.

    Args:
        shapes: The shapes.
        since: For shapes from the catalog, the position from which on they are sure to hold.
        assumed: Those of them that are taken to hold before it, too.
        scope: Words for which tables were captured up to there, empty where reading begins.
        unsaid: Tables, and databases as tables without a name, whose records are due.
    """

    shapes: Shapes
    since: Mapping[TableId, BinlogPosition] = field(default_factory=dict)
    assumed: frozenset[TableId] = frozenset()
    scope: str = ""
    unsaid: frozenset[TableId] = frozenset()

    @property
    def stored(self) -> StoredShapes:
        """The shapes of tables."""
        tables = self.shapes.tables
        return tables if isinstance(tables, StoredShapes) else StoredShapes(tables)

    def shapes_at(self, past: Callable[[BinlogPosition], bool]) -> Shapes:
        """Return the shapes that hold at a place; others count as lost there.

        Args:
            past: Tells whether the place lies behind a position.
        """
        later = {table for table, since in self.since.items() if not past(since)}
        if not later:
            return self.shapes
        held = {t: shape for t, shape in self.stored.items() if t not in later}
        return replace(self.shapes, tables=held, lost=self.shapes.lost | later)

    def with_shape(
        self,
        table: TableId,
        shape: TableShape | None,
        since: BinlogPosition | None = None,
        assumed: bool = False,
    ) -> Memory:
        """Return a memory in which a table has a shape, or is there in an unknown one."""
        known = self._without(table)
        lost = known.shapes.lost if shape is not None else known.shapes.lost | {table}
        tables = known.stored.changed(table, shape)
        return replace(
            known,
            shapes=replace(known.shapes, tables=tables, lost=lost),
            since=known.since if since is None else {**known.since, table: since},
            assumed=known.assumed | {table} if assumed else known.assumed,
        )

    def without(self, table: TableId) -> Memory:
        """Return a memory in which a table is not there."""
        known = self._without(table)
        tables = known.stored.changed(table, None)
        return replace(known, shapes=replace(known.shapes, tables=tables))

    def _without(self, table: TableId) -> Memory:
        return replace(
            self,
            shapes=replace(self.shapes, lost=self.shapes.lost - {table}),
            since={t: position for t, position in self.since.items() if t != table},
            assumed=self.assumed - {table},
            unsaid=self.unsaid | {table},
        )

    def with_charset(self, database: str, charset: str) -> Memory:
        """Return a memory in which a database has a default character set, empty if unknown."""
        charsets = {**self.shapes.charsets, database: charset}
        return replace(
            self,
            shapes=replace(self.shapes, charsets=charsets),
            unsaid=self.unsaid | {TableId(database, "")},
        )

    def with_scope(self, scope: str) -> Memory:
        """Return a memory of other captured tables."""
        return replace(self, scope=scope, unsaid=self.unsaid | {_SCOPE})

    def sure(self, table: TableId) -> Memory:
        """Return a memory in which a shape from the catalog is past its position."""
        since = {t: position for t, position in self.since.items() if t != table}
        return replace(self, since=since, assumed=self.assumed - {table})

    def records(self) -> list[ShapeRecord]:
        """Return the records that are due."""
        return [ShapeRecord(table, self._text(table)) for table in sorted(self.unsaid)]

    def _text(self, table: TableId) -> str:
        if table == _SCOPE:
            return json.dumps({"scope": self.scope})
        if not table.table:
            charset = self.shapes.charsets.get(table.database, "")
            return json.dumps({"charset": charset}) if charset else ""
        shape = self.shapes.tables.get(table)
        if shape is None and table not in self.shapes.lost:
            return ""
        since = self.since.get(table)
        value = {
            "shape": shape and shape.to_json(),
            "since": since and since.to_json(),
            "assumed": table in self.assumed,
        }
        return json.dumps(value)


def recall(records: Mapping[TableId, str], blank: Shapes) -> Memory:
    """Return the memory that records were made of.

    Args:
        records: The last record of each table and database.
        blank: Whose shapes they are; knows nothing yet.
    """
    tables: dict[TableId, TableShape | dict[str, Any]] = {}
    charsets: dict[str, str] = {}
    since: dict[TableId, BinlogPosition] = {}
    lost, assumed, scope = set(), set(), ""
    for table, text in records.items():
        value = json.loads(text)
        if table == _SCOPE:
            scope = value["scope"]
            continue
        if not table.table:
            charsets[table.database] = value["charset"]
            continue
        if value["shape"] is None:
            lost.add(table)
            continue
        tables[table] = value["shape"]
        if value["since"] is not None:
            position = position_from_json(value["since"])
            assert isinstance(position, BinlogPosition), "no other log has shapes"
            since[table] = position
        if value["assumed"]:
            assumed.add(table)
    shapes = replace(blank, tables=StoredShapes(tables), charsets=charsets, lost=frozenset(lost))
    return Memory(shapes, since, frozenset(assumed), scope)
