"""Tables of the memory sink as Arrow tables, and what a transaction does to them.

In: a live table, rows, column changes. Out: the table afterwards. Row by row in Python: this sink
is for tests and dry runs, and is the plain model the others are compared with.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.types as t

from resources.model.column_change import AddColumn, DropColumn, Fill, RenameColumn, RetypeColumn
from resources.model.table import Column
from resources.sinks.column_plan import PlannedChange
from resources.sinks.contract import Feed, TargetId, TargetTable
from resources.sinks.retype import does_not_fit, is_text, widens
from resources.sinks.shape import belongs_elsewhere, misfit, show_schema

Key = tuple[Any, ...]


def keys(target: TargetTable, rows: pa.Table) -> list[Key]:
    """Return the rows' keys."""
    return list(zip(*(rows[k].to_pylist() for k in target.schema.key), strict=True))


def where(rows: pa.Table, chosen: Iterable[bool]) -> pa.Table:
    """Return the rows chosen by one truth value each."""
    return rows.filter(pa.array(np.fromiter(chosen, dtype=bool, count=rows.num_rows)))


def shaped(schema: pa.Schema, rows: pa.Table) -> pa.Table:
    """Return rows with the columns of a schema, in its order and types."""
    return rows.select(schema.names).cast(schema)


def added(live: pa.Table, rows: pa.Table) -> pa.Table:
    """Return a table with rows behind its own."""
    return pa.concat_tables([live, shaped(live.schema, rows)])


def is_own(target: TargetTable, rows: pa.Table, feed: Feed) -> list[bool]:
    """Return per row whether it belongs to a feed: all do in a target of one feed."""
    if not target.owner:
        return [True] * rows.num_rows
    return [owner == str(feed) for owner in rows[target.owner].to_pylist()]


def foreign_owners(target: TargetTable, live: pa.Table, rows: pa.Table) -> dict[int, str | None]:
    """Return the owner of the key in the live table, for each row that names another one."""
    if not target.owner or target.mode != "merge":
        return {}
    owners = dict(zip(keys(target, live), live[target.owner].to_pylist(), strict=True))
    claims = zip(keys(target, rows), rows[target.owner].to_pylist(), strict=True)
    return {i: owners[key] for i, (key, own) in enumerate(claims) if owners.get(key, own) != own}


def foreign_message(target: TargetTable, rows: pa.Table, index: int, other: str | None) -> str:
    """Return why this row is refused."""
    return belongs_elsewhere(other, rows[target.owner][index].as_py())


@dataclass(frozen=True)
class Folded:
    """A live table with a load folded in: without the feed's old rows, and with the new ones."""

    others: pa.Table
    new: pa.Table
    conflicts: int


def fold(
    target: TargetTable, live: pa.Table, loaded: pa.Table, feed: Feed, keep: Sequence[str]
) -> Folded:
    """Return what the live table becomes; see `Sink.finish_load`.

    Raises:
        SchemaMismatch: The live table lacks a column of the load, or has a narrower one.
    """
    loaded = in_live_types(target, live.schema, loaded)
    own = is_own(target, live, feed)
    old, others = where(live, own), where(live, (not mine for mine in own))
    foreign = foreign_owners(target, live, loaded)
    new = where(loaded, (i not in foreign for i in range(loaded.num_rows)))
    columns = []
    for field in live.schema:
        if field.name in keep:
            kept = dict(zip(keys(target, old), old[field.name].to_pylist(), strict=True))
            values = [kept.get(key) for key in keys(target, new)]
            columns.append(pa.array(values, field.type))
        elif field.name in new.column_names:
            columns.append(new[field.name])
        else:
            columns.append(pa.nulls(new.num_rows, field.type))
    return Folded(others, pa.table(columns, schema=live.schema), len(foreign))


def in_live_types(target: TargetTable, live: pa.Schema, loaded: pa.Table) -> pa.Table:
    """Return loaded rows in the types of the live table, which may be wider by now.

    Raises:
        SchemaMismatch: A column is missing or narrower there.
    """
    for i, field in enumerate(loaded.schema):
        found = live.field(field.name).type if field.name in live.names else None
        if found is None or not widens(field.type, found):
            raise misfit(target.id, show_schema(live), show_schema(loaded.schema))
        column = converted(target.id, field.name, loaded[field.name], found)
        loaded = loaded.set_column(i, field.name, column)
    return loaded


def altered(target: TargetId, live: pa.Table, planned: PlannedChange) -> pa.Table:
    """Return the table after one change of its columns.

    Raises:
        SchemaMismatch: Values do not fit the new type.
    """
    match planned.change:
        case AddColumn(column=column, fill=Fill() as fill):
            return _filled(live, column, fill)
        case AddColumn(column=column, copy_of=copy_of):
            values = pa.nulls(live.num_rows, column.type)
            if copy_of:
                values = converted(target, copy_of, live[copy_of], column.type)
            return live.append_column(column.name, values)
        case DropColumn(name=name):
            return live.drop_columns([name])
        case RenameColumn(old=old, new=new):
            return live.rename_columns([new if n == old else n for n in live.column_names])
        case RetypeColumn(column=column):
            values = converted(target, column.name, live[column.name], column.type)
            index = live.schema.get_field_index(column.name)
            return live.set_column(index, column.name, values)


def _filled(live: pa.Table, column: Column, fill: Fill) -> pa.Table:
    if column.name not in live.column_names:
        live = live.append_column(column.name, pa.nulls(live.num_rows, column.type))
    values = live[column.name].to_pylist()
    owners = live[fill.owner].to_pylist() if fill.owner else [fill.feed] * len(values)
    given = fill.value.as_py()
    filled = [given if o == fill.feed else v for o, v in zip(owners, values, strict=True)]
    index = live.schema.get_field_index(column.name)
    return live.set_column(index, live.schema.field(index), pa.array(filled, column.type))


def described(target: TargetId, planned: PlannedChange) -> str:
    """Return one change in the words of SQL, which this sink does not speak."""
    match planned.change:
        case AddColumn(column=column, copy_of=copy_of, fill=fill):
            values = f" AS COPY OF {copy_of!r}" if copy_of else ""
            if fill:
                whose = f" IN ROWS OF {fill.feed!r}" if fill.owner else ""
                values = f" WITH {fill.value.as_py()!r}{whose}"
            what = f"ADD COLUMN {column.name!r} {column.type}{values}"
        case DropColumn(name=name):
            what = f"DROP COLUMN {name!r}"
        case RenameColumn(old=old, new=new):
            what = f"RENAME COLUMN {old!r} TO {new!r}"
        case RetypeColumn(column=column):
            what = f"ALTER COLUMN {column.name!r} TYPE {column.type}"
    return f"ALTER TABLE {target} {what}"


def converted(
    target: TargetId, name: str, column: pa.ChunkedArray, wanted: pa.DataType
) -> pa.ChunkedArray:
    """Return a column in another type, every value the same.

    Raises:
        SchemaMismatch: Some are not; the message counts them.
    """
    if column.type == wanted:
        return column
    misfits = 0
    values = []
    for value in column.to_pylist():
        try:
            values.append(_same_value(value, wanted))
        except (pa.ArrowInvalid, OverflowError, ValueError):
            misfits += 1
    if misfits:
        raise does_not_fit(target, name, column.type, wanted, misfits)
    return pa.chunked_array([pa.array(values, wanted)])


def _same_value(value: Any, wanted: pa.DataType) -> Any:  # noqa: ANN401 - any Arrow value
    """Return a value that Arrow holds as `wanted` and that equals the one given.

    Raises:
        ValueError: There is none; from Arrow also ArrowInvalid or OverflowError.
    """
    if value is None:
        return None
    if is_text(wanted) and isinstance(value, int):
        return str(value)
    if t.is_timestamp(wanted) and not isinstance(value, dt.datetime):
        value = dt.datetime.combine(value, dt.time())
    elif t.is_date32(wanted) and isinstance(value, dt.datetime):
        value = value.date() if value.time() == dt.time() else None
    elif t.is_decimal(wanted):
        value = Decimal(value)
    elif t.is_integer(wanted) and isinstance(value, Decimal):
        value = int(value) if value == int(value) else None
    elif t.is_floating(wanted) and isinstance(value, int):  # Arrow looks at the size alone
        value = float(value) if float(value) == value else None
    held = None if value is None else pa.scalar(value, wanted).as_py()
    if held != value and not (isinstance(value, float) and value != value):
        raise ValueError("another value")
    if held is None:
        raise ValueError("no such value")
    return held
