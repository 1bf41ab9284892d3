"""A table's pending stretch of the change log, part by part in log order.

In: the change log. Out: groups of rows of one schema version, and the statements between them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import pyarrow as pa

from cdc_assets.engine.kept import why_lacking
from cdc_assets.engine.pipeline import Pipeline
from cdc_assets.engine.routing import Route
from resources.errors import ConfigError
from resources.model.change import SEQ, ChangeBatch, TableNotice
from resources.model.table import TableSchema


@dataclass(frozen=True)
class Group:
    """Changes of one schema version that are reduced and merged at once.

    Args:
        schema: The version.
        batches: Record batches of `change_schema(schema)`, without columns that are not needed.
            Writing them takes out of the list what it needs no longer.
        upto: The `_cdc_seq` the target is at once they are merged.
    """

    schema: TableSchema
    batches: list[pa.RecordBatch]
    upto: int


def pending_parts(
    pipeline: Pipeline, route: Route, after: int, upto: int
) -> Iterator[Group | TableNotice]:
    """Yield what came after a point of the log, rows and statements in their order.

    Args:
        pipeline: The opened pipeline.
        route: The source table's way; columns it does not need are not read.
        after: The `_cdc_seq` the target is at.
        upto: The `_cdc_seq` to end at, inclusive.
    """
    for notice in pipeline.log.notices(route.table, after, upto):
        yield from _groups(pipeline, route, after, notice.seq - 1)
        yield notice
        after = max(after, notice.seq - 1)
    yield from _groups(pipeline, route, after, upto)


def _groups(pipeline: Pipeline, route: Route, after: int, upto: int) -> Iterator[Group]:
    """Yield the rows of `(after, upto]`; the last group ends at `upto`."""
    if upto <= after:
        return

    def needed(schema: TableSchema) -> Collection[str]:
        if why_lacking(pipeline.options, schema):
            return schema.key  # the feed waits in front of these rows
        try:
            return pipeline.shaping(route, schema).needed
        except ConfigError:  # said once the rows before these are merged
            return schema.key

    held: list[ChangeBatch] = []
    rows = size = 0
    options = pipeline.options
    for batch in pipeline.log.read(route.table, after, upto, needed):
        changed = held and held[0].schema.fingerprint() != batch.schema.fingerprint()
        full = rows >= options.apply_rows  # a batch more is cheaper than a merge of its own
        if held and (changed or full or size + batch.rows.nbytes > options.apply_bytes):
            yield _group(held, held[-1].rows.column(SEQ)[-1].as_py())
            rows = size = 0
        held.append(batch)
        rows += batch.rows.num_rows
        size += batch.rows.nbytes
        del batch
    if held:
        yield _group(held, upto)


def _group(held: list[ChangeBatch], upto: int) -> Group:
    """Return what is held as a group, and hold it no longer: the group alone has the rows."""
    group = Group(held[0].schema, [batch.rows for batch in held], upto)
    held.clear()
    return group
