"""The Parquet sink: folders of Parquet files in a file system or an object store, and no catalog.

In: reduced changes, appended changes, snapshot chunks as Arrow tables. Out: per table a folder,
laid out by `column=value/` where asked, that DuckDB, pandas, Spark and others read as it is; beside
the files a manifest with the watermark, by which reads are exact at any moment.
"""

from __future__ import annotations

from collections.abc import Mapping

from resources.model.source import Finding
from resources.sinks.contract import TargetId, TargetTable
from resources.sinks.decimal_text import keeps_as_text
from resources.sinks.lake import LakeSink
from resources.sinks.lake_types import LakeTypes
from resources.sinks.parquet_store import ParquetStore
from resources.sinks.parquet_tables import (
    HIDDEN_REMEDY,
    ParquetTables,
    hidden_message,
    is_hidden,
)


class ParquetSink(LakeSink):
    """Target tables as plain Parquet files.

    Args:
        location: A folder, or `s3://bucket/prefix`.
        storage: Options of the object store, as `lake_store.OPTIONS` has them.
        types: `{"decimal_overflow": "text"}` keeps DECIMAL beyond 38 digits as text; without it
            such columns are refused before start.

    Raises:
        ConfigError: `types` holds something else, or the location cannot be used.
    """

    def __init__(
        self,
        location: str,
        *,
        storage: Mapping[str, str] | None = None,
        types: Mapping[str, str] | None = None,
    ) -> None:
        text_decimals = keeps_as_text("Parquet", types)
        store = ParquetStore(location, storage)
        known = LakeTypes(narrow_integers=True, text_decimals=text_decimals)
        super().__init__(store, ParquetTables(store, known))

    def check_table(self, target: TargetTable) -> list[Finding]:
        """Return findings as every lake has them, and of columns that make hidden folders."""
        return super().check_table(target) + [
            Finding(
                "error",
                "partition_invalid",
                f"{target.id}: {hidden_message(name)}",
                HIDDEN_REMEDY,
                target.schema.table,
            )
            for name in target.partition_keys
            if is_hidden(name)
        ]

    def list_files(self, target: TargetId) -> list[str]:
        """Return where the table's files are now, as paths or URLs, none if there is no table."""
        live = self.format.read(target)
        folder = self.format.folder(target)
        return [] if live is None else [self.store.url(f"{folder}/{f.path}") for f in live.files]
