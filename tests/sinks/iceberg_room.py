"""What tests know of Iceberg tables: how pyiceberg reads them, and their catalog."""

from __future__ import annotations

from typing import Any, ClassVar

import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.io.pyarrow import PyArrowFile
from pyiceberg.table import Table
from sqlalchemy.orm import Session

from resources.sinks.contract import TargetId
from resources.sinks.iceberg import IcebergSink
from resources.sinks.iceberg_table import IcebergTables
from resources.sinks.lake import LakeSink
from tests.contracts.lake_case import STORE_WRITES, LakeRoom
from tests.contracts.sink_steps import TARGET


def table_of(sink: LakeSink, target: TargetId = TARGET.id) -> Table:
    """The table by pyiceberg."""
    assert isinstance(sink, IcebergSink)
    return sink.catalog.open().load_table((target.namespace, target.table))


class IcebergRoom(LakeRoom):
    """Iceberg."""

    stored_types: ClassVar = {
        pa.int8(): "int",
        pa.int16(): "int",
        pa.uint8(): "int",
        pa.uint16(): "int",
        pa.int32(): "int",
        pa.uint32(): "long",
        pa.uint64(): "decimal(20, 0)",
        pa.decimal128(38, 30): "decimal(38, 30)",
        pa.decimal256(65, 30): "string",
        pa.timestamp("us"): "timestamp",
        pa.timestamp("us", tz="UTC"): "timestamptz",
        pa.duration("us"): "long",
        pa.large_string(): "string",
        pa.large_binary(): "binary",
        pa.date32(): "date",
        pa.bool_(): "boolean",
        pa.float32(): "float",
        pa.float64(): "double",
    }
    commit = (IcebergTables, "commit")
    writes = (
        *STORE_WRITES,
        *((SqlCatalog, name) for name in ("commit_table", "drop_table", "create_namespace")),
        *((PyArrowFile, "create"), (Session, "commit")),
    )
    longest_name = 200
    in_place = frozenset({"_cdc", "catalog.db"})

    def make(self, place: str, **options: Any) -> IcebergSink:
        return IcebergSink(place, **options)

    def live(self, sink: LakeSink, target: TargetId = TARGET.id) -> set[str]:
        return {task.file.file_path for task in table_of(sink, target).scan().plan_files()}

    def others(self, sink: LakeSink, target: TargetId = TARGET.id) -> pa.Table:
        return table_of(sink, target).scan().to_arrow()

    def stored(self, sink: LakeSink, target: TargetId) -> list[str]:
        return [str(f.field_type) for f in table_of(sink, target).schema().fields]
