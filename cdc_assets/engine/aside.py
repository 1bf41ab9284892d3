"""Rows that cannot be written: set aside, superseded by newer ones, counted against the limits.

In: what a sink refused. Out: open dirty rows in the state store; the good rows go on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from cdc_assets.engine.pipeline import Pipeline
from cdc_assets.engine.report import TableReport
from cdc_assets.engine.route import route_table
from resources.errors import DirtyLimitExceeded, DirtyRowError
from resources.model.change import RejectedRow, RowKind, segment_of
from resources.model.keys import key_texts
from resources.model.table import TableId
from resources.sinks.contract import RejectedWrite, Sink, TargetTable
from resources.stores.dirty_rows import DirtyRow, Stage

if TYPE_CHECKING:
    from cdc_assets.engine.reduce import Reduced


def set_aside(
    pipeline: Pipeline,
    sink: Sink,
    report: TableReport,
    target: TargetTable,
    rows: pa.Table,
    seqs: pa.Array,
    error: DirtyRowError,
) -> pa.Array:
    """Store the rows the sink refuses, and say which may be written.

    They are stored before the good rows are committed: a crash in between finds them again
    under the same identity.

    Args:
        pipeline: The opened pipeline.
        sink: The sink, asked which rows it refuses.
        report: Counts them.
        target: The table.
        rows: What was to be written.
        seqs: Their `_cdc_seq`, uint64.
        error: What the sink said.

    Returns:
        Boolean mask of the rows to keep.

    Raises:
        DirtyRowError: The sink refused the batch, but no single row of it.
        DirtyLimitExceeded: More were set aside than the pipeline allows.
    """
    refused = sink.find_rejected(target, rows)
    if not refused:
        raise error
    found = refused_rows(pipeline, "apply", report.table, target, rows, refused)
    found = [
        replace(row, seq=seq, position=f"segment {segment_of(seq)}")
        for row, seq in zip(found, (seqs[r.index].as_py() for r in refused), strict=True)
    ]
    pipeline.dirty.add(found)
    report.dirty += len(found)
    check_limit(pipeline, report.table, rows.num_rows)
    return accepted(rows, refused)


def accepted(rows: pa.Table, refused: Sequence[RejectedWrite]) -> pa.Array:
    """Return the boolean mask of the rows that were not refused."""
    keep = np.ones(rows.num_rows, dtype=bool)
    keep[[r.index for r in refused]] = False
    return pa.array(keep)


def refused_rows(
    pipeline: Pipeline,
    stage: Stage,
    table: TableId,
    target: TargetTable,
    rows: pa.Table,
    refused: Sequence[RejectedWrite],
) -> list[DirtyRow]:
    """Return dirty rows for what a sink refused, one each, in order; seq and position are unset."""
    keys = key_texts(rows.take(pa.array([r.index for r in refused], pa.int64())), target.schema.key)
    return [
        DirtyRow(
            id=None,
            pipeline=pipeline.name,
            stage=stage,
            table=table,
            target=str(target.id),
            seq=0,
            op=RowKind.UPDATE_AFTER,
            key=key,
            position="",
            field=r.field,
            error="RejectedWrite",
            message=r.message,
            image=ipc_bytes(rows.slice(r.index, 1)) if pipeline.options.keep_images else b"",
        )
        for r, key in zip(refused, keys, strict=True)
    ]


def undecoded_row(pipeline: Pipeline, stage: Stage, row: RejectedRow) -> DirtyRow:
    """Return the dirty row for one that the source could not decode."""
    return DirtyRow(
        id=None,
        pipeline=pipeline.name,
        stage=stage,
        table=row.table,
        target=str(route_table(row.table)),
        seq=row.seq,
        op=row.op,
        key=row.key,
        position=row.position,
        field=row.field,
        error=row.error,
        message=row.message,
        image=row.image if pipeline.options.keep_images else b"",
        raw=row.raw if pipeline.options.keep_images else b"",
        ts_us=row.ts_us,
    )


def ipc_bytes(rows: pa.Table) -> bytes:
    """Return rows as an Arrow IPC stream, the form dirty rows keep their image in."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows)
    return bytes(sink.getvalue())


def supersede(pipeline: Pipeline, table: TableId, target: TargetTable, reduced: Reduced) -> None:
    """Mark open dirty rows whose key these changes replace: full images make them moot.

    Done before the sink commits: the changes are durable in the change log, so they will be
    applied whatever happens, and a replay must not put an old row over them.
    """
    waiting = pipeline.dirty.open_rows(table=table, target=str(target.id))
    if not waiting:
        return
    wanted = {row.key for row in waiting}
    touched: list[str] = []
    for part in (reduced.upserts, reduced.deletes):
        touched += [k for k in key_texts(part, target.schema.key) if k in wanted]
    if touched:
        pipeline.dirty.supersede(str(target.id), touched, reduced.last_seq)


def check_limit(pipeline: Pipeline, table: TableId, rows: int) -> None:
    """Stop the table if more of its rows lie open than the pipeline allows.

    Raises:
        DirtyLimitExceeded: With the counts and the ways out.
    """
    options = pipeline.options
    count = pipeline.dirty.count_open(table=table)
    ratio = options.max_dirty_ratio
    over_ratio = ratio is not None and rows >= options.min_dirty_rows and count > ratio * rows
    if count > options.max_dirty or over_ratio:
        limit = f"{options.max_dirty} rows" if count > options.max_dirty else f"ratio {ratio}"
        raise DirtyLimitExceeded(
            f"{count} dirty rows of {table} are open, the limit is {limit}",
            where=str(table),
            remedy="look at them on the asset's page, mend the cause and run the pipeline's "
            "replay job, or raise dirty_data.max_rows",
        )
