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

from cdc_assets.engine.pipeline import Pipeline
from cdc_assets.engine.report import TableReport
from cdc_assets.engine.route import route_schema, route_table
from resources.errors import DirtyRowError
from resources.model.keys import key_texts
from resources.model.source import RowSource
from resources.model.table import TableId, TableSchema
from resources.sinks.contract import Fence, Sink, TargetTable
from resources.stores.dirty_rows import DirtyRow


def replay_dirty(pipeline: Pipeline, table: TableId | None = None) -> list[TableReport]:
    """Try every open dirty row again.

    Rows the sink had refused are taken from their stored image. Rows the source could not give
    are read again from the source by key; one that is gone there is deleted in the target.

    Args:
        pipeline: The opened pipeline.
        table: One table, or None for all.

    Returns:
        One report per table that had open rows: what was written and what is still refused.

    Raises:
        FencedOut: Another run moved a watermark; run the replay again.
        SourceUnavailable: Rows have to be read again and the source does not answer.
    """
    token = pipeline.leases.next_token()
    waiting: dict[TableId, list[DirtyRow]] = defaultdict(list)
    for row in pipeline.dirty.open_rows(table=table):
        waiting[row.table].append(row)
    reports = [_replay(pipeline, t, rows, token) for t, rows in sorted(waiting.items())]
    pipeline.release_sink()
    return reports


def _replay(
    pipeline: Pipeline, table: TableId, rows: Sequence[DirtyRow], token: int
) -> TableReport:
    report = TableReport(table, route_table(table))
    newest = {row.key: row for row in sorted(rows, key=lambda r: r.seq)}
    stored = [r for r in newest.values() if r.stage == "apply" and r.image]
    lost = [r for r in newest.values() if r not in stored]
    schema = pipeline.source.read_schemas([table]).get(table) if lost else None
    if schema is not None:
        _read_again(pipeline, report, schema, lost, token)
    for row in stored:
        image = pa.ipc.open_stream(row.image).read_all()
        _put_back(pipeline, report, image, _target_of(pipeline, row, image), [row], token)
    done = {r.key for r in newest.values()} - {r.key for r in pipeline.dirty.open_rows(table=table)}
    older = [r.id for r in rows if r.key in done and r is not newest[r.key] and r.id]
    pipeline.dirty.mark(older, "superseded", "a newer row of the key was replayed")
    still = pipeline.dirty.count_open(table=table)
    report.outcome = "applied" if report.upserted or report.deleted else "current"
    report.reason = f"{still} rows are still refused" if still else ""
    return report


def _target_of(pipeline: Pipeline, row: DirtyRow, image: pa.Table) -> TargetTable:
    fingerprints = pipeline.log.segments.list_schemas(row.table)
    for schema in fingerprints:
        if schema.names == tuple(image.column_names):
            return route_schema(schema, pipeline.options)
    raise DirtyRowError(
        f"no known schema of {row.table} has the columns of a dirty row",
        where=row.position,
        remedy="materialize the table's snapshot partition and waive the row",
    )


def _read_again(
    pipeline: Pipeline,
    report: TableReport,
    schema: TableSchema,
    rows: Sequence[DirtyRow],
    token: int,
) -> None:
    if not isinstance(pipeline.source, RowSource):
        return
    target = route_schema(schema, pipeline.options)
    by_key = {row.key: row for row in rows}
    refused: set[str] = set()
    found: set[str] = set()
    for part in pipeline.source.read_rows(schema, list(by_key)):
        refused |= {r.key for r in part.rejected}
        image = pa.Table.from_batches([part.rows])
        keys = key_texts(image, schema.key)
        # A collation may give rows whose key only compares equal.
        asked = [i for i, key in enumerate(keys) if key in by_key]
        found |= {keys[i] for i in asked}
        again = [by_key[keys[i]] for i in asked]
        _put_back(pipeline, report, image.take(pa.array(asked, pa.int64())), target, again, token)
    gone = [row for key, row in by_key.items() if key not in found | refused]
    _delete(pipeline, report, target, gone, token)


def _put_back(
    pipeline: Pipeline,
    report: TableReport,
    image: pa.Table,
    target: TargetTable,
    rows: Sequence[DirtyRow],
    token: int,
) -> None:
    with pipeline.sink() as sink:
        refused = {r.index for r in sink.find_rejected(target, image)}
        keep = [i for i in range(image.num_rows) if i not in refused]
        good = image.take(pa.array(keep, pa.int64()))
        if keep:
            fence = _here(pipeline, sink, target, token)
            if target.mode == "append":
                written = sink.append(target, good, fence)
            else:
                none = good.slice(0, 0).select(list(target.schema.key))
                written = sink.merge(target, good, none, fence)
            report.upserted += written.upserted
    _mark_replayed(pipeline, [rows[i] for i in keep])
    report.dirty += len(refused)


def _delete(
    pipeline: Pipeline,
    report: TableReport,
    target: TargetTable,
    rows: Sequence[DirtyRow],
    token: int,
) -> None:
    rows = [row for row in rows if row.image]  # the key to delete is in it
    if not rows:
        return
    images = [pa.ipc.open_stream(row.image).read_all() for row in rows]
    whole = target.schema.arrow()
    key = pa.schema([whole.field(name) for name in target.schema.key])
    keys = pa.concat_tables([i.select(key.names).cast(key) for i in images])
    with pipeline.sink() as sink:
        none = whole.empty_table()
        written = sink.merge(target, none, keys, _here(pipeline, sink, target, token))
    report.deleted += written.deleted
    _mark_replayed(pipeline, rows)


def _here(pipeline: Pipeline, sink: Sink, target: TargetTable, token: int) -> Fence:
    mark = sink.read_watermark(target.id, pipeline.name)
    seq = mark.seq if mark else None
    return Fence(pipeline.name, seq, seq or 0, token)


def _mark_replayed(pipeline: Pipeline, rows: Sequence[DirtyRow]) -> None:
    pipeline.dirty.mark([row.id for row in rows if row.id is not None], "replayed", "")
