"""The Iceberg sink: tables of Apache Iceberg in a folder or an object store, by pyiceberg.

In: reduced changes, appended changes, snapshot chunks as Arrow tables. Out: Iceberg tables that
Spark, Trino, ClickHouse, DuckDB and others read; watermark and fencing token in every snapshot.
"""

from __future__ import annotations

from collections.abc import Mapping

from resources.errors import ConfigError
from resources.sinks.decimal_text import keeps_as_text
from resources.sinks.iceberg_catalog import LakeCatalog
from resources.sinks.iceberg_table import IcebergTables
from resources.sinks.lake import LakeSink
from resources.sinks.lake_store import LakeStore
from resources.sinks.lake_types import LakeTypes


class IcebergSink(LakeSink):
    """Target tables in Apache Iceberg, format version 2.

    Args:
        location: A folder, or `s3://bucket/prefix`.
        catalog: Properties of a pyiceberg catalog, its `name` and `url`; without it a SQLite file
            in the folder.
        storage: Options of the object store, as `lake_store.OPTIONS` has them.
        types: `{"decimal_overflow": "text"}` keeps DECIMAL beyond 38 digits as text; without it
            such columns are refused before start.
        table_properties: Properties of tables this sink creates.

    Raises:
        ConfigError: `types` holds something else, the location cannot be used, or a lake in an
            object store has no catalog; or another format version is wanted.
    """

    def __init__(
        self,
        location: str,
        *,
        catalog: Mapping[str, str] | None = None,
        storage: Mapping[str, str] | None = None,
        types: Mapping[str, str] | None = None,
        table_properties: Mapping[str, str] | None = None,
    ) -> None:
        text_decimals = keeps_as_text("Iceberg", types)
        if (table_properties or {}).get("format-version", "2") != "2":
            raise ConfigError(
                "the Iceberg sink writes format version 2",
                remedy="take format-version out of `table_properties`",
            )
        store = LakeStore(location, storage)
        known = LakeTypes(narrow_integers=False, text_decimals=text_decimals)
        self.catalog = LakeCatalog(store, catalog)
        super().__init__(store, IcebergTables(store, self.catalog, known, table_properties))

    def close(self) -> None:
        """Close the catalog's connections."""
        self.catalog.close()
