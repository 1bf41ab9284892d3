"""Decoded rows, a column at a time, into Arrow.

In: lists of values in the form of `values`. Out: record batches of `change_schema`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from resources.model.change import change_schema
from resources.model.table import TableSchema
from resources.mysql.types import GEOMETRY


def change_batch(
    schema: TableSchema,
    rows: Sequence[Sequence[Any]],
    ops: Sequence[int],
    seqs: Sequence[int],
    times_us: Sequence[int],
) -> pa.RecordBatch:
    """Return rows as a batch of `change_schema(schema)`.

    Args:
        schema: Their table.
        rows: One sequence of values per row, in column order.
        ops: Row kinds.
        seqs: Counter values.
        times_us: Commit times, microseconds since the epoch.
    """
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(schema.columns)
    arrays = [
        column_array(column.type, values)
        for column, values in zip(schema.columns, columns, strict=True)
    ]
    arrays.append(pa.array(np.array(ops, np.uint8)))
    arrays.append(pa.array(np.array(seqs, np.uint64)))
    arrays.append(pa.array(np.array(times_us, np.int64)).view(pa.timestamp("us", tz="UTC")))
    return pa.RecordBatch.from_arrays(arrays, schema=change_schema(schema))


def column_array(arrow: pa.DataType, values: Sequence[Any]) -> pa.Array:
    """Return one column.

    Args:
        arrow: Its type.
        values: Python values; unscaled ints for decimals, ints for dates and times, SRID and
            WKB end to end for geometries, float32 end to end for vectors; None for NULL.
    """
    if pa.types.is_decimal(arrow):
        return _decimals(arrow, values)
    if arrow == GEOMETRY:
        return _geometries(values)
    if pa.types.is_list(arrow):
        return _vectors(arrow, values)
    if pa.types.is_date(arrow):
        return pa.array(values, pa.int32()).view(arrow)
    if pa.types.is_temporal(arrow):
        return pa.array(values, pa.int64()).view(arrow)
    return pa.array(values, arrow)


def _decimals(arrow: pa.DataType, values: Sequence[int | None]) -> pa.Array:
    """Lay unscaled integers out as Arrow stores decimals: little-endian two's complement."""
    size = arrow.bit_width // 8
    raw = b"".join([(v or 0).to_bytes(size, "little", signed=True) for v in values])
    return pa.Array.from_buffers(arrow, len(values), [_validity(values), pa.py_buffer(raw)])


def _validity(values: Sequence[object]) -> pa.Buffer | None:
    if None not in values:
        return None
    present = np.fromiter((v is not None for v in values), np.bool_, len(values))
    return pa.py_buffer(np.packbits(present, bitorder="little"))


def _geometries(values: Sequence[bytes | None]) -> pa.Array:
    null = pa.array([v is None for v in values], pa.bool_())
    srid = [0 if v is None else int.from_bytes(v[:4], "little") for v in values]
    wkb = [None if v is None else v[4:] for v in values]
    fields = [pa.array(srid, pa.uint32()), pa.array(wkb, pa.binary())]
    return pa.StructArray.from_arrays(fields, fields=list(GEOMETRY), mask=null)


def _vectors(arrow: pa.DataType, values: Sequence[bytes | None]) -> pa.Array:
    raw = b"".join([v for v in values if v is not None])
    sizes = np.fromiter((0 if v is None else len(v) // 4 for v in values), np.int64, len(values))
    offsets = np.concatenate(([0], np.cumsum(sizes))).astype(np.int32)
    null = np.fromiter((v is None for v in values), np.bool_, len(values))
    edges = pa.array(offsets, mask=np.append(null, False))
    return pa.ListArray.from_arrays(edges, pa.array(np.frombuffer(raw, "<f4")), type=arrow)
