"""What tests know of Delta tables: how DataFusion reads them, what delta-rs says of their files."""

from __future__ import annotations

from typing import Any, ClassVar

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.table import TableAlterer

from resources.sinks import delta_log
from resources.sinks.contract import TargetId
from resources.sinks.delta import DeltaSink
from resources.sinks.delta_log import DeltaLog
from resources.sinks.lake import LakeSink
from tests.contracts.lake_case import STORE_WRITES, LakeRoom
from tests.contracts.sink_steps import TARGET


def table_of(sink: LakeSink, target: TargetId = TARGET.id) -> DeltaTable:
    """The table by delta-rs."""
    return DeltaTable(sink.store.url(sink.format.folder(target)))


class DeltaRoom(LakeRoom):
    """Delta."""

    stored_types: ClassVar = {
        pa.int8(): "byte",
        pa.int16(): "short",
        pa.int32(): "integer",
        pa.uint8(): "short",
        pa.uint16(): "integer",
        pa.uint32(): "long",
        pa.uint64(): "decimal(20,0)",
        pa.decimal128(38, 30): "decimal(38,30)",
        pa.decimal256(65, 30): "string",
        pa.timestamp("us"): "timestamp_ntz",
        pa.timestamp("us", tz="UTC"): "timestamp",
        pa.duration("us"): "long",
        pa.large_string(): "string",
        pa.large_binary(): "binary",
        pa.date32(): "date",
        pa.bool_(): "boolean",
        pa.float32(): "float",
        pa.float64(): "double",
    }
    commit = (DeltaLog, "commit")
    writes = (
        *STORE_WRITES,
        *((DeltaTable, "create_write_transaction"), (TableAlterer, "add_columns")),
        *((TableAlterer, "add_feature"), (delta_log, "create_table_with_add_actions")),
    )

    def make(self, place: str, **options: Any) -> DeltaSink:
        return DeltaSink(place, **options)

    def live(self, sink: LakeSink, target: TargetId = TARGET.id) -> set[str]:
        added = pa.table(table_of(sink, target).get_add_actions())["path"].to_pylist()
        return {sink.store.url(f"{sink.format.folder(target)}/{path}") for path in added}

    def others(self, sink: LakeSink, target: TargetId = TARGET.id) -> pa.Table:
        return pa.table(table_of(sink, target).scan())

    def stored(self, sink: LakeSink, target: TargetId) -> list[str]:
        return [f.type.type for f in table_of(sink, target).schema().fields]  # type: ignore[union-attr]
