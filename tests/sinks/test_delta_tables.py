"""Delta tables as other engines see and change them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from resources.errors import ConfigError
from resources.model.column_change import AddColumn, DropColumn, RenameColumn, RetypeColumn
from resources.model.table import Column
from resources.sinks.contract import Watermark
from resources.sinks.lake import LakeSink
from tests.contracts.lake_hands import LakeHands
from tests.contracts.lake_tables import PARTITIONED, LakeTables, merge_partitioned
from tests.contracts.sink_steps import FEED, STEPS, TARGET
from tests.sinks.delta_room import DeltaRoom, table_of


class TestDeltaTables(DeltaRoom, LakeTables):
    """What is in the files and in the log."""

    def test_partitions_are_in_the_log(self, place: Path) -> None:
        """DataFusion finds files by their partition, whose values are in the log alone."""
        with self.make(str(place)) as sink:
            merge_partitioned(sink)
            found = table_of(sink, PARTITIONED.id).scan(predicate="city = 'there'")
            assert pa.table(found)["id"].to_pylist() == [1]
            columns = table_of(sink, PARTITIONED.id).metadata().partition_columns
            assert columns == ["day", "city"]

    def test_watermark_and_token_are_in_the_commit_of_the_data(self, loaded: LakeSink) -> None:
        STEPS["merge"].work(loaded)
        (told,) = table_of(loaded).history(1)
        assert told["cdc-assets"] == {"what": "merge", "feed": str(FEED), "seq": 20, "token": 1}
        table_of(loaded).create_checkpoint()
        assert loaded.read_watermark(TARGET.id, FEED) == Watermark(20, 15, 1)

    def test_columns_of_times_without_zone_are_enabled_when_they_come(
        self, loaded: LakeSink
    ) -> None:
        """`timestamp_ntz` is a feature of Delta that a table without such columns does not name."""
        loaded.alter_table(TARGET.id, [AddColumn(Column("at", pa.timestamp("us")))])
        loaded.alter_table(TARGET.id, [RenameColumn("at", "then")])
        loaded.drop_table(TARGET.id)
        STEPS["merge"].prepare(loaded)
        loaded.alter_table(TARGET.id, [AddColumn(Column("d", pa.date32()))])
        changes = [RetypeColumn(Column("d", pa.timestamp("us"))), DropColumn("name")]
        loaded.alter_table(TARGET.id, changes)
        assert loaded.read_schema(TARGET.id) == pa.schema(
            [("id", pa.int64()), ("d", pa.timestamp("us"))]
        )
        assert loaded.count_rows(TARGET.id) == 3


class TestDeltaHands(DeltaRoom, LakeHands):
    """Other engines write to the table, and settle duties on it."""

    def append_by_hand(self, sink: LakeSink, rows: pa.Table) -> None:
        write_deltalake(table_of(sink), rows, mode="append", schema_mode="merge")

    def delete_by_hand(self, sink: LakeSink, where: str) -> None:
        table_of(sink).delete(where)

    def require_no_leftovers(self, sink: LakeSink, place: Path) -> None:
        written = {str(p) for p in place.rglob("part-*.parquet")}
        assert {p for p in written if "/part-0" not in p} <= self.live(sink)

    @pytest.mark.parametrize(
        "setting",
        ["delta.enableChangeDataFeed", "delta.appendOnly", "delta.enableDeletionVectors"],
    )
    def test_tables_with_duties_we_do_not_keep_are_refused(
        self, loaded: LakeSink, setting: str
    ) -> None:
        table_of(loaded).alter.set_table_properties({setting: "true"}, raise_if_not_exists=False)
        with pytest.raises(ConfigError, match=setting):
            STEPS["merge"].work(loaded)

    def test_constraints_of_the_user_are_refused(self, loaded: LakeSink) -> None:
        table_of(loaded).alter.add_constraint({"positive": "id > 0"})
        with pytest.raises(ConfigError, match=r"delta\.constraints\.positive"):
            STEPS["merge"].work(loaded)
