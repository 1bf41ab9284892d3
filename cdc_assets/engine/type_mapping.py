"""Other types than the source's own, by `pipeline.type_mapping`: the columns, and their values.

In: columns and rows as the change log has them. Out: columns and rows of the mapped types; a row
with a value that is none of its new type is named, never changed. Option names and their meaning
are those of Apache Paimon's synchronization actions.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Literal, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cdc_assets.engine.casts import Mask, cast, valid
from cdc_assets.engine.conform import BadRow, Conformed
from cdc_assets.engine.type_texts import to_text
from resources.model.arrays import from_mask
from resources.model.table import Column, TableSchema

TypeMapping: TypeAlias = Literal[
    "tinyint1-to-bool",
    "bigint-unsigned-to-bigint",
    "char-to-string",
    "longtext-to-bytes",
    "to-string",
    "to-nullable",
]


def mapped(column: Column, options: Collection[TypeMapping]) -> Column:
    """Return a column as the options want it.

    Args:
        column: As the source has it. TINYINT(1) is known by its words (`source_type`), which a log
            without the table's catalog entry does not have.
        options: `tinyint1-to-bool`: TINYINT(1) is bool. `bigint-unsigned-to-bigint`: uint64 is
            int64; BIT stays. `char-to-string`: CHAR and VARCHAR lose their length.
            `longtext-to-bytes`: LONGTEXT is large_binary, in UTF-8. `to-string`: everything but
            bytes, shapes and vectors is string. `to-nullable`: NULL is allowed.
    """
    words = column.source_type.lower()
    made = column
    if "tinyint1-to-bool" in options and _is_tinyint1(column, words):
        made = replace(made, type=pa.bool_())
    if "bigint-unsigned-to-bigint" in options and _is_plain(column, pa.uint64()):
        made = replace(made, type=pa.int64(), source_type=words.replace(" unsigned", ""))
    if "char-to-string" in options and words.startswith(("char", "varchar")):
        made = replace(made, source_type="text")
    if "longtext-to-bytes" in options and words.startswith("longtext"):
        made = replace(made, type=pa.large_binary(), source_type="longblob", charset="")
    if "to-string" in options:
        made = _to_string(made)
    return replace(made, nullable=True) if "to-nullable" in options else made


def mapped_schema(schema: TableSchema, options: Collection[TypeMapping]) -> TableSchema:
    """Return a table's schema as the options want it; a key's columns stay NOT NULL."""
    if not options:
        return schema
    columns = []
    for column in schema.columns:
        made = mapped(column, options)
        keep = column.name in schema.key
        columns.append(replace(made, nullable=column.nullable) if keep else made)
    return replace(schema, columns=tuple(columns))


def map_values(values: pa.Array, given: Column, wanted: Column) -> tuple[pa.Array, Mask | None]:
    """Return a column's values in its mapped type.

    Args:
        values: Of the type of `given`.
        given: The column as the source has it.
        wanted: What `mapped` made of it.

    Returns:
        The array, NULL where a value is none of that type, and the mask of those, None if there
        are none.
    """
    if values.type == wanted.type:
        return values, None
    if pa.types.is_string(wanted.type):
        return to_text(values, given), None
    if pa.types.is_boolean(wanted.type):
        return _to_bool(values)
    if pa.types.is_large_binary(wanted.type):
        return values.cast(pa.large_binary()), None
    return cast(values, wanted.type)


def map_rows(
    rows: pa.RecordBatch,
    given: TableSchema,
    wanted: TableSchema,
    counts: Callable[[str], Mask] | None = None,
) -> Conformed:
    """Bring rows to the mapped types; rows that have them already come back as they are.

    Args:
        rows: The columns of `given`; other columns (`_cdc_…`) pass through.
        given: The schema as the source has it.
        wanted: What `mapped_schema` made of it.
        counts: Per column the rows whose value there counts; one that does not fit in another row
            is NULL. All count if left out.

    Returns:
        The rows that fit, and those with a value that does not.
    """
    before = dict(zip(given.names, given.columns, strict=True))
    after = dict(zip(wanted.names, wanted.columns, strict=True))
    if all(before[name].type == column.type for name, column in after.items()):
        return Conformed(rows, [])
    arrays, bad = [], dict[int, BadRow]()
    for name, values in zip(rows.schema.names, rows.columns, strict=True):
        unfit = None
        if name in after:
            values, unfit = map_values(values, before[name], after[name])
            if unfit is not None and counts is not None:
                unfit = unfit & counts(name)
        arrays.append(values)
        for index in np.flatnonzero(unfit).tolist() if unfit is not None else ():
            message = f"the value, of type {before[name].type}, is no {after[name].type}"
            bad.setdefault(index, BadRow(index, name, message))
    made = pa.RecordBatch.from_arrays(arrays, names=rows.schema.names)
    if not bad:
        return Conformed(made, [])
    good = np.ones(rows.num_rows, dtype=bool)
    good[list(bad)] = False
    keep = from_mask(good)
    return Conformed(made.filter(keep), [bad[index] for index in sorted(bad)], keep)


def _is_plain(column: Column, arrow: pa.DataType) -> bool:
    return column.kind == "plain" and bool(column.type == arrow)


def _is_tinyint1(column: Column, words: str) -> bool:
    return _is_plain(column, pa.int8()) and words.startswith("tinyint(1)")


def _to_string(column: Column) -> Column:
    """Return a column as text; bytes, shapes and vectors have none and stay."""
    t, arrow = pa.types, column.type
    if t.is_large_string(arrow):
        return replace(column, kind="plain", labels=(), source_type="longtext")
    if t.is_binary(arrow) or t.is_large_binary(arrow) or t.is_nested(arrow):
        return column
    return replace(
        column, type=pa.string(), kind="plain", labels=(), source_type="text", charset="utf8mb4"
    )


def _to_bool(values: pa.Array) -> tuple[pa.Array, Mask | None]:
    null = pa.scalar(None, pa.bool_())
    truth = pc.equal(values, 1)
    other = pc.fill_null(pc.not_equal(pc.equal(values, 0), truth), True)
    other = pc.invert(other)
    if not pc.any(other).as_py():
        return truth, None
    return pc.if_else(other, null, truth), valid(pc.if_else(other, True, null))
