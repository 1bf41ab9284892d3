"""A table's pending stretch of the change log, part by part in log order.

In: the change log. Out: groups of rows of one schema version, and the statements between them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from cdc_assets.engine.pipeline import Pipeline
from resources.model.change import SEQ, ChangeBatch, TableNotice
from resources.model.table import TableId, TableSchema


@dataclass(frozen=True)
class Group:
    """Changes of one schema version that are reduced and merged at once.

    Args:
        schema: The version.
        batches: Record batches of `change_schema(schema)`.
        upto: The `_cdc_seq` the target is at once they are merged.
    """

    schema: TableSchema
    batches: list[pa.RecordBatch]
    upto: int


def pending_parts(
    pipeline: Pipeline, table: TableId, after: int, upto: int
) -> Iterator[Group | TableNotice]:
    """Yield what came after a point of the log, rows and statements in their order.

    Args:
        pipeline: The opened pipeline.
        table: The source table.
        after: The `_cdc_seq` the target is at.
        upto: The `_cdc_seq` to end at, inclusive.
    """
    for notice in pipeline.log.notices(table, after, upto):
        yield from _groups(pipeline, table, after, notice.seq - 1)
        yield notice
        after = max(after, notice.seq - 1)
    yield from _groups(pipeline, table, after, upto)


def _groups(pipeline: Pipeline, table: TableId, after: int, upto: int) -> Iterator[Group]:
    """Yield the rows of `(after, upto]`; the last group ends at `upto`."""
    if upto <= after:
        return
    held: list[ChangeBatch] = []
    rows = size = 0
    options = pipeline.options
    for batch in pipeline.log.read(table, after, upto):
        changed = held and held[0].schema.fingerprint() != batch.schema.fingerprint()
        full = rows + batch.rows.num_rows > options.apply_rows
        if held and (changed or full or size + batch.rows.nbytes > options.apply_bytes):
            yield _group(held, held[-1].rows.column(SEQ)[-1].as_py())
            held, rows, size = [], 0, 0
        held.append(batch)
        rows += batch.rows.num_rows
        size += batch.rows.nbytes
    if held:
        yield _group(held, upto)


def _group(held: list[ChangeBatch], upto: int) -> Group:
    return Group(held[0].schema, [batch.rows for batch in held], upto)
