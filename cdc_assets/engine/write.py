"""A group of changes -> one write of the sink.

In: changes of one schema version. Out: rows upserted and keys deleted, or rows appended; those
that cannot be written are in the dirty-data store before the others are committed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from cdc_assets.engine.aside import set_aside, set_aside_failed, set_aside_misfits, supersede
from cdc_assets.engine.conform import conform
from cdc_assets.engine.parts import Group
from cdc_assets.engine.pipeline import Pipeline
from cdc_assets.engine.reduce import Reduced, reduce_changes
from cdc_assets.engine.report import TableReport
from cdc_assets.engine.shaping import Shaped, Shaping
from cdc_assets.engine.workers import side_by_side
from resources.errors import DirtyRowError, SchemaMismatch
from resources.failpoints import failpoint
from resources.model.arrays import to_numbers
from resources.model.change import CHANGE_FIELDS, OP, SEQ, TS, RowKind, segment_of
from resources.sinks.contract import Fence, Sink, TargetTable, Written

if TYPE_CHECKING:
    from cdc_assets.engine.columns import TargetColumns


@dataclass(frozen=True)
class Writing:
    """One write of a group.

    Args:
        pipeline: The opened pipeline.
        report: Counts.
        shaping: What the route makes of the group's rows.
        columns: The target's columns, which `shaping` was taken into.
        fence: Watermark to compare and set.
    """

    pipeline: Pipeline
    report: TableReport
    shaping: Shaping
    columns: TargetColumns
    fence: Fence

    def write(self, group: Group) -> None:
        """Merge or append a group, and count what it did.

        Raises:
            SchemaMismatch: The table has no key any more.
            DirtyLimitExceeded: Too many rows had to be set aside.
        """
        target = self.columns.target(self.shaping)
        appends = target.mode == "append"
        done = self._shaped(group, appends)
        failed = [batch.failed for batch in done]
        shaped = [batch.rows for batch in done]
        gone = [batch.gone for batch in done if batch.gone is not None]
        del done  # the reduction takes the rows out of the list
        _count(self.report, group)
        if appends:
            rows, seqs = self._conformed_changes(target, shaped)
            deletes = None
        else:
            reduced = self._reduced(target, group, shaped, gone)
            rows, seqs, deletes = self._conformed(target, reduced)
        if any(failed):
            key = self.shaping.source.key
            set_aside_failed(self.pipeline, self.report, target, key, group.batches, failed)
        written = self._write(target, rows, seqs, deletes)
        self.report.outcome = "applied"
        self.report.schema = target.schema
        self.report.lineage = self.shaping.lineage
        self.report.upserted += written.upserted
        self.report.deleted += written.deleted

    def _shaped(self, group: Group, appends: bool) -> list[Shaped]:
        """Shape the batches; keep of each that did not fail what says which rows it had.

        Memory of one is so used again for the next: pages new to the process cost more than the
        expressions that fill them.
        """
        shape = self.shaping.changes if appends else self.shaping.split
        table = self.shaping.source.table
        names = [*self.shaping.source.key, *(field.name for field in CHANGE_FIELDS)]

        def shaped(number: int) -> Shaped:
            batch = group.batches[number]
            segment = segment_of(batch.column(SEQ)[0].as_py())
            done = shape(batch, partial(self.pipeline.context, table, segment))
            if not done.failed:
                group.batches[number] = batch.select(names)
            return done

        return side_by_side(shaped, range(len(group.batches)))

    def _reduced(
        self,
        target: TargetTable,
        group: Group,
        shaped: list[pa.RecordBatch],
        gone: list[pa.RecordBatch],
    ) -> Reduced:
        if not target.schema.key:
            raise SchemaMismatch(
                f"table {self.report.table} has no key any more, so its changes cannot be merged",
                where=f"segment {segment_of(self.fence.new)}",
                remedy="give it a primary key, or list it under pipeline.append",
            )
        keys = [batch.select([*target.schema.key, SEQ]) for batch in (*shaped, *gone)]
        reduced = reduce_changes(shaped, target.schema.key, gone, taken=True)
        supersede(self.pipeline, self.shaping, target, group.batches, keys)
        return reduced

    def _conformed(
        self, target: TargetTable, reduced: Reduced
    ) -> tuple[pa.Table, pa.Array, pa.Table]:
        """Return upserts, their sequence numbers and deletes in the target's own types.

        A key that the target cannot hold is in none of its rows: nothing is to be deleted.
        """
        found = self.columns.conform(reduced.upserts, target)
        seqs = reduced.upsert_seq
        if found.keep is not None:
            rows = reduced.upserts
            set_aside_misfits(self.pipeline, self.report, target, rows, seqs, found.bad)
            seqs = seqs.filter(found.keep)
        keys = [target.schema.column(name) for name in target.schema.key]
        return found.rows, seqs, conform(reduced.deletes, keys).rows

    def _conformed_changes(
        self, target: TargetTable, shaped: Sequence[pa.RecordBatch]
    ) -> tuple[pa.Table, pa.Array]:
        whole = pa.Table.from_batches(shaped)
        found = self.columns.conform(whole, target)
        if found.keep is not None:
            seqs = whole.column(SEQ).combine_chunks()
            set_aside_misfits(self.pipeline, self.report, target, whole, seqs, found.bad)
        return found.rows, found.rows.column(SEQ).combine_chunks()

    def _write(
        self, target: TargetTable, rows: pa.Table, seqs: pa.Array, deletes: pa.Table | None
    ) -> Written:
        with self.pipeline.sink() as sink:
            if self.fence.expected is None:
                sink.create_table(target)
                self.columns.forget()
            while True:
                failpoint("apply.before_append" if deletes is None else "apply.before_merge")
                try:
                    return _once(sink, target, rows, deletes, self.fence)
                except DirtyRowError as error:
                    keep = set_aside(self.pipeline, sink, self.report, target, rows, seqs, error)
                    rows, seqs = rows.filter(keep), seqs.filter(keep)


def _once(
    sink: Sink, target: TargetTable, rows: pa.Table, deletes: pa.Table | None, fence: Fence
) -> Written:
    if deletes is None:
        return sink.append(target, rows, fence)
    return sink.merge(target, rows, deletes, fence)


def _count(report: TableReport, group: Group) -> None:
    names = {RowKind.INSERT: "insert", RowKind.UPDATE_AFTER: "update", RowKind.DELETE: "delete"}
    for batch in group.batches:
        kinds = np.bincount(to_numbers(batch.column(OP)), minlength=len(RowKind))
        for kind, name in names.items():
            if kinds[kind]:
                report.kinds[name] = report.kinds.get(name, 0) + int(kinds[kind])
        report.commit_ts_us = max(report.commit_ts_us, batch.column(TS)[-1].value)
