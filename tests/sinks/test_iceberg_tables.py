"""Iceberg tables as other engines see and change them, and what their manifests hold."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

from resources.errors import SchemaMismatch, TerminalError
from resources.model.column_change import AddColumn, DropColumn, RenameColumn, RetypeColumn
from resources.model.table import Column
from resources.sinks import lake_compact
from resources.sinks.contract import Watermark
from resources.sinks.lake import LakeSink
from tests.contracts.lake_case import table, target_of
from tests.contracts.lake_hands import LakeHands
from tests.contracts.lake_tables import PARTITIONED, LakeTables, merge_partitioned
from tests.contracts.sink_steps import (
    FEED,
    STEPS,
    TARGET,
    fence,
    keys_of,
    load,
    observe,
    rows_of,
)
from tests.sinks.iceberg_readers import clickhouse_rows
from tests.sinks.iceberg_room import IcebergRoom, table_of
from tests.strategies import comparable


def manifests(sink: LakeSink) -> set[str]:
    """The manifests of the data files there are."""
    live = table_of(sink)
    snapshot = live.current_snapshot()
    assert snapshot is not None
    added = [
        m for m in snapshot.manifests(live.io) if m.has_added_files() or m.has_existing_files()
    ]
    return {m.manifest_path for m in added}


class TestIcebergTables(IcebergRoom, LakeTables):
    """What is in the files, the manifests and the snapshots."""

    def test_engines_read_partitions_by_the_metadata(self, place: Path) -> None:
        """pyiceberg by its filters, and ClickHouse's engine, which reads the metadata by itself."""
        with self.make(str(place)) as sink:
            merge_partitioned(sink)
            found = table_of(sink, PARTITIONED.id).scan(row_filter="city = 'there'").to_arrow()
            assert found["id"].to_pylist() == [1]
        assert clickhouse_rows(place, "shop/t") == [
            (1, None, "there", 7),
            (2, None, "b b", None),
            (4, "2024-02-29", "new", 8),
        ]

    def test_nested_and_altered_columns_are_read_by_others(self, place: Path) -> None:
        shape = pa.struct([("srid", pa.uint32()), ("wkb", pa.binary())])
        target = target_of(Column("g", shape), Column("v", pa.list_(pa.float32())))
        with self.make(str(place)) as sink:
            sink.create_table(target)
            rows = table(target, (1, {"srid": 4326, "wkb": b"\x01"}, [1.5, -2.0]), (2, None, None))
            sink.merge(target, rows, keys_of(), fence(None, 1))
            sink.alter_table(target.id, [AddColumn(Column("note", pa.string()))])
            sink.alter_table(target.id, [RenameColumn("v", "vector"), DropColumn("g")])
            sink.alter_table(target.id, [AddColumn(Column("g", pa.int8()))])
            assert sink.read_watermark(target.id, FEED) == Watermark(1, 0, 1)
            wanted = [
                {"id": 1, "vector": [1.5, -2.0], "note": None, "g": None},
                {"id": 2, "vector": None, "note": None, "g": None},
            ]
            for read in (sink.read_table(target.id), self.others(sink, target.id)):
                assert sorted(read.to_pylist(), key=lambda r: r["id"]) == wanted
            ids = [f.field_id for f in table_of(sink, target.id).schema().fields]
            assert len(set(ids)) == 4
            assert max(ids) > 4, "an id was given to another column"
        assert clickhouse_rows(place, "shop/t", "id, note, g") == [(1, None, None), (2, None, None)]

    def test_a_column_that_is_widened_keeps_its_id(self, loaded: LakeSink) -> None:
        loaded.alter_table(TARGET.id, [AddColumn(Column("n", pa.int8()))])
        before = table_of(loaded).schema().find_field("n")
        for wider, shown in ((pa.int32(), "int"), (pa.int64(), "long")):
            loaded.alter_table(TARGET.id, [RetypeColumn(Column("n", wider))])
            after = table_of(loaded).schema().find_field("n")
            assert (after.field_id, str(after.field_type)) == (before.field_id, shown)
        loaded.alter_table(TARGET.id, [RetypeColumn(Column("n", pa.decimal128(30, 2)))])
        assert table_of(loaded).schema().find_field("n").field_id > before.field_id

    def test_a_partition_column_keeps_its_type(self, place: Path) -> None:
        target, other = (
            target_of(Column("city", type_), partition_keys=("city",))
            for type_ in (pa.string(), pa.int32())
        )
        with self.make(str(place)) as sink:
            sink.create_table(target)
            sink.begin_load(other, "a", FEED)
            with pytest.raises(TerminalError, match="partitioned by"):
                sink.finish_load(other, "a", fence(None, 5), 5)

    def test_only_manifests_with_touched_keys_are_written_anew(self, place: Path) -> None:
        parts = [rows_of(dict.fromkeys(range(n, n + 10), "old")) for n in range(0, 50, 10)]
        with self.make(str(place)) as sink:
            load(sink, TARGET, "a", parts, fence(None, 10))
            sink.merge(TARGET, rows_of({12: "new", 99: "more"}), keys_of(33, 77), fence(10, 20))
            held = manifests(sink)
            sink.merge(TARGET, rows_of({100: "more"}), keys_of(), fence(20, 30))
            assert held < manifests(sink), "a manifest was written anew though no file of it goes"
            sink.merge(TARGET, rows_of({}), keys_of(), fence(30, 40))
            assert len(manifests(sink)) <= len(held) + 1

    def test_watermark_and_token_are_in_the_snapshot_of_the_data(self, loaded: LakeSink) -> None:
        STEPS["merge"].work(loaded)
        snapshot = table_of(loaded).current_snapshot()
        assert snapshot is not None
        assert snapshot.summary is not None
        told = snapshot.summary.additional_properties
        (key,) = [k for k in told if k.startswith("cdc-assets.feed ")]
        assert json.loads(key.removeprefix("cdc-assets.feed ")) == [
            FEED.pipeline,
            FEED.table.database,
            FEED.table.table,
        ]
        state = json.loads(told[key])
        assert (state["seq"], state["token"], told["cdc-assets.what"]) == (20, 1, "merge")
        assert (told["added-records"], told["total-records"]) == ("2", "3")

    def test_a_table_rolled_back_has_the_watermark_of_its_rows(self, loaded: LakeSink) -> None:
        before, old = observe(loaded, TARGET), table_of(loaded).current_snapshot()
        assert old is not None
        STEPS["merge"].work(loaded)
        assert observe(loaded, TARGET) != before
        table_of(loaded).manage_snapshots().rollback_to_snapshot(old.snapshot_id).commit()
        assert observe(loaded, TARGET) == before
        STEPS["merge"].work(loaded)
        assert loaded.count_rows(TARGET.id) == 3

    def test_joined_files_are_one_manifest_of_a_replacing_snapshot(self, loaded: LakeSink) -> None:
        STEPS["merge"].work(loaded)
        assert loaded.maintain(TARGET.id, 0).written == 1
        assert (len(self.live(loaded)), len(manifests(loaded))) == (1, 1)
        head = table_of(loaded).current_snapshot()
        assert head is not None
        assert head.summary is not None
        assert head.summary.operation.value == "replace"

    def test_upkeep_expires_old_snapshots_and_deletes_their_files(
        self, loaded: LakeSink, place: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As if all of it were old; what is needed now and what states are carried from stays."""
        for seq in range(10, 15):
            loaded.merge(TARGET, rows_of({1: f"v{seq}"}), keys_of(), fence(seq, seq + 1))
        table_of(loaded).append(rows_of({50: "by hand"}))
        before = observe(loaded, TARGET)
        snapshots, files = len(table_of(loaded).snapshots()), len(list(place.rglob("*.parquet")))
        monkeypatch.setattr(lake_compact, "SMALL_BYTES", 0)
        upkeep = loaded.format.maintain(TARGET.id, -60)
        assert upkeep.joined == 0
        assert upkeep.deleted > files // 2
        assert len(table_of(loaded).snapshots()) == 2 < snapshots
        assert observe(loaded, TARGET) == before
        assert len(list(place.rglob("*.parquet"))) == len(self.live(loaded))
        loaded.merge(TARGET, rows_of({7: "x"}), keys_of(), fence(15, 16))
        assert loaded.count_rows(TARGET.id) == len(before[0] or []) + 1


class TestIcebergHands(IcebergRoom, LakeHands):
    """Other engines write to the table and change its columns."""

    def append_by_hand(self, sink: LakeSink, rows: pa.Table) -> None:
        with table_of(sink).update_schema() as update:
            update.union_by_name(rows.schema)
        table_of(sink).append(rows)

    def delete_by_hand(self, sink: LakeSink, where: str) -> None:
        table_of(sink).delete(where)

    def require_no_leftovers(self, sink: LakeSink, place: Path) -> None:
        there = {str(p) for p in place.rglob("part-*.parquet")}
        snapshots = table_of(sink).inspect.all_files()["file_path"].to_pylist()
        assert there <= set(snapshots), "files of the attempt that lost are still there"
        lists = {str(p) for p in place.rglob("snap-*.avro")}
        assert lists == {s.manifest_list for s in table_of(sink).snapshots()}

    def test_columns_renamed_by_another_engine_are_told_and_a_load_mends_it(
        self, loaded: LakeSink
    ) -> None:
        """Files hold the old name: reading by the new one would find NULL."""
        with table_of(loaded).update_schema() as update:
            update.rename_column("name", "title")
        with table_of(loaded).update_schema() as update:
            update.add_column("name", table_of(loaded).schema().find_field("title").field_type)
        with table_of(loaded).update_schema(allow_incompatible_changes=True) as update:
            update.delete_column("title")
        with pytest.raises(SchemaMismatch, match="name"):
            STEPS["merge"].work(loaded)
        load(loaded, TARGET, "mend", [rows_of({1: "one"})], fence(10, 20))
        assert comparable(loaded.read_table(TARGET.id)) == comparable(rows_of({1: "one"}))
