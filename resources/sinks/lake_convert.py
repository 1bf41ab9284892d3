"""Columns of files in other types or under other names, every value the same or none at all.

In: rows in the Arrow types of a target, changes of its columns. Out: the rows afterwards. Arrow's
own checked casts where they are exact; where one refuses, value by value.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as t

from resources.model.column_change import AddColumn, DropColumn, Fill, RenameColumn, RetypeColumn
from resources.sinks import memory_tables
from resources.sinks.column_plan import PlannedChange
from resources.sinks.contract import TargetId, TargetTable
from resources.sinks.retype import widens
from resources.sinks.shape import misfit, show_schema

_WIDE = pa.decimal256(76, 0)


def convert_exactly(
    target: TargetId, name: str, column: pa.ChunkedArray, wanted: pa.DataType
) -> pa.ChunkedArray:
    """Return a column in another type that `retype.convertible` allows, every value the same.

    Raises:
        SchemaMismatch: Some values do not fit; the message counts them.
    """
    if column.type == wanted:
        return column
    try:
        converted = _cast(column, wanted)
        if _is_same(column, converted):
            return converted
    except pa.ArrowInvalid:
        pass  # Arrow refuses some that fit, too: by type and not by value
    return memory_tables.converted(target, name, column, wanted)


def change_columns(target: TargetId, rows: pa.Table, changes: Sequence[PlannedChange]) -> pa.Table:
    """Return rows after changes of their columns.

    Raises:
        SchemaMismatch: Values do not fit a new type.
    """
    for planned in changes:
        rows = _changed(target, rows, planned)
    return rows


def in_live_types(target: TargetTable, live: pa.Schema, rows: pa.Table) -> pa.Table:
    """Return loaded rows in the types of the live table, which may be wider by now.

    Raises:
        SchemaMismatch: A column is missing or narrower there.
    """
    require_wider(target, live, rows.schema)
    for i, field in enumerate(rows.schema):
        wanted = live.field(field.name).type
        column = convert_exactly(target.id, field.name, rows[field.name], wanted)
        rows = rows.set_column(i, field.name, column)
    return rows


def require_wider(target: TargetTable, live: pa.Schema, loaded: pa.Schema) -> None:
    """Refuse a live table that has not all columns of a load in its types or wider ones.

    Raises:
        SchemaMismatch: Shows both shapes.
    """
    for field in loaded:
        if field.name not in live.names or not widens(field.type, live.field(field.name).type):
            raise misfit(target.id, show_schema(live), show_schema(loaded))


def _changed(target: TargetId, rows: pa.Table, planned: PlannedChange) -> pa.Table:
    match planned.change:
        case AddColumn(column=column, fill=Fill() as fill):
            return _filled(rows, column.name, column.type, fill)
        case AddColumn(column=column, copy_of=copy_of) if copy_of:
            values = convert_exactly(target, copy_of, rows[copy_of], column.type)
            return rows.append_column(column.name, values)
        case AddColumn(column=column):
            return rows.append_column(column.name, pa.nulls(rows.num_rows, column.type))
        case DropColumn(name=name):
            return rows.drop_columns([name])
        case RenameColumn(old=old, new=new):
            return rows.rename_columns([new if n == old else n for n in rows.column_names])
        case RetypeColumn(column=column):
            values = convert_exactly(target, column.name, rows[column.name], column.type)
            return rows.set_column(rows.column_names.index(column.name), column.name, values)


def _filled(rows: pa.Table, name: str, type_: pa.DataType, fill: Fill) -> pa.Table:
    value = fill.value.cast(type_)
    there = rows[name] if name in rows.column_names else pa.nulls(rows.num_rows, type_)
    if fill.owner:
        own = pc.fill_null(pc.equal(rows[fill.owner], fill.feed), False)
        values = pc.if_else(own, value, there)
    else:
        values = pa.chunked_array([pa.repeat(value, rows.num_rows)], type_)
    if name not in rows.column_names:
        return rows.append_column(name, values)
    return rows.set_column(rows.column_names.index(name), name, values)


def _cast(column: pa.ChunkedArray, wanted: pa.DataType) -> pa.ChunkedArray:
    if t.is_integer(column.type) and t.is_decimal(wanted):
        column = column.cast(pa.decimal128(20, 0)).cast(_WIDE)
        if wanted.scale:
            column = column.cast(pa.decimal256(76, wanted.scale))
    return column.cast(wanted)


def _is_same(old: pa.ChunkedArray, new: pa.ChunkedArray) -> bool:
    """Return whether the casts that Arrow does not check have kept every value."""
    narrower = t.is_floating(old.type) and t.is_floating(new.type)
    if not (narrower or (t.is_timestamp(old.type) and t.is_date32(new.type))):
        return True
    same = pc.equal(new.cast(old.type), old)
    if narrower:
        same = pc.or_(same, pc.is_nan(old))
    return bool(pc.all(same).as_py() in (True, None))
