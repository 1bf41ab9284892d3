"""Loads into Paimon tables: chunks are written where they will be, and named by nothing until then.

In: chunks of rows. Out: one snapshot that names the loaded files in the place of the table's, or of
the feed's rows in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pyarrow as pa

from resources.errors import ConfigError
from resources.sinks import shape
from resources.sinks.contract import TargetId, TargetTable
from resources.sinks.lake_changes import LakeChanges
from resources.sinks.lake_commit import LakeCommits
from resources.sinks.lake_files import FileReader
from resources.sinks.lake_fold import LakeFold
from resources.sinks.lake_format import DataFile, Snapshot
from resources.sinks.lake_landing import LakeLanding
from resources.sinks.lake_loads import LakeLoad
from resources.sinks.lake_types import LakeTypes
from resources.sinks.paimon_files import file_schema
from resources.sinks.paimon_loads import PaimonLoads
from resources.sinks.paimon_schema import Layout, new_schema
from resources.sinks.paimon_snapshot import PaimonSnapshot
from resources.sinks.paimon_table import PaimonTables
from resources.sinks.parquet_store import ParquetStore


def wanted_layout(
    target: TargetTable, live: Snapshot | None, buckets: int, options: tuple[tuple[str, str], ...]
) -> Layout:
    """Return what a target's files are laid out by; a table that is there keeps its buckets.

    Args:
        target: The target.
        live: The table, None if there is none.
        buckets: Buckets of a table that is made anew.
        options: Options of a table that is made anew.

    Raises:
        ConfigError: A partition column is a moment in time.
    """
    for name in zoned_partitions(target):
        raise ConfigError(zoned_message(name), where=str(target.id), remedy=ZONED_REMEDY)
    partition_by: tuple[str, ...] = target.partition_keys
    if live is not None:
        partition_by = live.partition_by
        buckets = cast(PaimonSnapshot, live).layout.buckets
    key = target.schema.key if target.mode == "merge" else ()
    return Layout(key, partition_by, buckets, options)


ZONED_REMEDY = "project a column of text or of a date, and partition by that"


def zoned_partitions(target: TargetTable) -> list[str]:
    """Return partition columns whose folders Paimon names by the time zone of whoever looks."""
    types = {f.name: f.type for f in shape.target_schema(target)}
    keys = [n for n in target.partition_keys if n in types]
    return [n for n in keys if pa.types.is_timestamp(types[n]) and types[n].tz is not None]


def zoned_message(name: str) -> str:
    """Return why a column cannot partition a table."""
    return f"the partition column {name!r} has another folder in every time zone"


class PaimonFold(LakeFold):
    """One load to fold in; its rows are written anew, with sequence numbers above all there are."""

    def __init__(
        self,
        changes: LakeChanges,
        loaded: FileReader,
        schema: pa.Schema,
        files: Sequence[DataFile],
        load: LakeLoad,
    ) -> None:
        super().__init__(changes, loaded, schema, files, load.feed)
        self._is_alike = False


class PaimonLanding(LakeLanding):
    """The loads of one place; see `LakeLanding`.

    Args:
        store: The place.
        format: The format.
        commits: Commits to its tables.
        buckets: Buckets of tables that are made.
        options: Options of tables that are made.
    """

    def __init__(
        self,
        store: ParquetStore,
        format: PaimonTables,
        commits: LakeCommits,
        buckets: int,
        options: tuple[tuple[str, str], ...],
    ) -> None:
        super().__init__(store, format, commits)
        self._buckets = buckets
        self._options = options

    def _layout(self, target: TargetTable, live: Snapshot | None) -> str:
        return wanted_layout(target, live, self._buckets, self._options).text

    def _loads(self, target: TargetId) -> PaimonLoads:
        types: LakeTypes = self._format.types
        return PaimonLoads(self._store, self._format.folder(target), types)

    def _fold(self, changes: LakeChanges, load: LakeLoad, files: Sequence[DataFile]) -> LakeFold:
        table = new_schema(load.schema, Layout.read(load.layout), self._format.types)
        folder = self._format.folder(changes.target.id)
        loaded = FileReader(self._store, folder, file_schema(table))
        return PaimonFold(changes, loaded, load.schema, files, load)
