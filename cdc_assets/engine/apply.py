"""Change log -> one sink table, watermark included.

In: a table's pending changes. Out: the target moved to a new watermark, rows the sink refused in
the dirty-data store. The target's own watermark says what is pending, so a crash anywhere is
mended by calling this again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import dropwhile

import pyarrow as pa

from cdc_assets.engine.aside import check_limit, set_aside, supersede
from cdc_assets.engine.left_out import LEFT_OUT, was_left_out
from cdc_assets.engine.pipeline import Pipeline
from cdc_assets.engine.reduce import reduce_changes
from cdc_assets.engine.report import TableReport
from cdc_assets.engine.route import route_schema, route_table
from resources.errors import DirtyRowError, SchemaMismatch
from resources.failpoints import failpoint
from resources.model.change import (
    OP,
    SEQ,
    TS,
    UNDECODABLE,
    ChangeBatch,
    RowKind,
    TableNotice,
    segment_of,
)
from resources.model.table import TableId, TableSchema
from resources.sinks.contract import Fence, Sink, TargetTable, Watermark, Written

_EMPTYING = ("truncate", "drop")
_REMEDIES = {
    "snapshot": "materialize its snapshot partition",
    "log": "load it by a pipeline of another name: polling cannot read a table again",
    "none": "load it by a pipeline of another name: with this source.startup nothing is loaded",
}


@dataclass(frozen=True)
class _Group:
    """Changes of one schema version that are reduced and merged at once."""

    schema: TableSchema
    batches: list[pa.RecordBatch]
    last_seq: int


def apply_pending(pipeline: Pipeline, table: TableId, token: int, upto: int) -> TableReport:
    """Bring one target table up to a point of the change log.

    Args:
        pipeline: The opened pipeline.
        table: The source table.
        token: Fencing token of this run.
        upto: The `_cdc_seq` to end at, normally the last of a segment.

    Returns:
        What was done. `waiting` if the table has not been loaded, `needs_snapshot` if the log
        says that rows changed without row events.

    Raises:
        FencedOut: Another run moved the watermark; this one wrote nothing.
        SchemaMismatch: The changes do not fit the target.
        DirtyLimitExceeded: Too many rows had to be set aside.
        SinkUnavailable: The sink cannot be reached.
    """
    began = time.monotonic()
    report = TableReport(table, route_table(table))
    with pipeline.sink() as sink:
        mark = sink.read_watermark(report.target, pipeline.name)
    loaded_first = pipeline.options.history == "snapshot" and not pipeline.options.appends(table)
    if mark is None and loaded_first:
        report.outcome = "waiting"
        report.reason = "not loaded yet: materialize its snapshot partition"
        return report
    check_limit(pipeline, table, report.changes)
    after = mark.seq if mark else 0
    if was_left_out(pipeline, table, after, upto):
        report.outcome, report.reason = "needs_snapshot", LEFT_OUT
        return report
    notice = _first_rewrite(pipeline, table, after, upto)
    end = min(upto, notice.seq - 1) if notice else upto
    if end > after:
        _apply_groups(pipeline, report, mark, token, end)
    report.seq = max(after, end)
    if notice is not None:
        report.outcome = "needs_snapshot"
        report.reason = f"{_told(notice)}: {_REMEDIES[pipeline.options.history]}"
    report.seconds = time.monotonic() - began
    return report


def _told(notice: TableNotice) -> str:
    if notice.kind == UNDECODABLE:
        return f"rows at {notice.position} cannot be decoded: {notice.detail}"
    return (
        f"{notice.kind} at {notice.position} may have changed rows that the log does not show "
        f"({notice.detail})"
    )


def _first_rewrite(pipeline: Pipeline, table: TableId, after: int, upto: int) -> TableNotice | None:
    """Return the first notice after which the target would no longer equal its source.

    A table that begins empty and is emptied before its first row simply begins there: so does
    whatever a dump restores, DROP TABLE first.
    """
    notices = pipeline.log.notices(table, after, upto)
    rewrites: Iterator[TableNotice] = (n for n in notices if n.rewrites and n.seq > after)
    if pipeline.options.history == "none" and not after:
        rewrites = dropwhile(
            lambda n: (
                n.kind in _EMPTYING and next(pipeline.log.read(table, 0, n.seq - 1), None) is None
            ),
            rewrites,
        )
    return next(rewrites, None)


def _apply_groups(
    pipeline: Pipeline, report: TableReport, mark: Watermark | None, token: int, end: int
) -> None:
    expected = mark.seq if mark else None
    groups = _groups(pipeline, report.table, expected or 0, end)
    group = next(groups, None)
    while group is not None:
        following = next(groups, None)
        new = end if following is None else group.last_seq
        fence = Fence(pipeline.name, expected, new, token)
        _apply_group(pipeline, report, group, fence)
        expected, group = new, following


def _groups(pipeline: Pipeline, table: TableId, after: int, upto: int) -> Iterator[_Group]:
    held: list[ChangeBatch] = []
    rows = size = 0
    options = pipeline.options
    for batch in pipeline.log.read(table, after, upto):
        changed = held and held[0].schema.fingerprint() != batch.schema.fingerprint()
        full = rows + batch.rows.num_rows > options.apply_rows
        if held and (changed or full or size + batch.rows.nbytes > options.apply_bytes):
            yield _group(held)
            held, rows, size = [], 0, 0
        held.append(batch)
        rows += batch.rows.num_rows
        size += batch.rows.nbytes
    if held:
        yield _group(held)


def _group(held: list[ChangeBatch]) -> _Group:
    last = held[-1].rows.column(SEQ)[-1].as_py()
    return _Group(held[-1].schema, [b.rows for b in held], last)


def _apply_group(pipeline: Pipeline, report: TableReport, group: _Group, fence: Fence) -> None:
    target = route_schema(group.schema, pipeline.options)
    if target.mode == "append":
        written = _append(pipeline, report, group, target, fence)
    else:
        written = _merge(pipeline, report, group, target, fence)
    failpoint("apply.after_commit")
    report.outcome = "applied"
    report.schema = target.schema
    report.upserted += written.upserted
    report.deleted += written.deleted
    _count(report, group)


def _merge(
    pipeline: Pipeline, report: TableReport, group: _Group, target: TargetTable, fence: Fence
) -> Written:
    if not target.schema.key:
        raise SchemaMismatch(
            f"table {report.table} has no key any more, so its changes cannot be merged",
            where=f"segment {segment_of(group.last_seq)}",
            remedy="give it a primary key, or list it under pipeline.append",
        )
    reduced = reduce_changes(group.batches, target.schema.key)
    upserts, seqs = reduced.upserts, reduced.upsert_seq
    supersede(pipeline, report.table, target, reduced)
    with pipeline.sink() as sink:
        _ensure_table(sink, target, fence)
        while True:
            failpoint("apply.before_merge")
            try:
                return sink.merge(target, upserts, reduced.deletes, fence)
            except DirtyRowError as error:
                keep = set_aside(pipeline, sink, report, target, upserts, seqs, error)
                upserts, seqs = upserts.filter(keep), seqs.filter(keep)


def _append(
    pipeline: Pipeline, report: TableReport, group: _Group, target: TargetTable, fence: Fence
) -> Written:
    rows = pa.Table.from_batches(group.batches)
    with pipeline.sink() as sink:
        _ensure_table(sink, target, fence)
        while True:
            failpoint("apply.before_append")
            try:
                return sink.append(target, rows, fence)
            except DirtyRowError as error:
                seqs = rows.column(SEQ).combine_chunks()
                keep = set_aside(pipeline, sink, report, target, rows, seqs, error)
                rows = rows.filter(keep)


def _ensure_table(sink: Sink, target: TargetTable, fence: Fence) -> None:
    if fence.expected is None:
        sink.create_table(target)


def _count(report: TableReport, group: _Group) -> None:
    names = {RowKind.INSERT: "insert", RowKind.UPDATE_AFTER: "update", RowKind.DELETE: "delete"}
    for batch in group.batches:
        for item in batch.column(OP).value_counts().to_pylist():
            name = names.get(RowKind(item["values"]))
            if name is not None:
                report.kinds[name] = report.kinds.get(name, 0) + item["counts"]
        stamp = batch.column(TS)[-1].value
        report.commit_ts_us = max(report.commit_ts_us, stamp)
