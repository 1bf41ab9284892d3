"""What tests know of Paimon tables: how pypaimon's own reader reads them, and their files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
from pypaimon import CatalogFactory

from resources.sinks.contract import TargetId
from resources.sinks.lake import LakeSink
from resources.sinks.paimon import PaimonSink
from resources.sinks.paimon_table import PaimonTables
from tests.contracts.lake_case import LakeRoom
from tests.contracts.sink_steps import TARGET
from tests.sinks.parquet_room import PARQUET_WRITES


class PaimonRoom(LakeRoom):
    """Paimon."""

    stored_types: ClassVar[Mapping[pa.DataType, str]] = {
        pa.int8(): "TINYINT",
        pa.int16(): "SMALLINT",
        pa.int32(): "INT",
        pa.uint8(): "SMALLINT",
        pa.uint16(): "INT",
        pa.uint32(): "BIGINT",
        pa.uint64(): "DECIMAL(20, 0)",
        pa.decimal128(38, 30): "DECIMAL(38, 30)",
        pa.decimal256(65, 30): "STRING",
        pa.timestamp("us"): "TIMESTAMP(6)",
        pa.timestamp("us", tz="UTC"): "TIMESTAMP_LTZ(6)",
        pa.duration("us"): "BIGINT",
        pa.large_string(): "STRING",
        pa.large_binary(): "BYTES",
        pa.date32(): "DATE",
        pa.bool_(): "BOOLEAN",
        pa.float32(): "FLOAT",
        pa.float64(): "DOUBLE",
    }
    ending = ".db"
    commit = (PaimonTables, "_publish")
    writes = PARQUET_WRITES
    file_call = (Path, "hardlink_to")
    in_place = frozenset({"_cdc"})

    def make(self, place: str, **options: Any) -> PaimonSink:
        return PaimonSink(place, **options)

    def catalog_of(self, sink: LakeSink) -> Any:
        """pypaimon's own catalog of the place."""
        return CatalogFactory.create({"warehouse": sink.store.url("")})

    def paimon(self, sink: LakeSink, target: TargetId = TARGET.id) -> Any:
        """The table by pypaimon's catalog."""
        return self.catalog_of(sink).get_table(sink.format.folder(target).replace(".db/", "."))

    def live(self, sink: LakeSink, target: TargetId = TARGET.id) -> set[str]:
        splits = self.paimon(sink, target).new_read_builder().new_scan().plan().splits()
        return {f.file_path for split in splits for f in split.files}

    def others(self, sink: LakeSink, target: TargetId = TARGET.id) -> pa.Table:
        builder = self.paimon(sink, target).new_read_builder()
        return builder.new_read().to_arrow(builder.new_scan().plan().splits())

    def stored(self, sink: LakeSink, target: TargetId) -> list[str]:
        return [str(f.type) for f in self.paimon(sink, target).fields]
