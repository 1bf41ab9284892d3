"""Dirty rows, put back after a mend.

In: open rows of the dirty-data store. Out: rows merged into their target without overwriting
anything newer, and the store's word on each.

A row that a later change replaced is `superseded` before that change is merged (`aside.py`), so
an open row is the newest word on its key. It goes in under the target's present watermark: if
another run moves that meanwhile, the compare-and-set fails and nothing is written.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import pyarrow as pa

from cdc_assets.engine.columns import TargetColumns
from cdc_assets.engine.conform import conform
from cdc_assets.engine.pipeline import Pipeline
from cdc_assets.engine.report import TableReport
from cdc_assets.engine.route import target_id
from cdc_assets.engine.routing import Route
from cdc_assets.engine.shaping import Shaping
from resources.model.change import CHANGE_FIELDS, RowKind, change_schema
from resources.model.keys import key_texts
from resources.model.source import RowSource
from resources.model.table import TableId, TableSchema
from resources.sinks.contract import Fence, Sink, TargetTable
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
    waiting: dict[tuple[TableId, str], list[DirtyRow]] = defaultdict(list)
    for row in pipeline.dirty.open_rows(table=table):
        waiting[row.table, row.target].append(row)
    reports = []
    for (name, target), rows in sorted(waiting.items()):
        routes = pipeline.routes(name)
        found = [route for route in routes if str(target_id(route)) == target]
        reports.append(_Replay(pipeline, (found or routes)[0], token).run(rows))
    pipeline.release_sink()
    return reports


class _Replay:
    """The open rows of one table and target."""

    def __init__(self, pipeline: Pipeline, route: Route, token: int) -> None:
        self.pipeline = pipeline
        self.route = route
        self.token = token
        self.report = TableReport(route.table, target_id(route))
        self.columns = TargetColumns(pipeline, route, self.report)

    def run(self, rows: Sequence[DirtyRow]) -> TableReport:
        """Try them; older ones of a key follow the newest."""
        dirty, report = self.pipeline.dirty, self.report
        if self.pipeline.snapshots.open_snapshot(self.route.table) is not None:
            # The load would take the place of what is put into the live table now.
            report.reason = "its load is not in place yet: materialize its snapshot partition first"
            return report
        if edited := self.columns.edited:
            report.outcome, report.reason = "needs_snapshot", edited
            return report
        table, target = self.route.table, str(report.target)
        newest = {row.key: row for row in sorted(rows, key=lambda r: r.seq)}
        stored = [r for r in newest.values() if r.image and _has_target_image(r)]
        lost = [r for r in newest.values() if r not in stored]
        schema = self.pipeline.source.read_schemas([table]).get(table) if lost else None
        if schema is not None:
            self._read_again(schema, lost)
        for row in stored:
            image = pa.ipc.open_stream(row.image).read_all()
            live = self.columns.current()
            if live is not None:
                self._put_back(image, live, [row])
        still = {r.key for r in dirty.open_rows(table=table, target=target)}
        done = set(newest) - still
        older = [r.id for r in rows if r.key in done and r is not newest[r.key] and r.id]
        dirty.mark(older, "superseded", "a newer row of the key was replayed")
        report.outcome = "applied" if report.upserted or report.deleted else "current"
        count = dirty.count_open(table=table, target=target)
        report.reason = f"{count} rows are still refused" if count else ""
        return report

    def _read_again(self, schema: TableSchema, rows: Sequence[DirtyRow]) -> None:
        source = self.pipeline.source
        if not isinstance(source, RowSource):
            return
        transforms = self.pipeline.options.transforms
        masker = transforms.masker(schema)
        shaping = self.pipeline.shaping(self.route, transforms.stored(schema))
        target = self.columns.target(shaping)
        by_key = {row.key: row for row in rows}
        refused: set[str] = set()
        found: set[str] = set()
        for part in source.read_rows(schema, list(by_key)):
            refused |= {r.key for r in part.rejected}
            read = part.rows if masker is None else masker.apply(part.rows)
            keys = key_texts(part.rows, schema.key)
            # A collation may give rows whose key only compares equal.
            for index in (i for i, key in enumerate(keys) if key in by_key):
                found.add(keys[index])
                self._put_row(read.slice(index, 1), shaping, target, by_key[keys[index]])
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
                fence = self._here(sink, target)
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
            written = sink.merge(target, none, gone, self._here(sink, target))
        self.report.deleted += written.deleted
        self._mark_replayed(known)

    def _key_of(
        self, shaping: Shaping, target: TargetTable, row: DirtyRow, image: pa.RecordBatch
    ) -> pa.Table | None:
        """Return the key a row has in the target, None if it cannot be told."""
        names = list(target.schema.key)
        if row.stage in ("apply", "copy") and set(names) <= set(image.schema.names):
            return pa.Table.from_batches([image]).select(names)
        missing = set(shaping.source.names) - set(image.schema.names)
        if missing:
            return None
        source = change_schema(shaping.source)
        stamp = [
            pa.array([value], f.type) for value, f in zip(_DELETED, CHANGE_FIELDS, strict=True)
        ]
        arrays = [image.column(f.name) for f in shaping.source.arrow()]
        change = pa.RecordBatch.from_arrays([*arrays, *stamp], schema=source)
        shaped = shaping.changes(change, lambda: self.pipeline.context(self.route.table, 0))
        found = pa.Table.from_batches([shaped.rows])
        return found.select(names) if found.num_rows else None

    def _here(self, sink: Sink, target: TargetTable) -> Fence:
        feed = self.pipeline.feed(self.route.table)
        mark = sink.read_watermark(target.id, feed)
        seq = mark.seq if mark else None
        return Fence(feed, seq, seq or 0, self.token)

    def _mark_replayed(self, rows: Sequence[DirtyRow]) -> None:
        ids = [row.id for row in rows if row.id is not None]
        self.pipeline.dirty.mark(ids, "replayed", "")


def _has_target_image(row: DirtyRow) -> bool:
    """Return whether a row's image and key are the target's, not the source's."""
    return row.stage == "apply" or (row.stage, row.error) == ("copy", "RejectedWrite")
