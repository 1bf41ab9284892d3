"""What a route makes of a table's rows: transforms, the shards' columns, whose they are.

In: rows in one schema version of a source table. Out: rows in the shape the pipeline wants for
the target, and those a transform failed on. What the target has by now is `conform`'s matter.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from cdc_assets.engine.casts import Mask
from cdc_assets.engine.conform import BadRow
from cdc_assets.engine.route import target_id
from cdc_assets.engine.routing import OWNER, Route
from cdc_assets.engine.type_mapping import map_rows
from resources.model.arrays import to_numbers
from resources.model.change import CHANGE_FIELDS, OP, RowKind
from resources.model.table import Column, TableSchema
from resources.sinks.contract import Feed, Mode, TargetTable

if TYPE_CHECKING:
    from cdc_assets.engine.transforms.metadata import BatchContext
    from cdc_assets.engine.transforms.transform import Transform, Transformed

_CHANGE_NAMES = frozenset(f.name for f in CHANGE_FIELDS)


@dataclass(frozen=True)
class Shaped:
    """Rows in the wanted shape.

    Args:
        rows: They; changes keep their `_cdc_*` columns.
        failed: Rows of those handed in that are not among them.
        gone: Changes that leave no row, if they are not among `rows`: keys and `_cdc_*` columns.
    """

    rows: pa.RecordBatch
    failed: tuple[BadRow, ...] = ()
    gone: pa.RecordBatch | None = None


@dataclass(frozen=True)
class Shaping:
    """What a route makes of one schema version.

    Args:
        source: The schema of the rows handed in.
        mapped: The same in the types the pipeline asks for (`type_mapping`).
        wanted: Columns and key that come out.
        route: The route.
        transform: What comes before the route's own columns, None for nothing.
        constants: Names and values of the columns the route adds.
        whole: Whether deleted rows are in the target too, so that all of their values count.
    """

    source: TableSchema
    mapped: TableSchema
    wanted: TableSchema
    route: Route
    transform: Transform | None
    constants: tuple[tuple[str, str], ...]
    whole: bool = False

    @property
    def partition_keys(self) -> tuple[str, ...]:
        """Columns the target's files are laid out by."""
        return self.transform.partition_keys if self.transform is not None else ()

    @property
    def needed(self) -> Collection[str]:
        """Columns of the source that anything reads; rows handed in may lack all others."""
        return self.transform.needed if self.transform is not None else self.source.names

    @property
    def lineage(self) -> Mapping[str, frozenset[str]]:
        """The source columns every wanted column is made of; none of those the route adds."""
        if self.transform is not None:
            return self.transform.lineage
        return {name: frozenset({name}) for name in self.source.names}

    @property
    def plain(self) -> Mapping[str, str]:
        """The wanted columns that are one of the source, untouched, and that one's name."""
        if self.transform is not None:
            return self.transform.plain
        return {name: name for name in self.source.names}

    def target(self, mode: Mode) -> TargetTable:
        """Return the target as this version of the table wants it."""
        owner = OWNER if self.route.shared else ""
        return TargetTable(target_id(self.route), self.wanted, mode, owner, self.partition_keys)

    def changes(self, rows: pa.RecordBatch, context: Callable[[], BatchContext]) -> Shaped:
        """Shape changes: rows of `change_schema(source)`.

        Args:
            rows: They, in log order; columns that are not `needed` may be missing.
            context: Gives what expressions may ask beside the columns; called if one may.
        """
        return self._shape(rows, lambda t, r: t.apply(r, context()))

    def split(self, rows: pa.RecordBatch, context: Callable[[], BatchContext]) -> Shaped:
        """Shape changes, with those that leave no row apart where that saves work; as `changes`."""
        return self._shape(rows, lambda t, r: t.split(r, context()))

    def rows(self, rows: pa.RecordBatch, context: Callable[[], BatchContext]) -> Shaped:
        """Shape rows of a snapshot's chunk: rows of the source's own columns; as `changes`."""
        return self._shape(rows, lambda t, r: t.apply_rows(r, context()))

    def origins(self, origins: Sequence[str], after: TableSchema) -> Mapping[str, str]:
        """Return what the wanted columns were called before a statement.

        Args:
            origins: Per column of the source's new shape its name before, empty for a new one.
            after: That shape.
        """
        before = dict(zip(after.names, origins, strict=True))
        if self.transform is None:
            plain = {name: before[name] for name in self.wanted.names if name in before}
        else:
            lineage = self.transform.lineage
            plain = {
                name: before[name]
                for name in self.wanted.names
                if lineage.get(name) == frozenset({name}) and name in before
            }
        return {name: plain.get(name, name) for name in self.wanted.names}

    def _shape(
        self,
        rows: pa.RecordBatch,
        apply: Callable[[Transform, pa.RecordBatch], Transformed],
    ) -> Shaped:
        failed: list[BadRow] = []
        numbers = gone = None
        if self.mapped is not self.source:
            found = map_rows(rows, self.source, self.mapped, self._counts(rows))
            failed = list(found.bad)
            rows = found.rows
            numbers = None if found.keep is None else np.flatnonzero(found.keep)
        if self.transform is not None:
            done = apply(self.transform, rows)
            rows, gone = done.rows, done.gone
            failed += [
                bad if numbers is None else bad._replace(row=int(numbers[bad.row]))
                for bad in done.failed
            ]
        failed.sort(key=lambda bad: bad.row)
        gone = None if gone is None else self._with_constants(gone)
        return Shaped(self._with_constants(rows), tuple(failed), gone)

    def _counts(self, rows: pa.RecordBatch) -> Callable[[str], Mask] | None:
        """Return which values count: of rows that are deleted by key, those it is made of."""
        if self.whole or OP not in rows.schema.names:
            return None
        ops = to_numbers(rows.column(OP))
        after = (ops == RowKind.INSERT) | (ops == RowKind.UPDATE_AFTER)
        key = {origin for name in self.wanted.key for origin in self.lineage.get(name, ())}
        return lambda name: after | (name in key)

    def _with_constants(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        if not self.constants:
            return rows
        at = rows.num_columns - len(_CHANGE_NAMES.intersection(rows.schema.names))
        arrays = list(rows.columns)
        fields = list(rows.schema)
        for name, value in self.constants:
            arrays.insert(at, pa.repeat(pa.scalar(value, pa.string()), rows.num_rows))
            fields.insert(at, pa.field(name, pa.string()))
            at += 1
        return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))


def shape_route(
    route: Route,
    schema: TableSchema,
    mapped: TableSchema,
    transform: Transform | None,
    feed: Feed,
    whole: bool = False,
) -> Shaping:
    """Return what a route makes of one schema version of its table.

    Args:
        route: The route.
        schema: The version.
        mapped: It in the types the pipeline asks for; the same value if it asks for none.
        transform: The transform compiled for that, None if there is none.
        feed: Whose rows they are, for a shared target.
        whole: Whether deleted rows are in the target too.
    """
    made = transform.schema if transform is not None else mapped
    constants = list(route.shard)
    if route.shared:
        constants.append((OWNER, str(feed)))
    added = tuple(
        Column(name, pa.string(), nullable=False, comment="added by the pipeline's route")
        for name, _ in constants
    )
    key = made.key
    if route.shard_in_key and key:
        key = (*key, *(name for name, _ in route.shard))
    wanted = replace(made, columns=(*made.columns, *added), key=key)
    return Shaping(schema, mapped, wanted, route, transform, tuple(constants), whole)
