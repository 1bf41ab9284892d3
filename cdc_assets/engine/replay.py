"""Dirty rows, put back after a mend.

In: open rows of the dirty-data store. Out: rows merged into their target without overwriting
anything newer, and the store's word on each.

A row that a later change replaced is `superseded` before that change is merged (`aside.py`), so
an open row is the newest word on its key. It goes in under the watermark the target had before
the open rows were looked up: if another run moves that meanwhile, the compare-and-set fails and
nothing is written.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import pyarrow as pa

from cdc_assets.engine.columns import TargetColumns
from cdc_assets.engine.conform import conform
from cdc_assets.engine.lookup import find_rows
from cdc_assets.engine.pipeline import Pipeline
from cdc_assets.engine.report import TableReport
from cdc_assets.engine.route import target_id
from cdc_assets.engine.routing import Route
from cdc_assets.engine.shaping import Shaping
from resources.model.change import CHANGE_FIELDS, RowKind, change_schema
from resources.model.table import TableId, TableSchema
from resources.sinks.contract import Fence, TargetTable
from resources.sinks.shape import target_schema
from resources.stores.dirty_rows import DirtyRow

_DELETED = (RowKind.DELETE, 0, 0)


def replay_dirty(pipeline: Pipeline, table: TableId | None = None) -> list[TableReport]:
    """Try every open dirty row again.

    Rows the sink had refused are taken from their stored image. Rows the source could not give,
    or an expression failed on, are read again from the source by key; one that is gone there is
    deleted in the target.

    Args:
        pipeline: The opened pipeline.
        table: One table, or None for all.

    Returns:
        One report per table and target that had open rows: what was written and what is still
        refused; `needs_snapshot` if the target was filled by other rules than the file's.

    Raises:
        FencedOut: Another run moved a watermark; run the replay again.
        SourceUnavailable: Rows have to be read again and the source does not answer.
    """
    token = pipeline.leases.next_token()
    waiting = {(row.table, row.target) for row in pipeline.dirty.open_rows(table=table)}
    reports = []
    for name, target in sorted(waiting):
        routes = pipeline.routes(name)
        found = [route for route in routes if str(target_id(route)) == target]
        reports.append(_Replay(pipeline, (found or routes)[0], token, target).run())
    pipeline.release_sink()
    return reports


class _Replay:
    """The open rows of one table and target."""

    def __init__(self, pipeline: Pipeline, route: Route, token: int, waits_for: str) -> None:
        self.pipeline = pipeline
        self.route = route
        self.token = token
        self.waits_for = waits_for  # no target of the table any more, if its route was edited
        self.report = TableReport(route.table, target_id(route))
        self.columns = TargetColumns(pipeline, route, self.report)
        with pipeline.sink() as sink:
            mark = sink.read_watermark(self.report.target, pipeline.feed(route.table))
        self.expected = mark.seq if mark else None
        self.closed = ""

    def run(self) -> TableReport:
        """Try them; older ones of a key follow the newest."""
        dirty, report = self.pipeline.dirty, self.report
        if self.pipeline.snapshots.open_snapshot(self.route.table) is not None:
            # The load would take the place of what is put into the live table now.
            report.reason = "its load is not in place yet: materialize its snapshot partition first"
            return report
        if edited := self.columns.edited:
            report.outcome, report.reason = "needs_snapshot", edited
            return report
        table, target = self.route.table, self.waits_for
        rows = dirty.open_rows(table=table, target=target)
        newest = {row.key: row for row in sorted(rows, key=lambda r: r.seq)}
        stored = [r for r in newest.values() if r.image and _has_target_image(r)]
        lost = [r for r in newest.values() if r.key and r not in stored]
        if lost and self.pipeline.options.appends(table):
            lost, self.closed = [], ": a log of changes takes back only what was stored of them"
        schema = self.pipeline.source.read_schemas([table]).get(table) if lost else None
        if schema is not None:
            self._read_again(schema, lost)
        for row in stored:
            image = pa.ipc.open_stream(row.image).read_all()
            live = self.columns.current()
            if live is not None:
                self._put_back(self.columns.filled(image, row.seq), live, [row])
        still = {r.key for r in dirty.open_rows(table=table, target=target)}
        done = set(newest) - still
        older = [r.id for r in rows if r.key in done and r is not newest[r.key] and r.id]
        dirty.mark(older, "superseded", "a newer row of the key was replayed")
        report.outcome = "applied" if report.upserted or report.deleted else "current"
        if count := dirty.count_open(table=table, target=target):
            report.reason = f"{count} rows are still refused{self.closed}"
        return report

    def _read_again(self, schema: TableSchema, rows: Sequence[DirtyRow]) -> None:
        by_key = {row.key: row for row in rows if tuple(json.loads(row.key)) == schema.key}
        parts = find_rows(self.pipeline, schema, by_key)
        if parts is None:
            self.closed = (
                ": the source cannot be asked for single rows, or their keys are masked; "
                "once they can be read, load the table again"
            )
            return
        stored = self.pipeline.options.transforms.stored(schema)
        shaping = self.pipeline.shaping(self.route, stored)
        target = self.columns.target(shaping)
        refused: set[str] = set()
        found: set[str] = set()
        for part in parts:
            refused |= part.rejected
            # A collation may give rows whose key only compares equal.
            for index in (i for i, key in enumerate(part.keys) if key in by_key):
                key = part.keys[index]
                found.add(key)
                self._put_row(part.rows.slice(index, 1), shaping, target, by_key[key])
        gone = [row for key, row in by_key.items() if key not in found | refused]
        images = [(row, pa.ipc.open_stream(row.image).read_all()) for row in gone if row.image]
        self._delete(
            shaping, target, [(row, image.to_batches()[0]) for row, image in images if len(image)]
        )

    def _put_row(
        self, read: pa.RecordBatch, shaping: Shaping, target: TargetTable, row: DirtyRow
    ) -> None:
        shaped = shaping.rows(read, lambda: self.pipeline.context(self.route.table, 0))
        if shaped.failed:
            self.report.dirty += 1
        elif shaped.rows.num_rows:
            self._put_back(pa.Table.from_batches([shaped.rows]), target, [row])
        else:  # the filter does not pass it any more
            self._delete(shaping, target, [(row, read)])

    def _put_back(self, image: pa.Table, target: TargetTable, rows: Sequence[DirtyRow]) -> None:
        fitted = self.columns.conform(image, target)
        bad = {index for index, _, _ in fitted.bad}
        rows = [row for index, row in enumerate(rows) if index not in bad]
        with self.pipeline.sink() as sink:
            refused = {r.index for r in sink.find_rejected(target, fitted.rows)}
            keep = [i for i in range(fitted.rows.num_rows) if i not in refused]
            good = fitted.rows.take(pa.array(keep, pa.int64()))
            if keep:
                fence = self._fence()
                if target.mode == "append":
                    written = sink.append(target, good, fence)
                else:
                    none = good.slice(0, 0).select(list(target.schema.key))
                    written = sink.merge(target, good, none, fence)
                self.report.upserted += written.upserted
        self._mark_replayed([rows[i] for i in keep])
        self.report.dirty += len(refused) + len(bad)

    def _delete(
        self,
        shaping: Shaping,
        target: TargetTable,
        rows: Sequence[tuple[DirtyRow, pa.RecordBatch]],
    ) -> None:
        """Delete rows that are not to be in the target; their keys are in their images."""
        columns = [target.schema.column(name) for name in target.schema.key]
        keys, known = [], []
        for row, image in rows:
            key = self._key_of(shaping, target, row, image)
            if key is not None:
                keys.append(conform(key, columns).rows)
                known.append(row)
        if not known:
            return
        with self.pipeline.sink() as sink:
            none = target_schema(target).empty_table()
            gone = pa.concat_tables(keys)
            written = sink.merge(target, none, gone, self._fence())
        self.report.deleted += written.deleted
        self._mark_replayed(known)

    def _key_of(
        self, shaping: Shaping, target: TargetTable, row: DirtyRow, image: pa.RecordBatch
    ) -> pa.Table | None:
        """Return the key a row has in the target, None if it cannot be told."""
        key = list(target.schema.key)
        if row.stage in ("apply", "copy") and set(key) <= set(image.schema.names):
            return pa.Table.from_batches([image]).select(key)
        names = [name for name in shaping.source.names if name in image.schema.names]
        if not set(shaping.needed) <= set(names):
            return None
        whole = change_schema(shaping.source)
        source = pa.schema([*(whole.field(name) for name in names), *CHANGE_FIELDS])
        stamp = [
            pa.array([value], f.type) for value, f in zip(_DELETED, CHANGE_FIELDS, strict=True)
        ]
        arrays = [image.column(name) for name in names]
        change = pa.RecordBatch.from_arrays([*arrays, *stamp], schema=source)
        shaped = shaping.changes(change, lambda: self.pipeline.context(self.route.table, 0))
        found = pa.Table.from_batches([shaped.rows])
        return found.select(key) if found.num_rows else None

    def _fence(self) -> Fence:
        """Return the fence of the next write; the first gives a target without watermark 0."""
        expected, self.expected = self.expected, self.expected or 0
        return Fence(self.pipeline.feed(self.route.table), expected, self.expected, self.token)

    def _mark_replayed(self, rows: Sequence[DirtyRow]) -> None:
        ids = [row.id for row in rows if row.id is not None]
        self.pipeline.dirty.mark(ids, "replayed", "")


def _has_target_image(row: DirtyRow) -> bool:
    """Return whether a row's image and key are the target's, not the source's."""
    return row.stage == "apply" or (row.stage, row.error) == ("copy", "RejectedWrite")
