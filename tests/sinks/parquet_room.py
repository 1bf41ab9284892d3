"""What tests know of Parquet tables: how DuckDB reads them with the manifest and without."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from resources.sinks.contract import TargetId
from resources.sinks.lake import LakeSink
from resources.sinks.parquet import ParquetSink
from resources.sinks.parquet_store import ParquetStore
from resources.sinks.parquet_tables import ParquetTables
from tests.contracts.lake_case import STORE_WRITES, LakeRoom
from tests.contracts.sink_steps import TARGET
from tests.docs.pages import ROOT, blocks

PARQUET_WRITES = (*STORE_WRITES, (ParquetStore, "put_new"), (ParquetStore, "move"))


def folder_of(place: Path | str, target: TargetId = TARGET.id) -> Path:
    """The table's folder."""
    return Path(place) / target.namespace / target.table


def live(place: Path | str, target: TargetId = TARGET.id) -> set[str]:
    """The data files that a reader finds, below the table's folder."""
    folder = folder_of(place, target)
    return {str(p.relative_to(folder)) for p in folder.rglob("*.parquet")}


def read_plainly(place: Path | str, target: TargetId = TARGET.id) -> pa.Table:
    """What DuckDB reads that knows nothing of manifests; it refuses a folder without files."""
    if not live(place, target):
        return pa.table({"id": pa.array([], pa.int64())})
    pattern = f"{folder_of(place, target)}/**/*.parquet"
    return duckdb.sql(f"FROM read_parquet('{pattern}', union_by_name = true)").to_arrow_table()


def plain(place: Path | str, target: TargetId = TARGET.id) -> list[tuple[Any, ...]]:
    """The rows of `read_plainly`, by their id."""
    read = read_plainly(place, target).sort_by("id")
    return list(zip(*(c.to_pylist() for c in read.columns), strict=True))


def exact(place: Path | str, target: TargetId = TARGET.id) -> list[tuple[Any, ...]]:
    """What DuckDB reads by the manifest, in the words of docs/parquet.md."""
    (block,) = [b for b in blocks(ROOT / "docs" / "parquet.md") if b.mark == "exact"]
    with duckdb.connect() as connection:
        connection.execute(block.text.replace("lake/shop/orders", str(folder_of(place, target))))
        return connection.sql("FROM orders ORDER BY id").fetchall()


class ParquetRoom(LakeRoom):
    """Parquet."""

    stored_types: ClassVar = {
        pa.int8(): "int8",
        pa.uint32(): "int64",
        pa.uint64(): "decimal128(20, 0)",
        pa.decimal128(38, 30): "decimal128(38, 30)",
        pa.decimal256(65, 30): "string",
        pa.timestamp("us"): "timestamp[us]",
        pa.timestamp("us", tz="UTC"): "timestamp[us, tz=UTC]",
        pa.duration("us"): "int64",
        pa.large_string(): "string",
        pa.large_binary(): "binary",
        pa.date32(): "date32[day]",
        pa.bool_(): "bool",
        pa.float32(): "float",
        pa.float64(): "double",
    }
    commit = (ParquetTables, "_put")
    writes = PARQUET_WRITES
    file_call = (Path, "hardlink_to")

    def make(self, place: str, **options: Any) -> ParquetSink:
        return ParquetSink(place, **options)

    def live(self, sink: LakeSink, target: TargetId = TARGET.id) -> set[str]:
        folder = folder_of(sink.store.root, target)
        return {str(folder / path) for path in live(sink.store.root, target)}

    def others(self, sink: LakeSink, target: TargetId = TARGET.id) -> pa.Table:
        return read_plainly(sink.store.root, target)

    def stored(self, sink: LakeSink, target: TargetId) -> list[str]:
        (path,) = self.live(sink, target)
        return [str(type_) for type_ in pq.read_schema(path).types]
