"""Delta tables as other engines see them, and what becomes of them when something goes wrong."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from resources.errors import (
    ConfigError,
    DirtyRowError,
    SchemaMismatch,
    TerminalError,
)
from resources.model.column_change import AddColumn, DropColumn, RenameColumn, RetypeColumn
from resources.model.table import Column, TableId, TableSchema
from resources.sinks.contract import TargetId, TargetTable, Watermark
from resources.sinks.delta import DeltaSink
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
from tests.strategies import comparable


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "lake"


@pytest.fixture
def loaded(place: Path) -> Iterator[DeltaSink]:
    with DeltaSink(str(place)) as sink:
        STEPS["merge"].prepare(sink)
        yield sink


def table_of(place: Path, target: TargetId = TARGET.id) -> DeltaTable:
    return DeltaTable(str(place / target.namespace / target.table))


def target_of(*columns: Column, partition_keys: tuple[str, ...] = ()) -> TargetTable:
    schema = TableSchema(TableId("s", "t"), (Column("id", pa.int64()), *columns), ("id",))
    return TargetTable(TargetId("shop", "t"), schema, partition_keys=partition_keys)


def table(target: TargetTable, *rows: tuple[Any, ...]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [()] * len(target_schema(target))
    return pa.table([list(c) for c in columns], schema=target_schema(target))


def paths(place: Path, target: TargetId = TARGET.id) -> set[str]:
    return set(pa.table(table_of(place, target).get_add_actions())["path"].to_pylist())


def test_delta_types(place: Path) -> None:
    types = {
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
    }
    target = target_of(*(Column(f"c{i}", t) for i, t in enumerate(types)))
    with DeltaSink(str(place), types={"decimal_overflow": "text"}) as sink:
        sink.create_table(target)
        assert sink.read_schema(target.id) == target_schema(target)
    fields = table_of(place, target.id).schema().fields[1:]
    assert [f.type.type for f in fields] == list(types.values())  # type: ignore[union-attr]


def test_wide_decimals_and_types_without_counterpart_are_refused_before_start(place: Path) -> None:
    with DeltaSink(str(place)) as sink:
        for type_ in (pa.decimal256(50, 2), pa.float16(), pa.time64("us"), pa.duration("ns")):
            target = target_of(Column("v", type_))
            (finding,) = sink.check_table(target)
            assert finding.code == "type_refused"
            for call in (sink.create_table, lambda t: sink.begin_load(t, "a", FEED)):
                with pytest.raises(ConfigError, match="cannot hold"):
                    call(target)
    with pytest.raises(ConfigError, match="type settings"):
        DeltaSink(str(place), types={"decimal_overflow": "double"})


def test_another_engine_reads_what_was_loaded_merged_and_partitioned(place: Path) -> None:
    """DataFusion reads the table by its log, with the values of partitions in the log alone."""
    target = target_of(
        *(Column("day", pa.date32()), Column("city", pa.string()), Column("n", pa.uint64())),
        partition_keys=("day", "city"),
    )
    day = dt.date(2024, 2, 29)
    first = [(1, day, "Köln/x=%", 2**64 - 1), (2, None, "b b", None), (3, day, None, 0)]
    with DeltaSink(str(place)) as sink:
        assert sink.check_table(target) == []
        load(sink, target, "a", [table(target, *first)], fence(None, 5))
        moved = table(target, (1, None, "there", 7), (4, day, "new", 8))
        sink.merge(target, moved, keys_of(3), fence(5, 9))
        wanted = table(target, (2, None, "b b", None), (1, None, "there", 7), (4, day, "new", 8))
        assert comparable(sink.read_table(target.id)) == comparable(wanted)
        read = pa.table(table_of(place, target.id).scan())
        units = [None if n is None else int(n) for n in read["n"].to_pylist()]
        rows = zip(*(read[c].to_pylist() for c in ("id", "day", "city")), units, strict=True)
        assert sorted(rows) == sorted(
            [(2, None, "b b", None), (1, None, "there", 7), (4, day, "new", 8)]
        )
        where = table_of(place, target.id).scan(predicate="city = 'there'")
        assert pa.table(where)["id"].to_pylist() == [1]
        assert table_of(place, target.id).metadata().partition_columns == ["day", "city"]


def test_partition_columns_are_checked(place: Path) -> None:
    columns = (Column("city", pa.string()), Column("f", pa.float64()))
    with DeltaSink(str(place)) as sink:
        for key in ("f", "gone"):
            (finding,) = sink.check_table(target_of(*columns, partition_keys=(key,)))
            assert finding.code == "partition_invalid"
        target = target_of(*columns, partition_keys=("city",))
        sink.create_table(target)
        (finding,) = sink.check_table(target_of(*columns))
        assert finding.code == "partition_mismatch"
        rows = table(target, (1, "", 0.5), (2, "x", 1.5))
        with pytest.raises(DirtyRowError, match="partition"):
            sink.merge(target, rows, keys_of(), fence(None, 1))
        assert [r.index for r in sink.find_rejected(target, rows)] == [0]
        for change in (DropColumn("city"), RenameColumn("city", "town")):
            with pytest.raises(ConfigError, match="partitioned by"):
                sink.alter_table(target.id, [change])
        sink.begin_load(target_of(columns[1]), "a", FEED)
        with pytest.raises(TerminalError, match="partitioned by"):
            sink.finish_load(target_of(columns[1]), "a", fence(None, 5), 5)


def test_only_files_with_touched_keys_are_written_anew(place: Path) -> None:
    parts = [rows_of(dict.fromkeys(range(n, n + 10), "old")) for n in range(0, 50, 10)]
    with DeltaSink(str(place)) as sink:
        load(sink, TARGET, "a", parts, fence(None, 10))
        before = paths(place)
        sink.merge(TARGET, rows_of({12: "new", 99: "more"}), keys_of(33, 77), fence(10, 20))
        assert len(before) == 5
        assert len(before - paths(place)) == 2
        sink.merge(TARGET, rows_of({100: "more"}), keys_of(), fence(20, 30))
        assert len(before - paths(place)) == 2


def test_loaded_files_become_the_tables_own_without_a_copy(place: Path) -> None:
    with DeltaSink(str(place)) as sink:
        sink.begin_load(TARGET, "a", FEED)
        sink.load_chunk(TARGET, "a", 1, [rows_of({1: "one"})])
        (staged,) = place.rglob("*.parquet")
        sink.finish_load(TARGET, "a", fence(None, 5), 5)
        assert [str(place / "shop/orders" / p) for p in paths(place)] == [str(staged)]


def test_watermark_and_token_are_in_the_commit_of_the_data(loaded: DeltaSink, place: Path) -> None:
    STEPS["merge"].work(loaded)
    (told,) = table_of(place).history(1)
    assert told["cdc-assets"] == {"what": "merge", "feed": str(FEED), "seq": 20, "token": 1}
    table_of(place).create_checkpoint()
    assert loaded.read_watermark(TARGET.id, FEED) == Watermark(20, 15, 1)


def test_upkeep_joins_small_files_and_keeps_rows_and_watermarks(
    loaded: DeltaSink, place: Path
) -> None:
    for seq in range(10, 20):
        loaded.merge(TARGET, rows_of({seq: "x"}), keys_of(), fence(seq, seq + 1))
    loaded.begin_load(TARGET, "given up", FEED)
    loaded.load_chunk(TARGET, "given up", 1, [rows_of({1: "x"})])
    before = observe(loaded, TARGET)
    week = 7 * 86400
    upkeep = loaded.maintain(TARGET.id, week)
    assert upkeep.joined >= 10
    assert upkeep.deleted == 0, "a file younger than a week was deleted"
    assert observe(loaded, TARGET) == before
    old = dt.datetime.now().timestamp() - 2 * week
    for file in place.rglob("load-*/*.parquet"):
        os.utime(file, (old, old))
    assert loaded.maintain(TARGET.id, week).deleted >= 1
    assert observe(loaded, TARGET) == before
    with pytest.raises(TerminalError, match="not there any more"):
        loaded.finish_load(TARGET, "given up", fence(20, 21), 21)
    assert loaded.maintain(TargetId("shop", "gone"), week).joined == 0


def test_hand_altered_table_is_shown_and_a_load_mends_it(loaded: DeltaSink, place: Path) -> None:
    note = pa.table({"id": [9], "name": ["x"], "note": ["y"]})
    write_deltalake(table_of(place), note, mode="append", schema_mode="merge")
    with pytest.raises(SchemaMismatch) as caught:
        STEPS["merge"].work(loaded)
    assert "note string" in str(caught.value)
    assert [f.code for f in loaded.check_table(TARGET)] == ["schema_mismatch"]
    load(loaded, TARGET, "mend", [rows_of({1: "one"})], fence(10, 20))
    assert loaded.check_table(TARGET) == []
    assert comparable(loaded.read_table(TARGET.id)) == comparable(rows_of({1: "one"}))


def test_rows_written_by_others_are_merged_like_ours(loaded: DeltaSink, place: Path) -> None:
    write_deltalake(table_of(place), rows_of({8: "by hand", 9: "by hand"}), mode="append")
    table_of(place).delete("id = 2")
    loaded.merge(TARGET, rows_of({8: "ours"}), keys_of(1), fence(10, 20))
    left = rows_of({3: None, 8: "ours", 9: "by hand"})
    assert comparable(loaded.read_table(TARGET.id)) == comparable(left)


@pytest.mark.parametrize(
    "setting", ["delta.enableChangeDataFeed", "delta.appendOnly", "delta.enableDeletionVectors"]
)
def test_tables_with_duties_we_do_not_keep_are_refused(
    loaded: DeltaSink, place: Path, setting: str
) -> None:
    table_of(place).alter.set_table_properties({setting: "true"}, raise_if_not_exists=False)
    with pytest.raises(ConfigError, match=setting):
        STEPS["merge"].work(loaded)


def test_constraints_of_the_user_are_refused(loaded: DeltaSink, place: Path) -> None:
    table_of(place).alter.add_constraint({"positive": "id > 0"})
    with pytest.raises(ConfigError, match=r"delta\.constraints\.positive"):
        STEPS["merge"].work(loaded)


def test_names_become_folders_that_no_other_name_has(place: Path) -> None:
    names = ["orders", "Orders", "a/b", "..", "_x", "x y", "%41", "名前", "n" * 300, "n" * 301]
    with DeltaSink(str(place)) as sink:
        for number, name in enumerate(names):
            target = TargetTable(TargetId("we/ird", name), SCHEMA)
            rows = rows_of({number: name})
            sink.create_table(target)
            sink.merge(target, rows, keys_of(), fence(None, 1))
        for number, name in enumerate(names):
            assert sink.read_table(TargetId("we/ird", name))["id"].to_pylist() == [number]
        assert len(sink.list_watermarks(PIPELINE)) == len(names)
    assert {p.name for p in place.iterdir()} == {"_cdc", "we~2F~ird"}


def test_a_date_no_calendar_of_the_formats_has_is_a_dirty_row(place: Path) -> None:
    target = target_of(Column("day", pa.date32()), Column("at", pa.timestamp("us")))
    days = pa.array([0, 2_932_896, 2_932_897, None, -719_162, -719_163], pa.int32())
    times = pa.array([0, 253_402_300_799_999_999, 0, None, -62_135_596_800_000_001, 0], pa.int64())
    columns = [list(range(6)), days.cast(pa.date32()), times.cast(pa.timestamp("us"))]
    rows = pa.table(columns, schema=target_schema(target))
    with DeltaSink(str(place)) as sink:
        sink.create_table(target)
        found = sink.find_rejected(target, rows)
        assert [(r.index, r.field) for r in found] == [(2, "day"), (4, "at"), (5, "day")]
        with pytest.raises(DirtyRowError):
            sink.merge(target, rows, keys_of(), fence(None, 1))
        good = rows.take([0, 1, 3])
        sink.merge(target, good, keys_of(), fence(None, 1))
        assert sink.read_table(target.id).sort_by("id").equals(good)


def test_text_that_is_not_utf8_is_a_dirty_row(loaded: DeltaSink) -> None:
    raw = pa.array([b"fine", b"\xff\xfe"]).view(pa.string())
    rows = pa.table([pa.array([1, 2]), raw], schema=rows_of({}).schema)
    with pytest.raises(DirtyRowError, match="UTF-8"):
        loaded.merge(TARGET, rows, keys_of(), fence(10, 20))
    assert [r.index for r in loaded.find_rejected(TARGET, rows)] == [1]


def test_columns_of_times_without_zone_are_enabled_when_they_come(loaded: DeltaSink) -> None:
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


def test_unsigned_keys_are_found_by_their_bounds(place: Path) -> None:
    key = Column("id", pa.uint64())
    target = TargetTable(TargetId("s", "t"), TableSchema(TableId("s", "t"), (key,), ("id",)))
    schema = target_schema(target)
    numbers = [0, 1, 2**53, 2**53 + 1, 2**63, 2**64 - 1]
    with DeltaSink(str(place)) as sink:
        sink.create_table(target)
        mark = None
        for number in numbers:
            rows = pa.table([[number]], schema=schema)
            sink.merge(target, rows, rows.slice(0, 0), fence(mark, (mark or 0) + 1))
            mark = (mark or 0) + 1
        for number in numbers:
            gone = pa.table([[number]], schema=schema)
            sink.merge(target, gone.slice(0, 0), gone, fence(mark, mark))
        assert sink.count_rows(target.id) == 0


def test_a_table_whose_columns_have_no_bounds(place: Path) -> None:
    key = Column("id", pa.binary())
    target = TargetTable(TargetId("s", "t"), TableSchema(TableId("s", "t"), (key,), ("id",)))
    rows = pa.table([[b"\xff", b""]], schema=target_schema(target))
    with DeltaSink(str(place)) as sink:
        load(sink, target, "a", [rows], fence(None, 1))
        sink.merge(target, rows.slice(0, 1), rows.slice(1), fence(1, 2))
        assert sink.read_table(target.id)["id"].to_pylist() == [b"\xff"]


def test_values_of_decimal_bounds_are_exact(place: Path) -> None:
    key = Column("id", pa.decimal128(38, 10))
    target = TargetTable(TargetId("s", "t"), TableSchema(TableId("s", "t"), (key,), ("id",)))
    value = Decimal("12345678901234567890.0123456789")
    rows = pa.table([[value]], schema=target_schema(target))
    with DeltaSink(str(place)) as sink:
        load(sink, target, "a", [rows], fence(None, 1))
        sink.merge(target, rows.slice(0, 0), rows, fence(1, 2))
        assert sink.count_rows(target.id) == 0
