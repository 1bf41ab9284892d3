"""Rows of the source by the keys that dirty rows have.

In: key texts as the dirty-data store has them. Out: the rows that have one of these keys now, as
the change log would have them. A masked key cannot be turned back, so such a table is read whole,
chunk by chunk, and every key is masked before it is compared.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from cdc_assets.engine.pipeline import Pipeline
from cdc_assets.engine.rate import RateLimit
from resources.model.keys import key_texts
from resources.model.source import ChunkRows, RowSource, SnapshotSource
from resources.model.table import TableSchema


@dataclass(frozen=True)
class FoundRows:
    """Rows that have one of the keys asked for, and others that the source gave with them.

    Args:
        rows: They, of the schema the change log has: masked, without excluded columns.
        keys: Their key texts.
        rejected: Key texts of rows that still cannot be decoded.
    """

    rows: pa.RecordBatch
    keys: list[str]
    rejected: frozenset[str]


def find_rows(
    pipeline: Pipeline, schema: TableSchema, keys: Collection[str]
) -> Iterator[FoundRows] | None:
    """Read rows again by their keys.

    Args:
        pipeline: The opened pipeline.
        schema: The table as the source has it now.
        keys: Key texts as they are stored: those of masked columns are digests.

    Returns:
        The rows; those that are gone are left out, and others may be among them. None if the
        source cannot be asked for them.
    """
    source = pipeline.source
    masker = pipeline.options.transforms.masker(schema)
    if masker is None or not masker.hidden_key:
        if not isinstance(source, RowSource):
            return None
        return (_stored(pipeline, schema, part) for part in source.read_rows(schema, list(keys)))
    return _search(pipeline, source, schema, keys) if isinstance(source, SnapshotSource) else None


def _search(
    pipeline: Pipeline, source: SnapshotSource, schema: TableSchema, keys: Collection[str]
) -> Iterator[FoundRows]:
    """Read the table until every key was met, at the pace the pipeline file allows."""
    options = pipeline.options
    masker = options.transforms.masker(schema)
    assert masker is not None, "the key is masked"
    rate = RateLimit(options.rows_per_second, options.bytes_per_second)
    digest = masker.hidden_key[0]
    wanted = pa.array([json.loads(key)[digest] for key in keys], pa.string())
    missing = set(keys)
    for chunk in source.plan_chunks(schema, options.chunk_rows):
        for part in source.read_chunk(schema, chunk):
            rate.took(part.rows.num_rows, part.rows.nbytes)
            found = _stored(pipeline, schema, part, wanted)
            missing -= {*found.keys, *found.rejected}
            yield found
            if not missing:
                return


def _stored(
    pipeline: Pipeline, schema: TableSchema, part: ChunkRows, wanted: pa.Array | None = None
) -> FoundRows:
    """Return a part as the change log would have it; only rows whose first digest is wanted."""
    masker = pipeline.options.transforms.masker(schema)
    rows, rejected = part.rows, part.rejected
    if masker is not None:
        rows = masker.apply(rows)
        rejected = [masker.apply_rejected(row) for row in rejected]
    if masker is not None and wanted is not None:
        rows = rows.filter(pc.is_in(rows.column(masker.hidden_key[0]), wanted))
    return FoundRows(rows, key_texts(rows, schema.key), frozenset(r.key for r in rejected))
