"""Constants that rows have in new columns, on the way a row takes: masked, mapped, projected.

In: what a statement tells of the source's columns. Out: the same as the change log may keep it,
and as a target's columns have it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa

from cdc_assets.engine.type_mapping import map_rows
from resources.model.change import Fills, TableNotice
from resources.model.column_change import AddColumn, ColumnChange, DropColumn, RenameColumn
from resources.model.table import TableSchema
from resources.stores.feeds import KeptFill

if TYPE_CHECKING:
    from cdc_assets.engine.rules import Transforms
    from cdc_assets.engine.shaping import Shaping


def stored_fills(transforms: Transforms, notice: TableNotice) -> Fills:
    """Return a statement's fills without what is masked or left out."""
    if not notice.fills or notice.shape is None:
        return ()
    masker = transforms.masker(notice.shape)
    if masker is None:
        return notice.fills
    row = masker.apply(_row(notice.shape, notice.fills))
    left = [name for name, _ in notice.fills if name in row.schema.names]
    return tuple((name, row.column(name)[0]) for name in left)


def shaped_fills(shaping: Shaping, fills: Fills) -> Mapping[str, pa.Scalar] | None:
    """Return what rows that were there have in a target's new columns.

    Args:
        shaping: What rows are from the statement on.
        fills: Of the source's new columns, as the change log has them.

    Returns:
        By the target's column; None if it takes a row to tell: a column is computed of a new one,
        or the value has no counterpart in its mapped type.
    """
    if not fills:
        return {}
    new = {name for name, _ in fills}
    plain = shaping.plain
    if any(new & shaping.lineage[name] for name in shaping.lineage.keys() - plain.keys()):
        return None
    mapped = map_rows(_row(shaping.source, fills), shaping.source, shaping.mapped)
    if mapped.bad:
        return None
    return {name: mapped.rows.column(source)[0] for name, source in plain.items() if source in new}


def followed_fills(
    fills: Sequence[KeptFill], changes: Sequence[ColumnChange], seq: int
) -> tuple[KeptFill, ...]:
    """Return what rows set aside before some statement have in columns they lack.

    Args:
        fills: What is known so far.
        changes: What was done to the target's columns.
        seq: The statement's `_cdc_seq`.
    """
    known = {fill.column: fill for fill in fills}
    for change in changes:
        if isinstance(change, DropColumn):
            known.pop(change.name, None)
        elif isinstance(change, RenameColumn) and change.old in known:
            known[change.new] = replace(known.pop(change.old), column=change.new)
        elif isinstance(change, AddColumn):
            name = change.column.name
            known.pop(name, None)
            if change.fill is not None:
                known[name] = KeptFill(name, seq, change.fill.value)
            elif change.copy_of in known:
                known[name] = replace(known[change.copy_of], column=name)
    return tuple(known.values())


def _row(schema: TableSchema, fills: Fills) -> pa.RecordBatch:
    """Return one row of a table, NULL but for the fills."""
    values = dict(fills)
    fields = [column.field().with_nullable(True) for column in schema.columns]
    arrays = [
        pa.array([values[f.name]], f.type) if f.name in values else pa.nulls(1, f.type)
        for f in fields
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))
