"""Data files as Paimon's manifests tell them.

In: files as they were written. Out: manifest entries that add or remove them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pypaimon.manifest.schema.data_file_meta import DataFileMeta
from pypaimon.manifest.schema.manifest_entry import ManifestEntry
from pypaimon.manifest.schema.simple_stats import SimpleStats
from pypaimon.schema.data_types import DataField
from pypaimon.schema.table_schema import TableSchema
from pypaimon.table.row.generic_row import GenericRow

from resources.sinks.lake_format import DataFile
from resources.sinks.paimon_files import KEY, KIND, SEQUENCE, file_keys

_ADD, _DELETE = 0, 1
_APPENDED, _COMPACTED = 0, 1


def added(file: DataFile, table: TableSchema, level: int = 0) -> ManifestEntry:
    """Return the entry that adds a file.

    Args:
        file: As `paimon_files` tells it.
        table: The schema the file is of.
        level: The level it is in; files of one level but 0 hold no key in common.
    """
    fields = {f.name: f for f in table.fields}
    keys = [fields[n] for n in file_keys(table)]
    folder, _, name = file.path.rpartition("/")
    low, high = file.bounds.get(SEQUENCE, (0, 0))
    meta = DataFileMeta.create(
        file_name=name,
        file_size=file.size,
        row_count=file.rows or 0,
        min_key=_row([file.bounds[f"{KEY}{f.name}"][0] for f in keys], keys),
        max_key=_row([file.bounds[f"{KEY}{f.name}"][1] for f in keys], keys),
        key_stats=SimpleStats(
            _row([file.bounds[f.name][0] for f in keys], keys),
            _row([file.bounds[f.name][1] for f in keys], keys),
            [0] * len(keys),
        ),
        value_stats=SimpleStats.empty_stats(),
        min_sequence_number=low,
        max_sequence_number=high,
        schema_id=table.id,
        level=level,
        extra_files=[],
        delete_row_count=file.nulls.get(KIND, 0),
        file_source=_COMPACTED if level else _APPENDED,
        value_stats_cols=[],
    )
    parts = [fields[n] for n in table.partition_keys]
    partition = _row([file.partition[f.name] for f in parts], parts)
    bucket = int(folder.rpartition("bucket-")[2])
    return ManifestEntry(_ADD, partition, bucket, int(table.options["bucket"]), meta)


def removed(entry: ManifestEntry) -> ManifestEntry:
    """Return the entry that removes a file."""
    return replace(entry, kind=_DELETE)


def _row(values: Sequence[Any], fields: Sequence[DataField]) -> GenericRow:
    return GenericRow(list(values), list(fields))
