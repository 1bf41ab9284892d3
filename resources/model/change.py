"""Changes: row kinds, the columns every change batch carries, and slices of a source's log.

In: nothing. Out: the vocabulary between sources, the change log and the engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from types import MappingProxyType
from typing import TypeAlias

import pyarrow as pa

from resources.model.position import Position
from resources.model.table import TableId, TableSchema

OP = "_cdc_op"
SEQ = "_cdc_seq"
TS = "_cdc_ts"
CHANGE_FIELDS = (
    pa.field(OP, pa.uint8(), nullable=False),
    pa.field(SEQ, pa.uint64(), nullable=False),
    pa.field(TS, pa.timestamp("us", tz="UTC"), nullable=False),
)
SEGMENT_SHIFT = 32
"""`_cdc_seq` = segment number << SEGMENT_SHIFT | row number within the segment."""


class RowKind(IntEnum):
    """What a row of a change batch is; the codes are those of Flink's and Paimon's RowKind."""

    INSERT = 0
    UPDATE_BEFORE = 1
    UPDATE_AFTER = 2
    DELETE = 3


def change_schema(schema: TableSchema) -> pa.Schema:
    """Return the Arrow schema of a change batch: the table's columns, then `_cdc_op/_seq/_ts`.

    Table columns are nullable throughout: a dirty or partial image must be representable.
    """
    columns = [f.with_nullable(True) for f in schema.arrow()]
    return pa.schema([*columns, *CHANGE_FIELDS])


def first_seq(segment: int) -> int:
    """Return the first `_cdc_seq` of a segment."""
    return segment << SEGMENT_SHIFT


def last_seq(segment: int) -> int:
    """Return the last possible `_cdc_seq` of a segment: the watermark after applying all of it."""
    return ((segment + 1) << SEGMENT_SHIFT) - 1


def segment_of(seq: int) -> int:
    """Return the segment number a `_cdc_seq` lies in."""
    return seq >> SEGMENT_SHIFT


@dataclass(frozen=True)
class ChangeBatch:
    """Changes of one source table in one schema version, in log order.

    Args:
        schema: The table's schema at these changes' log position.
        rows: Record batch of `change_schema(schema)`; out of the change log, of those columns
            that were asked for. From a source, `_cdc_seq` is a plain
            counter of rows since the stream began, over all tables; capture turns it into the
            segment form. An update whose key changed is UPDATE_BEFORE then UPDATE_AFTER;
            other updates carry UPDATE_AFTER alone.
    """

    schema: TableSchema
    rows: pa.RecordBatch


UNDECODABLE = "undecodable"
"""Kind of the notices that stand for rows passed over since their columns are not known."""


Fills: TypeAlias = tuple[tuple[str, pa.Scalar], ...]
"""Names of columns, and the value that rows which were there before them have in each."""


@dataclass(frozen=True)
class TableNotice:
    """Something happened to a table that row changes do not say.

    Args:
        table: The source table.
        seq: Counter value before which it happened (same scale as the rows' `_cdc_seq`).
        kind: `truncate`, `drop`, `create`, `alter`, `rename` (the name is another table's now),
            `rename_away` (the table has another name now), `partition`, `statement` (DML logged
            as text), `incident`, `xa`, or one of the constants of this module.
        detail: The statement with literals cut, or the reason.
        position: Where in the log, in words.
        rewrites: Whether stored values or rows may have changed without row events, so that
            the table has to be read again.
        shape: The table's shape from here on, where the source can tell; None for a table that
            is gone or a shape that is not known.
        origins: Per column of `shape` its name before, empty for a new one.
        was: The name the table had before, where it was renamed.
        fills: Of the new columns those that are not NULL in rows that were there before.
        now: The name the table has from here on, where it was renamed away to a selected one.
    """

    table: TableId
    seq: int
    kind: str
    detail: str
    position: str
    rewrites: bool
    shape: TableSchema | None = None
    origins: tuple[str, ...] = ()
    was: TableId | None = None
    fills: Fills = ()
    now: TableId | None = None


@dataclass(frozen=True)
class RejectedRow:
    """A row the source could not decode; it still holds its place in the order.

    Args:
        schema: The source table as it was when the row was written.
        seq: Its counter value.
        op: Its row kind.
        ts_us: Commit time, microseconds since the epoch.
        position: Where in the log or which chunk, in words.
        key: The key's values as JSON where they could be decoded, else empty.
        field: The column at fault.
        error: The error's class name.
        message: What is wrong, without the value.
        raw: The row image's bytes as the source sent them.
        image: The row as a one-row Arrow IPC stream with NULL in the faulty field, where it
            could be built.
    """

    schema: TableSchema
    seq: int
    op: RowKind
    ts_us: int
    position: str
    key: str
    field: str
    error: str
    message: str
    raw: bytes = b""
    image: bytes = b""

    @property
    def table(self) -> TableId:
        """The source table."""
        return self.schema.table


@dataclass(frozen=True)
class ShapeRecord:
    """What a source remembers of a table's shape, from a place of its log on.

    Args:
        table: The table; with an empty name, its database.
        text: In the source's own words; empty once there is nothing to remember.
    """

    table: TableId
    text: str


NO_SHAPES: Mapping[TableId, str] = MappingProxyType({})
"""No records: a log is read from its origin on, or by a source that keeps none."""


@dataclass(frozen=True)
class LogSlice:
    """A stretch of a source's log, decoded.

    Args:
        batches: Change batches; one table may occur several times, each table's in log order.
        end: The position after this slice. A transaction boundary if `complete`.
        rows: Rows that took a counter value in this slice (rejected ones included).
        first_ts_us: Smallest commit time in it, microseconds since the epoch; 0 if it is empty.
        last_ts_us: Greatest commit time in it; 0 if it is empty.
        complete: Whether the slice ends on a transaction boundary. A source cuts a transaction
            larger than its memory setting into slices of which only the last is complete.
        transactions: Number of transactions that ended in it.
        rejected: Rows that could not be decoded.
        notices: DDL and the like on wanted tables.
        bytes_read: Log bytes this slice stands for.
        shapes: What became of shapes up to its end; kept in the commit that moves the log's end
            there, and given back to the source when it reads on from there.
    """

    batches: list[ChangeBatch]
    end: Position
    rows: int
    first_ts_us: int
    last_ts_us: int
    complete: bool = True
    transactions: int = 0
    rejected: list[RejectedRow] = field(default_factory=list)
    notices: list[TableNotice] = field(default_factory=list)
    bytes_read: int = 0
    shapes: list[ShapeRecord] = field(default_factory=list)
