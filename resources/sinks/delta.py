"""The Delta sink: tables of Delta Lake in a folder or an object store, by delta-rs.

In: reduced changes, appended changes, snapshot chunks as Arrow tables. Out: Delta tables that
Spark, DuckDB, Trino and others read; the watermark and the fencing token in every commit.
"""

from __future__ import annotations

from collections.abc import Mapping

from resources.sinks.decimal_text import keeps_as_text
from resources.sinks.delta_log import DeltaLog
from resources.sinks.lake import LakeSink
from resources.sinks.lake_store import LakeStore
from resources.sinks.lake_types import LakeTypes


class DeltaSink(LakeSink):
    """Target tables in Delta Lake.

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
        text_decimals = keeps_as_text("Delta", types)
        store = LakeStore(location, storage)
        known = LakeTypes(narrow_integers=True, text_decimals=text_decimals)
        super().__init__(store, DeltaLog(store, known))
