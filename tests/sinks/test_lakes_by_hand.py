"""Tables of a lake that people alter, drop or make themselves, by engines of their formats."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
from deltalake import write_deltalake
from pyiceberg.types import IntegerType, StringType

from resources.sinks.contract import Sink
from resources.sinks.iceberg import IcebergSink
from resources.sinks.lake import LakeSink
from tests.contracts.lake_case import LakeRoom
from tests.contracts.sink_hands import DROPPED, MADE, SinkHands
from tests.contracts.sink_steps import FEED, TARGET, rows_of
from tests.sinks.delta_room import DeltaRoom
from tests.sinks.iceberg_room import IcebergRoom
from tests.sinks.paimon_room import PaimonRoom
from tests.sinks.parquet_room import ParquetRoom


class ByHand(LakeRoom, SinkHands):
    """Changes as an engine of the format makes them; a table is dropped with its folder."""

    def open(self, place: str) -> LakeSink:
        return self.make(place)


def reshaped(rows: pa.Table, change: str) -> pa.Table:
    """The rows after a change of columns."""
    texts, numbers = pa.array([""] * len(rows)), pa.array([7] * len(rows), pa.int32())
    required = pa.field("note", pa.string(), nullable=False)
    return {
        "column added": lambda: rows.append_column("note", texts),
        "required column added": lambda: rows.append_column(required, texts),
        "column dropped": lambda: rows.select(["id"]),
        "column renamed": lambda: rows.rename_columns(["id", "title"]),
        "type changed": lambda: rows.set_column(1, "name", numbers),
    }[change]()


class TestDelta(DeltaRoom, ByHand):
    """delta-rs writes the table anew in another shape; its log goes on."""

    def by_hand(self, sink: Sink, place: str, change: str) -> None:
        folder = Path(place) / "shop" / "orders"
        if change == DROPPED:
            shutil.rmtree(folder)
        elif change == MADE:
            empty = reshaped(rows_of({}), "type changed")
            write_deltalake(str(folder), empty)
        else:
            rows = reshaped(sink.read_table(TARGET.id), change)
            write_deltalake(str(folder), rows, mode="overwrite", schema_mode="overwrite")


class TestIceberg(IcebergRoom, ByHand):
    """pyiceberg changes the schema; data files stay as they are, so a new name finds no values."""

    def state(self, sink: Sink) -> object:
        """The table's metadata: rows under names that files do not have, nobody reads."""
        assert isinstance(sink, IcebergSink)
        catalog, name = sink.catalog.open(), (TARGET.id.namespace, TARGET.id.table)
        found = catalog.load_table(name).metadata if catalog.table_exists(name) else None
        return found, sink.read_watermark(TARGET.id, FEED)

    def by_hand(self, sink: Sink, place: str, change: str) -> None:
        assert isinstance(sink, IcebergSink)
        catalog, name = sink.catalog.open(), (TARGET.id.namespace, TARGET.id.table)
        if change == DROPPED:
            catalog.drop_table(name)
            return
        if change == MADE:
            catalog.create_namespace(name[0])
            location = sink.store.url(sink.format.folder(TARGET.id))
            catalog.create_table(name, reshaped(rows_of({}), "type changed").schema, location)
            return
        with catalog.load_table(name).update_schema(allow_incompatible_changes=True) as update:
            if "added" in change:
                required = change.startswith("required")
                default = "" if required else None
                update.add_column("note", StringType(), required=required, default_value=default)
            elif change == "column renamed":
                update.rename_column("name", "title")
            else:
                update.delete_column("name")
        if change == "type changed":
            with catalog.load_table(name).update_schema() as update:
                update.add_column("name", IntegerType())


class DroppedByHand(ByHand):
    """Formats that no engine here alters: a table's folder can be deleted."""

    hands: ClassVar[tuple[str, ...]] = (DROPPED,)

    def by_hand(self, sink: Sink, place: str, change: str) -> None:
        assert isinstance(sink, LakeSink)
        shutil.rmtree(Path(place) / sink.format.folder(TARGET.id))

    test_a_table_made_with_other_types_is_refused_before_start = None


class TestPaimon(PaimonRoom, DroppedByHand):
    """Columns are in its schema files."""


class TestParquet(ParquetRoom, DroppedByHand):
    """Columns are in its manifests."""
