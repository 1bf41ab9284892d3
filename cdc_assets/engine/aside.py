"""Rows that cannot be written: set aside, superseded by newer ones, counted against the limits.

In: what a sink refused. Out: open dirty rows in the state store; the good rows go on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from cdc_assets.engine.pipeline import Pipeline
from cdc_assets.engine.report import TableReport
from resources.errors import DirtyLimitExceeded, DirtyRowError
from resources.model.change import RowKind, segment_of
from resources.model.keys import key_texts
from resources.model.table import TableId
from resources.sinks.contract import RejectedWrite, Sink, TargetTable
from resources.stores.dirty_rows import DirtyRow

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
    rejected = sink.find_rejected(target, rows)
    if not rejected:
        raise error
    faulty = rows.take([r.index for r in rejected])
    keys = key_texts(faulty, target.schema.key)
    found = [
        _dirty_row(pipeline, report, target, r, key, faulty.slice(i, 1), seqs[r.index].as_py())
        for i, (r, key) in enumerate(zip(rejected, keys, strict=True))
    ]
    pipeline.dirty.add(found)
    report.dirty += len(found)
    check_limit(pipeline, report.table, rows.num_rows)
    refused = pa.array([r.index for r in rejected], pa.int64())
    return pc.invert(pc.is_in(pa.array(range(rows.num_rows), pa.int64()), value_set=refused))


def _dirty_row(
    pipeline: Pipeline,
    report: TableReport,
    target: TargetTable,
    rejected: RejectedWrite,
    key: str,
    row: pa.Table,
    seq: int,
) -> DirtyRow:
    return DirtyRow(
        id=None,
        pipeline=pipeline.name,
        stage="apply",
        table=report.table,
        target=str(target.id),
        seq=seq,
        op=RowKind.UPDATE_AFTER,
        key=key,
        position=f"segment {segment_of(seq)}",
        field=rejected.field,
        error="RejectedWrite",
        message=rejected.message,
        image=ipc_bytes(row),
        raw=b"",
        ts_us=0,
        first_seen_us=0,
        last_seen_us=0,
        attempts=1,
        state="open",
        reason="",
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
