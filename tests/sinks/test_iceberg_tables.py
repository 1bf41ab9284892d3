"""Iceberg tables as other engines see and change them, and what their manifests hold."""

from __future__ import annotations

import datetime as dt
import json
import os
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.table import Table

from resources.errors import ConfigError, DirtyRowError, SchemaMismatch, TerminalError
from resources.model.column_change import AddColumn, DropColumn, RenameColumn, RetypeColumn
from resources.model.table import Column, TableId, TableSchema
from resources.sinks import lake_compact
from resources.sinks.contract import TargetId, TargetTable, Watermark
from resources.sinks.iceberg import IcebergSink
from resources.sinks.shape import target_schema
from tests.contracts.sink_steps import (
    FEED,
    PIPELINE,
    SCHEMA,
    STEPS,
    TARGET,
    fence,
    keys_of,
    load,
    observe,
    rows_of,
)
from tests.sinks.iceberg_readers import clickhouse_rows
from tests.strategies import comparable

WEEK = 7 * 86400


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "lake"


@pytest.fixture
def loaded(place: Path) -> Iterator[IcebergSink]:
    with IcebergSink(str(place)) as sink:
        STEPS["merge"].prepare(sink)
        yield sink


def table_of(sink: IcebergSink, target: TargetId = TARGET.id) -> Table:
    return sink.catalog.open().load_table((target.namespace, target.table))


def target_of(*columns: Column, partition_keys: tuple[str, ...] = ()) -> TargetTable:
    schema = TableSchema(TableId("s", "t"), (Column("id", pa.int64()), *columns), ("id",))
    return TargetTable(TargetId("shop", "t"), schema, partition_keys=partition_keys)


def table(target: TargetTable, *rows: tuple[Any, ...]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [()] * len(target_schema(target))
    return pa.table([list(c) for c in columns], schema=target_schema(target))


def paths(sink: IcebergSink, target: TargetId = TARGET.id) -> set[str]:
    return {task.file.file_path for task in table_of(sink, target).scan().plan_files()}


def test_iceberg_types(place: Path) -> None:
    types = {
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
    target = target_of(*(Column(f"c{i}", t) for i, t in enumerate(types)))
    with IcebergSink(str(place), types={"decimal_overflow": "text"}) as sink:
        sink.create_table(target)
        assert sink.read_schema(target.id) == target_schema(target)
        fields = table_of(sink, target.id).schema().fields[1:]
    assert [str(f.field_type) for f in fields] == list(types.values())


def test_wide_decimals_and_types_without_counterpart_are_refused_before_start(place: Path) -> None:
    with IcebergSink(str(place)) as sink:
        for type_ in (pa.decimal256(50, 2), pa.float16(), pa.time64("us"), pa.duration("ns")):
            target = target_of(Column("v", type_))
            (finding,) = sink.check_table(target)
            assert finding.code == "type_refused"
            with pytest.raises(ConfigError, match="cannot hold"):
                sink.create_table(target)
    with pytest.raises(ConfigError, match="type settings"):
        IcebergSink(str(place), types={"decimal_overflow": "double"})


def test_other_engines_read_what_was_loaded_merged_and_partitioned(place: Path) -> None:
    """pyiceberg by name mapping, and ClickHouse's engine, which reads the metadata by itself."""
    target = target_of(
        *(Column("day", pa.date32()), Column("city", pa.string()), Column("n", pa.uint64())),
        partition_keys=("day", "city"),
    )
    day = dt.date(2024, 2, 29)
    first = [(1, day, "Köln/x=%", 2**64 - 1), (2, None, "b b", None), (3, day, None, 0)]
    with IcebergSink(str(place)) as sink:
        assert sink.check_table(target) == []
        load(sink, target, "a", [table(target, *first)], fence(None, 5))
        moved = table(target, (1, None, "there", 7), (4, day, "new", 8))
        sink.merge(target, moved, keys_of(3), fence(5, 9))
        wanted = [(1, None, "there", 7), (2, None, "b b", None), (4, day, "new", 8)]
        assert comparable(sink.read_table(target.id)) == comparable(table(target, *wanted))
        read = table_of(sink, target.id).scan().to_arrow()
        assert sorted(tuple(r.values()) for r in read.to_pylist()) == [
            (*rest, None if n is None else Decimal(n)) for *rest, n in wanted
        ]
        found = table_of(sink, target.id).scan(row_filter="city = 'there'").to_arrow()
        assert found["id"].to_pylist() == [1]
    assert clickhouse_rows(place, "shop/t") == [
        (1, None, "there", 7),
        (2, None, "b b", None),
        (4, "2024-02-29", "new", 8),
    ]


def test_nested_and_altered_columns_are_read_by_others(place: Path) -> None:
    shape = pa.struct([("srid", pa.uint32()), ("wkb", pa.binary())])
    target = target_of(Column("g", shape), Column("v", pa.list_(pa.float32())))
    with IcebergSink(str(place)) as sink:
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
        for read in (sink.read_table(target.id), table_of(sink, target.id).scan().to_arrow()):
            assert sorted(read.to_pylist(), key=lambda r: r["id"]) == wanted
        ids = [f.field_id for f in table_of(sink, target.id).schema().fields]
        assert len(set(ids)) == 4
        assert max(ids) > 4, "an id was given to another column"
    assert clickhouse_rows(place, "shop/t", "id, note, g") == [(1, None, None), (2, None, None)]


def test_a_column_that_is_widened_keeps_its_id(loaded: IcebergSink) -> None:
    loaded.alter_table(TARGET.id, [AddColumn(Column("n", pa.int8()))])
    before = table_of(loaded).schema().find_field("n")
    for wider, shown in ((pa.int32(), "int"), (pa.int64(), "long")):
        loaded.alter_table(TARGET.id, [RetypeColumn(Column("n", wider))])
        after = table_of(loaded).schema().find_field("n")
        assert (after.field_id, str(after.field_type)) == (before.field_id, shown)
    loaded.alter_table(TARGET.id, [RetypeColumn(Column("n", pa.decimal128(30, 2)))])
    assert table_of(loaded).schema().find_field("n").field_id > before.field_id


def test_partition_columns_cannot_change_and_hold_no_empty_text(place: Path) -> None:
    columns = (Column("city", pa.string()), Column("x", pa.float64()))
    target = target_of(*columns, partition_keys=("city",))
    with IcebergSink(str(place)) as sink:
        (finding,) = sink.check_table(target_of(*columns, partition_keys=("x",)))
        assert finding.code == "partition_invalid"
        sink.create_table(target)
        (finding,) = sink.check_table(target_of(*columns))
        assert finding.code == "partition_mismatch"
        rows = table(target, (1, "", 1.0))
        with pytest.raises(DirtyRowError, match="partition"):
            sink.merge(target, rows, keys_of(), fence(None, 1))
        for change in (DropColumn("city"), RenameColumn("city", "town")):
            with pytest.raises(ConfigError, match="partitioned by"):
                sink.alter_table(target.id, [change])
        other = target_of(Column("city", pa.int32()), columns[1], partition_keys=("city",))
        sink.begin_load(other, "a", FEED)
        with pytest.raises(TerminalError, match="partitioned by"):
            sink.finish_load(other, "a", fence(None, 5), 5)


def test_only_files_and_manifests_with_touched_keys_are_written_anew(place: Path) -> None:
    parts = [rows_of(dict.fromkeys(range(n, n + 10), "old")) for n in range(0, 50, 10)]
    with IcebergSink(str(place)) as sink:
        load(sink, TARGET, "a", parts, fence(None, 10))
        before = paths(sink)
        sink.merge(TARGET, rows_of({12: "new", 99: "more"}), keys_of(33, 77), fence(10, 20))
        assert len(before) == 5
        assert len(before - paths(sink)) == 2
        held = manifests(sink)
        sink.merge(TARGET, rows_of({100: "more"}), keys_of(), fence(20, 30))
        assert len(before - paths(sink)) == 2
        assert held < manifests(sink), "a manifest was written anew though none of its files goes"
        sink.merge(TARGET, rows_of({}), keys_of(), fence(30, 40))
        assert len(manifests(sink)) <= len(held) + 1


def manifests(sink: IcebergSink) -> set[str]:
    live = table_of(sink)
    snapshot = live.current_snapshot()
    assert snapshot is not None
    added = [
        m for m in snapshot.manifests(live.io) if m.has_added_files() or m.has_existing_files()
    ]
    return {m.manifest_path for m in added}


def test_loaded_files_become_the_tables_own_without_a_copy(place: Path) -> None:
    with IcebergSink(str(place)) as sink:
        sink.begin_load(TARGET, "a", FEED)
        sink.load_chunk(TARGET, "a", 1, [rows_of({1: "one"})])
        (staged,) = place.rglob("*.parquet")
        sink.finish_load(TARGET, "a", fence(None, 5), 5)
        assert paths(sink) == {str(staged)}


def test_watermark_and_token_are_in_the_snapshot_of_the_data(loaded: IcebergSink) -> None:
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


def test_a_table_rolled_back_has_the_watermark_of_its_rows(loaded: IcebergSink) -> None:
    before, old = observe(loaded, TARGET), table_of(loaded).current_snapshot()
    assert old is not None
    STEPS["merge"].work(loaded)
    assert observe(loaded, TARGET) != before
    table_of(loaded).manage_snapshots().rollback_to_snapshot(old.snapshot_id).commit()
    assert observe(loaded, TARGET) == before
    STEPS["merge"].work(loaded)
    assert loaded.count_rows(TARGET.id) == 3


def test_upkeep_joins_small_files_and_keeps_rows_and_watermarks(
    loaded: IcebergSink, place: Path
) -> None:
    for seq in range(10, 20):
        loaded.merge(TARGET, rows_of({seq: "x"}), keys_of(), fence(seq, seq + 1))
    loaded.begin_load(TARGET, "given up", FEED)
    loaded.load_chunk(TARGET, "given up", 1, [rows_of({1: "x"})])
    before = observe(loaded, TARGET)
    upkeep = loaded.maintain(TARGET.id, WEEK)
    assert (upkeep.joined >= 10, upkeep.written) == (True, 1)
    assert upkeep.deleted == 0, "a file younger than a week was deleted"
    assert (len(paths(loaded)), len(manifests(loaded))) == (1, 1)
    assert observe(loaded, TARGET) == before
    head = table_of(loaded).current_snapshot()
    assert head is not None
    assert head.summary is not None
    assert head.summary.operation.value == "replace"
    old = dt.datetime.now().timestamp() - 2 * WEEK
    for file in place.rglob("load-*/*.parquet"):
        os.utime(file, (old, old))
    assert loaded.maintain(TARGET.id, WEEK).deleted >= 1
    assert observe(loaded, TARGET) == before
    with pytest.raises(TerminalError, match="not there any more"):
        loaded.finish_load(TARGET, "given up", fence(20, 21), 21)
    assert loaded.maintain(TargetId("shop", "gone"), WEEK).joined == 0


def test_upkeep_expires_old_snapshots_and_deletes_their_files(
    loaded: IcebergSink, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if all of it were old; what the present needs and what states are carried from stays."""
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
    assert len(list(place.rglob("*.parquet"))) == len(paths(loaded))
    loaded.merge(TARGET, rows_of({7: "x"}), keys_of(), fence(15, 16))
    assert loaded.count_rows(TARGET.id) == len(before[0]) + 1


def test_names_are_the_catalogs_and_folders_no_other_name_has(place: Path) -> None:
    names = ["orders", "Orders", "a/b", "..", "_x", "x y", "%41", "名前", "n" * 200, "a.b"]
    with IcebergSink(str(place)) as sink:
        for number, name in enumerate(names):
            target = TargetTable(TargetId("we/ird.x", name), SCHEMA)
            sink.create_table(target)
            sink.merge(target, rows_of({number: name}), keys_of(), fence(None, 1))
        for number, name in enumerate(names):
            assert sink.read_table(TargetId("we/ird.x", name))["id"].to_pylist() == [number]
        assert len(sink.list_watermarks(PIPELINE)) == len(names)
    assert {p.name for p in place.iterdir()} == {"_cdc", "catalog.db", "we~2F~ird~2E~x"}


def test_unsigned_and_decimal_and_time_keys_are_found_by_their_bounds(place: Path) -> None:
    values: dict[pa.DataType, list[Any]] = {
        pa.uint64(): [0, 1, 2**53 + 1, 2**63, 2**64 - 1],
        pa.decimal128(38, 10): [Decimal("12345678901234567890.0123456789"), Decimal("-0.1")],
        pa.timestamp("us"): [dt.datetime(9999, 12, 31, 23, 59, 59, 999999), dt.datetime(1, 1, 1)],
        pa.date32(): [dt.date(1969, 12, 31), dt.date(9999, 12, 31)],
        pa.bool_(): [True, False],
        pa.string(): ["", "a", "x" * 5000, "\U0001f600"],
    }
    with IcebergSink(str(place)) as sink:
        for number, (type_, keys) in enumerate(values.items()):
            schema = TableSchema(TableId("s", "t"), (Column("id", type_),), ("id",))
            target = TargetTable(TargetId("s", f"t{number}"), schema)
            sink.create_table(target)
            parts = [pa.table([[key]], schema=target_schema(target)) for key in keys]
            mark = 0
            for rows in parts:
                sink.merge(target, rows, rows.slice(0, 0), fence(mark or None, mark + 1))
                mark += 1
            assert sink.count_rows(target.id) == len(keys)
            for rows in parts:
                sink.merge(target, rows.slice(0, 0), rows, fence(mark, mark + 1))
                mark += 1
            assert sink.count_rows(target.id) == 0


def test_rows_written_by_others_are_merged_like_ours(loaded: IcebergSink) -> None:
    table_of(loaded).append(rows_of({8: "by hand", 9: "by hand"}))
    table_of(loaded).delete("id = 2")
    loaded.merge(TARGET, rows_of({8: "ours"}), keys_of(1), fence(10, 20))
    left = rows_of({3: None, 8: "ours", 9: "by hand"})
    assert comparable(loaded.read_table(TARGET.id)) == comparable(left)
    assert comparable(table_of(loaded).scan().to_arrow()) == comparable(left)


def test_columns_renamed_by_another_engine_are_told_and_a_load_mends_it(
    loaded: IcebergSink,
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
