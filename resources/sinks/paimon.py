"""The Paimon sink: tables of Apache Paimon in a folder or an object store, by pypaimon.

In: reduced changes, appended changes, snapshot chunks as Arrow tables. Out: primary-key tables and
append tables that Flink, Spark, Trino, StarRocks and pypaimon read; the watermark and the fencing
token in every snapshot.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import cast

from resources.errors import ConfigError
from resources.model.source import Finding
from resources.sinks import shape
from resources.sinks.contract import TargetId, TargetTable
from resources.sinks.decimal_text import keeps_as_text
from resources.sinks.lake import LakeSink
from resources.sinks.lake_check import require_types
from resources.sinks.lake_files import FileReader
from resources.sinks.lake_format import Change, LostRace, Snapshot
from resources.sinks.lake_types import LakeTypes
from resources.sinks.paimon_alter import PaimonColumns
from resources.sinks.paimon_changes import KEY_REMEDY, PaimonCommits, other_key
from resources.sinks.paimon_landing import (
    ZONED_REMEDY,
    PaimonLanding,
    wanted_layout,
    zoned_message,
    zoned_partitions,
)
from resources.sinks.paimon_options import (
    DEDUPLICATE,
    ENGINE,
    ENGINES,
    OWN,
    refused_options,
)
from resources.sinks.paimon_read import PaimonReader
from resources.sinks.paimon_snapshot import PaimonSnapshot
from resources.sinks.paimon_table import PaimonTables
from resources.sinks.parquet_store import ParquetStore


class PaimonSink(LakeSink):
    """Target tables in Paimon.

    Args:
        location: The warehouse: a folder, or `s3://bucket/prefix`.
        storage: Options of the object store, as `lake_store.OPTIONS` has them.
        types: `{"decimal_overflow": "text"}` keeps DECIMAL beyond 38 digits as text; without it
            such columns are refused before start.
        buckets: Into how many buckets the keys of a partition go in tables that are made.
        daily_tags: How many daily tags a table keeps, 0 for none; see `paimon_tags`.
        merge_engine: What tables make of rows with one key: `deduplicate` keeps the last, so that
            they equal their source. With `partial-update` or `aggregation` they are
            what the engine makes of the rows that were inserted or updated; deletions are left out.
        options: Paimon's own options of tables that are made.

    Raises:
        ConfigError: An argument is none of these, or the location cannot be used.
    """

    def __init__(
        self,
        location: str,
        *,
        storage: Mapping[str, str] | None = None,
        types: Mapping[str, str] | None = None,
        buckets: int = 1,
        daily_tags: int = 0,
        merge_engine: str = DEDUPLICATE,
        options: Mapping[str, str] | None = None,
    ) -> None:
        text_decimals = keeps_as_text("Paimon", types)
        made = dict(options or {})
        wrong = [n for n in OWN if n in made] + refused_options(made)
        wrong += [f"{ENGINE}: {merge_engine}"] * (merge_engine not in ENGINES)
        if wrong or buckets < 1:
            raise ConfigError(
                f"the Paimon sink does not take {', '.join(wrong) or f'{buckets} buckets'}",
                remedy="docs/paimon.md has what is the sink's to say, and what it does not keep",
            )
        store = ParquetStore(location, storage)
        known = LakeTypes(narrow_integers=True, text_decimals=text_decimals)
        tables = PaimonTables(store, known, daily_tags, merge_engine)
        super().__init__(store, tables)
        self._tables = tables
        self._place = store
        self._buckets = buckets
        self._engine = merge_engine
        made |= {ENGINE: merge_engine} if merge_engine != DEDUPLICATE else {}
        self._options = tuple(sorted(made.items()))
        self._commits = PaimonCommits(store, tables, self._feeds)
        self._columns = PaimonColumns(store, tables)
        self._loads = PaimonLanding(store, tables, self._commits, buckets, self._options)

    def check_table(self, target: TargetTable) -> list[Finding]:
        """Return findings as every lake has them, and those of partitions and merge engines."""
        found = super().check_table(target)
        if found:
            return found
        told = [
            ("partition_invalid", zoned_message(name), ZONED_REMEDY)
            for name in zoned_partitions(target)
        ]
        live = self._tables.read(target.id)
        if live is not None and other_key(target, live):
            told.append(("schema_mismatch", other_key(target, live), KEY_REMEDY))
        moves = bool(set(target.partition_keys) - set(target.schema.key))
        if self._engine != DEDUPLICATE and target.mode == "merge" and (target.owner or moves):
            why = "several feeds share it" if target.owner else "its keys may change partitions"
            message = f"the merge engine {self._engine} has no deletions, and {why}"
            told.append(("merge_engine", message, "use the merge engine `deduplicate` for it"))
        return [
            Finding("error", code, f"{target.id}: {message}", remedy, target.schema.table)
            for code, message, remedy in told
        ]

    def create_table(self, target: TargetTable) -> None:
        """Create the table if it is missing."""
        if self._tables.read(target.id) is None:
            require_types(target, self._tables.types)
            layout = wanted_layout(target, None, self._buckets, self._options)
            schema = shape.target_schema(target)
            with suppress(LostRace):
                change = Change("create", layout=layout.text)
                self._tables.create(target.id, schema, target.partition_keys, change)

    def _reader(self, target: TargetId, live: Snapshot) -> FileReader:
        return PaimonReader(self._place, target, cast(PaimonSnapshot, live))
