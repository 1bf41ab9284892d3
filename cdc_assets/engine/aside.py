"""Rows that cannot be written: set aside, superseded by newer ones, counted against the limits.

In: what a sink refused. Out: open dirty rows in the state store; the good rows go on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from cdc_assets.engine.conform import BadRow
from cdc_assets.engine.pipeline import Pipeline
from cdc_assets.engine.report import TableReport
from cdc_assets.engine.route import target_id
from cdc_assets.engine.routing import Route
from cdc_assets.engine.shaping import Shaping
from resources.errors import DirtyLimitExceeded, DirtyRowError
from resources.model.arrays import to_numbers
from resources.model.change import CHANGE_FIELDS, OP, SEQ, TS, RejectedRow, RowKind, segment_of
from resources.model.keys import key_texts
from resources.model.table import TableId
from resources.sinks.contract import RejectedWrite, Sink, TargetTable
from resources.stores.dirty_rows import DirtyRow, Stage


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
    _store_refused(pipeline, report, target, rows, seqs, refused, "RejectedWrite")
    return accepted(rows, refused)


def set_aside_misfits(
    pipeline: Pipeline,
    report: TableReport,
    target: TargetTable,
    rows: pa.Table,
    seqs: pa.Array,
    bad: Sequence[tuple[int, str, str]],
) -> None:
    """Store rows with values that the target's columns cannot hold.

    Args:
        pipeline: The opened pipeline.
        report: Counts them.
        target: The table.
        rows: What was to be written, in the types it came in.
        seqs: Their `_cdc_seq`, uint64.
        bad: Row number, column and reason of each.

    Raises:
        DirtyLimitExceeded: More were set aside than the pipeline allows.
    """
    rows = rows.drop_columns([f.name for f in CHANGE_FIELDS if f.name in rows.column_names])
    refused = [RejectedWrite(*found) for found in bad]
    _store_refused(pipeline, report, target, rows, seqs, refused, "SchemaMismatch")


def _store_refused(
    pipeline: Pipeline,
    report: TableReport,
    target: TargetTable,
    rows: pa.Table,
    seqs: pa.Array,
    refused: Sequence[RejectedWrite],
    error: str,
) -> None:
    """Store refused changes at their places in the log, and judge whether there are too many."""
    found = [
        replace(row, seq=seq, position=f"segment {segment_of(seq)}", error=error)
        for row, seq in zip(
            refused_rows(pipeline, "apply", report.table, target, rows, refused),
            (seqs[r.index].as_py() for r in refused),
            strict=True,
        )
    ]
    pipeline.dirty.add(found)
    report.dirty += len(found)
    check_limit(pipeline, report.table, rows.num_rows)


def set_aside_failed(
    pipeline: Pipeline,
    report: TableReport,
    target: TargetTable,
    key: Sequence[str],
    batches: Sequence[pa.RecordBatch],
    failed: Sequence[Sequence[BadRow]],
) -> None:
    """Store changes that an expression failed on, as the change log has them.

    One whose key comes again later, and did not fail then, is no longer of interest.

    Args:
        pipeline: The opened pipeline.
        report: Counts them.
        target: Where they should have gone.
        key: The source table's key.
        batches: Changes in log order.
        failed: Per batch the rows that failed.

    Raises:
        DirtyLimitExceeded: More were set aside than the pipeline allows.
    """
    last: dict[str, int] = {}
    wanted = {text for text, *_ in _failures(key, batches, failed)}
    for batch, rows in zip(batches, failed, strict=True):
        bad = {row.row for row in rows}
        for index, text in enumerate(key_texts(batch, key)):
            if text in wanted and index not in bad:
                last[text] = batch.column(SEQ)[index].as_py()
    found = []
    for text, change, row in _failures(key, batches, failed):
        seq = change.column(SEQ)[0].as_py()
        if last.get(text, 0) > seq:
            continue
        found.append(failed_row(pipeline, target, key, change, row, report.table))
    pipeline.dirty.add(found)
    report.dirty += len(found)
    if found:
        check_limit(pipeline, report.table, sum(batch.num_rows for batch in batches))


def failed_row(
    pipeline: Pipeline,
    target: TargetTable,
    key: Sequence[str],
    row: pa.RecordBatch,
    failed: BadRow,
    table: TableId,
) -> DirtyRow:
    """Return the dirty row of one that an expression failed on.

    Args:
        pipeline: The opened pipeline.
        target: Where it should have gone.
        key: The source table's key.
        row: The row alone, as the change log or the source has it; changes with their `_cdc_*`.
        failed: What failed.
        table: The source table.
    """
    names = [f.name for f in CHANGE_FIELDS if f.name in row.schema.names]
    image = pa.Table.from_batches([row]).drop_columns(names)
    seq = row.column(SEQ)[0].as_py() if names else 0
    return DirtyRow(
        id=None,
        pipeline=pipeline.name,
        stage="transform",
        table=table,
        target=str(target.id),
        seq=seq,
        op=RowKind(row.column(OP)[0].as_py()) if names else RowKind.INSERT,
        key=key_texts(row, key)[0] if key else "",
        position=f"segment {segment_of(seq)}",
        field=failed.column,
        error="ExpressionFailed",
        message=failed.message,
        image=ipc_bytes(image) if pipeline.options.keep_images else b"",
        ts_us=row.column(TS)[0].value if names else 0,
    )


def conflict_rows(
    pipeline: Pipeline, table: TableId, target: TargetTable, taken: pa.Table
) -> list[DirtyRow]:
    """Return dirty rows for loaded rows whose keys another feed has in a shared target.

    Args:
        pipeline: The opened pipeline.
        table: The source table they came from.
        target: The table.
        taken: They; the owner column names the other feed.
    """
    if not taken.num_rows:
        return []
    mine = str(pipeline.feed(table))
    refused = [
        RejectedWrite(i, target.owner, f"the key belongs to {owner}, this row comes from {mine}")
        for i, owner in enumerate(taken.column(target.owner).to_pylist())
    ]
    return refused_rows(pipeline, "copy", table, target, taken, refused)


def _failures(
    key: Sequence[str],
    batches: Sequence[pa.RecordBatch],
    failed: Sequence[Sequence[BadRow]],
) -> Iterator[tuple[str, pa.RecordBatch, BadRow]]:
    for batch, rows in zip(batches, failed, strict=True):
        for row in rows:
            change = batch.slice(row.row, 1)
            yield key_texts(change, key)[0], change, row


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


def undecoded_row(
    pipeline: Pipeline, stage: Stage, row: RejectedRow, route: Route | None = None
) -> DirtyRow:
    """Return the dirty row for one that the source could not decode.

    Args:
        pipeline: The opened pipeline.
        stage: Where it happened.
        row: The row.
        route: Where it should have gone; the table's first route if left out.
    """
    route = route or pipeline.routes(row.table)[0]
    return DirtyRow(
        id=None,
        pipeline=pipeline.name,
        stage=stage,
        table=row.table,
        target=str(target_id(route)),
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


def supersede(
    pipeline: Pipeline,
    shaping: Shaping,
    target: TargetTable,
    batches: Sequence[pa.RecordBatch],
    shaped: Sequence[pa.RecordBatch],
) -> None:
    """Mark open dirty rows that a later one of these changes replaces by its full image.

    Done before the sink commits: the changes are durable in the change log, so they will be
    applied whatever happens, and a replay must not put an old row over them. A row that these
    very changes set aside, before a run was killed, or in capture, is the newest word on its key
    and stays open.

    Args:
        pipeline: The opened pipeline.
        shaping: What made the target's rows of the source's: rows set aside before it are known
            by the source's key.
        target: The table.
        batches: The changes as the change log has them.
        shaped: They in the target's shape.
    """
    table = shaping.source.table
    waiting = pipeline.dirty.open_rows(table=table, target=str(target.id))
    if not waiting:
        return
    wanted = {row.key for row in waiting}
    parts = [(batch, target.schema.key) for batch in shaped]
    if shaping.mapped is not shaping.source or shaping.transform or shaping.constants:
        parts += [(batch, shaping.source.key) for batch in batches]
    reached: dict[str, int] = {}
    for part, key in parts:
        seqs = to_numbers(part.column(SEQ)).tolist()
        for text, seq in zip(key_texts(part, key), seqs, strict=True):
            if text in wanted:
                reached[text] = max(seq, reached.get(text, 0))
    if reached:
        pipeline.dirty.supersede(str(target.id), reached, table)


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
