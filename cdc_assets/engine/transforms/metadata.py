"""Metadata columns: what is known of a change beside its values, by name.

In: a batch and where it comes from. Out: Arrow arrays under the names expressions use.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from resources.model.arrays import from_numbers, from_words, to_numbers
from resources.model.change import OP, SEQ, TS
from resources.model.table_id import TableId

UTC = pa.timestamp("us", tz="UTC")
KINDS = ("+I", "-U", "+U", "-D")
"""Row kinds as Flink prints them, by `RowKind`."""


@dataclass(frozen=True)
class BatchContext:
    """Where a batch comes from.

    Args:
        table: The source table.
        source: Name of the source.
        position: Position of the segment's end, in words; empty without a segment.
        gtid: GTID set at the segment's end, empty where there is none.
        segment: Segment number; of a snapshot's rows the last one before it, 0 for none.
        loaded_at_us: Time of the run, microseconds since the epoch.
        pipeline: The pipeline's name.
    """

    table: TableId
    source: str = ""
    position: str = ""
    gtid: str = ""
    segment: int = 0
    loaded_at_us: int = 0
    pipeline: str = ""


@dataclass(frozen=True)
class MetadataColumn:
    """One metadata column.

    Args:
        name: Its name, with two underscores on both sides.
        type: Arrow type.
        nullable: Whether rows of a snapshot have NULL there.
        stable: Whether all changes of a row give the same value, so that it may be part of a key.
        read: Makes its values.
    """

    name: str
    type: pa.DataType
    nullable: bool
    stable: bool
    read: Callable[[pa.RecordBatch, BatchContext], pa.Array]


def _constant(
    arrow: pa.DataType, value: Callable[[BatchContext], object]
) -> Callable[[pa.RecordBatch, BatchContext], pa.Array]:
    def read(rows: pa.RecordBatch, context: BatchContext) -> pa.Array:
        return pa.repeat(pa.scalar(value(context), arrow), rows.num_rows)

    return read


def _of_change(name: str, arrow: pa.DataType) -> Callable[[pa.RecordBatch, BatchContext], pa.Array]:
    def read(rows: pa.RecordBatch, _: BatchContext) -> pa.Array:
        if name in rows.schema.names:
            return rows.column(name)
        return pa.nulls(rows.num_rows, arrow)

    return read


def _kind(rows: pa.RecordBatch, _: BatchContext) -> pa.Array:
    if OP not in rows.schema.names:
        return pa.repeat(pa.scalar(KINDS[0]), rows.num_rows)
    codes = from_numbers(pa.int8(), to_numbers(rows.column(OP)).astype(np.int8))
    return pa.DictionaryArray.from_arrays(codes, from_words(KINDS)).dictionary_decode()


_ALL = (
    MetadataColumn("__database__", pa.string(), False, True,
                   _constant(pa.string(), lambda c: c.table.database)),
    MetadataColumn("__table__", pa.string(), False, True,
                   _constant(pa.string(), lambda c: c.table.table)),
    MetadataColumn("__op__", pa.string(), False, False, _kind),
    MetadataColumn("__commit_ts__", UTC, True, False, _of_change(TS, UTC)),
    MetadataColumn("__position__", pa.string(), False, False,
                   _constant(pa.string(), lambda c: c.position)),
    MetadataColumn("__gtid__", pa.string(), False, False,
                   _constant(pa.string(), lambda c: c.gtid)),
    MetadataColumn("__segment__", pa.int64(), False, False,
                   _constant(pa.int64(), lambda c: c.segment)),
    MetadataColumn("__source__", pa.string(), False, True,
                   _constant(pa.string(), lambda c: c.source)),
    MetadataColumn("__pipeline__", pa.string(), False, True,
                   _constant(pa.string(), lambda c: c.pipeline)),
    MetadataColumn("__seq__", pa.uint64(), True, False, _of_change(SEQ, pa.uint64())),
    MetadataColumn("__loaded_at__", UTC, False, False,
                   _constant(UTC, lambda c: c.loaded_at_us)),
)  # fmt: skip
METADATA = {column.name: column for column in _ALL}
"""Metadata columns by name."""

ALIASES = {
    "__namespace_name__": "__database__",
    "__schema_name__": "__database__",
    "__table_name__": "__table__",
    "__data_event_type__": "__op__",
}
"""Flink's names of some of them."""


def metadata_column(name: str) -> MetadataColumn | None:
    """Return a metadata column by its name or Flink's name of it, in any case."""
    folded = name.lower()
    return METADATA.get(ALIASES.get(folded, folded))
