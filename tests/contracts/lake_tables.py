"""Tables of a lake as other engines see them: part of the suite of lake formats."""

from __future__ import annotations

import datetime as dt
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from resources.errors import ConfigError, DirtyRowError, TerminalError
from resources.model.column_change import AddColumn, DropColumn, RenameColumn
from resources.model.table import Column, TableId, TableSchema
from resources.sinks.contract import TargetId, TargetTable
from resources.sinks.lake import LakeSink
from resources.sinks.shape import target_schema
from tests.contracts.lake_case import WEEK, LakeCase, table, target_of
from tests.contracts.sink_steps import (
    FEED,
    PIPELINE,
    SCHEMA,
    TARGET,
    fence,
    keys_of,
    load,
    observe,
    rows_of,
)
from tests.strategies import comparable

DAY = dt.date(2024, 2, 29)
PARTITIONED = target_of(
    *(Column("day", pa.date32()), Column("city", pa.string()), Column("n", pa.uint64())),
    partition_keys=("day", "city"),
)
LOADED = [(1, DAY, "Köln/x=%", 2**64 - 1), (2, None, "b b", None), (3, DAY, None, 0)]
MERGED = [(1, None, "there", 7), (2, None, "b b", None), (4, DAY, "new", 8)]
KEYS: dict[pa.DataType, list[Any]] = {
    pa.uint64(): [0, 1, 2**53, 2**53 + 1, 2**63, 2**64 - 1],
    pa.decimal128(38, 10): [Decimal("12345678901234567890.0123456789"), Decimal("-0.1")],
    pa.timestamp("us"): [dt.datetime(9999, 12, 31, 23, 59, 59, 999999), dt.datetime(1, 1, 1)],
    pa.date32(): [dt.date(1969, 12, 31), dt.date(9999, 12, 31)],
    pa.bool_(): [True, False],
    pa.string(): ["", "a", "x" * 5000, "\U0001f600"],
    pa.binary(): [b"\xff", b""],
}


def merge_partitioned(sink: LakeSink) -> None:
    """Make PARTITIONED of the rows MERGED, LOADED before."""
    load(sink, PARTITIONED, "a", [table(PARTITIONED, *LOADED)], fence(None, 5))
    sink.merge(PARTITIONED, table(PARTITIONED, MERGED[0], MERGED[2]), keys_of(3), fence(5, 9))


class LakeTables(LakeCase):
    """What is in the files, and which of them are written."""

    def test_types_have_these_counterparts(self, place: Path) -> None:
        types = self.stored_types
        target = target_of(*(Column(f"c{i}", t) for i, t in enumerate(types)))
        with self.make(str(place), types={"decimal_overflow": "text"}) as sink:
            sink.create_table(target)
            assert sink.read_schema(target.id) == target_schema(target)
            sink.merge(target, table(target, (1, *[None] * len(types))), keys_of(), fence(None, 1))
            assert self.stored(sink, target.id)[1:] == list(types.values())

    def test_types_without_counterpart_are_refused_before_start(self, place: Path) -> None:
        with self.make(str(place)) as sink:
            for type_ in (pa.decimal256(50, 2), pa.float16(), pa.time64("us"), pa.duration("ns")):
                target = target_of(Column("v", type_))
                (finding,) = sink.check_table(target)
                assert finding.code == "type_refused"
                for call in (sink.create_table, lambda t: sink.begin_load(t, "a", FEED)):
                    with pytest.raises(ConfigError, match="cannot hold"):
                        call(target)
        with pytest.raises(ConfigError, match="type settings"):
            self.make(str(place), types={"decimal_overflow": "double"})

    def test_other_readers_see_what_was_loaded_merged_and_partitioned(self, place: Path) -> None:
        with self.make(str(place)) as sink:
            assert sink.check_table(PARTITIONED) == []
            merge_partitioned(sink)
            read = sink.read_table(PARTITIONED.id)
            assert comparable(read) == comparable(table(PARTITIONED, *MERGED))
            assert self.seen(sink, PARTITIONED.id, "id", "day", "city", "n") == MERGED

    def test_partition_columns_are_checked(self, place: Path) -> None:
        columns = (Column("city", pa.string()), Column("f", pa.float64()))
        target = target_of(*columns, partition_keys=("city",))
        with self.make(str(place)) as sink:
            for key in ("f", "gone"):
                (finding,) = sink.check_table(target_of(*columns, partition_keys=(key,)))
                assert finding.code == "partition_invalid"
            sink.create_table(target)
            (finding,) = sink.check_table(target_of(*columns))
            assert finding.code == "partition_mismatch"
            for change in (DropColumn("city"), RenameColumn("city", "town")):
                with pytest.raises(ConfigError, match="partitioned by"):
                    sink.alter_table(target.id, [change])
            other = target_of(columns[1])
            sink.begin_load(other, "a", FEED)
            with pytest.raises(TerminalError, match="partitioned by"):
                sink.finish_load(other, "a", fence(None, 5), 5)

    def test_a_partition_of_no_letters_is_a_dirty_row(self, place: Path) -> None:
        target = target_of(Column("city", pa.string()), partition_keys=("city",))
        rows = table(target, (1, ""), (2, "x"))
        with self.make(str(place)) as sink:
            sink.create_table(target)
            with pytest.raises(DirtyRowError, match="partition"):
                sink.merge(target, rows, keys_of(), fence(None, 1))
            assert [r.index for r in sink.find_rejected(target, rows)] == [0]

    def test_only_files_with_touched_keys_are_written_anew(self, place: Path) -> None:
        parts = [rows_of(dict.fromkeys(range(n, n + 10), "old")) for n in range(0, 50, 10)]
        with self.make(str(place)) as sink:
            load(sink, TARGET, "a", parts, fence(None, 10))
            before = self.live(sink)
            sink.merge(TARGET, rows_of({12: "new", 99: "more"}), keys_of(33, 77), fence(10, 20))
            assert len(before) == 5
            assert len(before - self.live(sink)) == 2
            sink.merge(TARGET, rows_of({100: "more"}), keys_of(), fence(20, 30))
            assert len(before - self.live(sink)) == 2

    def test_loaded_files_become_the_tables_own_without_a_copy(self, place: Path) -> None:
        with self.make(str(place)) as sink:
            sink.begin_load(TARGET, "a", FEED)
            sink.load_chunk(TARGET, "a", 1, [rows_of({1: "one"})])
            files = [p for p in place.rglob("*") if p.is_file()]
            (staged,) = [p.stat().st_ino for p in files if p.read_bytes()[:4] == b"PAR1"]
            sink.finish_load(TARGET, "a", fence(None, 5), 5)
            assert [Path(path).stat().st_ino for path in self.live(sink)] == [staged]

    def test_columns_added_touch_no_file(self, loaded: LakeSink) -> None:
        before = self.live(loaded)
        loaded.alter_table(TARGET.id, [AddColumn(Column("note", pa.string()))])
        assert self.live(loaded) == before
        assert loaded.read_table(TARGET.id)["note"].null_count == 3

    def test_upkeep_joins_small_files_and_keeps_rows_and_watermarks(self, loaded: LakeSink) -> None:
        for seq in range(10, 20):
            loaded.merge(TARGET, rows_of({seq: "x"}), keys_of(), fence(seq, seq + 1))
        before = observe(loaded, TARGET), self.seen(loaded)
        upkeep = loaded.maintain(TARGET.id, WEEK)
        assert (upkeep.joined >= 10, upkeep.written) == (True, 1)
        assert upkeep.deleted == 0, "a file younger than a week was deleted"
        assert len(self.live(loaded)) == 1
        assert (observe(loaded, TARGET), self.seen(loaded)) == before
        assert loaded.maintain(TargetId("shop", "gone"), WEEK).joined == 0

    def test_upkeep_deletes_what_nobody_needs(self, loaded: LakeSink, place: Path) -> None:
        """A load that was given up more than a week ago."""
        loaded.begin_load(TARGET, "given up", FEED)
        loaded.load_chunk(TARGET, "given up", 1, [rows_of({1: "x"})])
        before = observe(loaded, TARGET)
        assert loaded.maintain(TARGET.id, WEEK).deleted == 0
        old = dt.datetime.now().timestamp() - 2 * WEEK
        for file in place.rglob("load-*/*.parquet"):
            os.utime(file, (old, old))
        assert loaded.maintain(TARGET.id, WEEK).deleted >= 1
        assert observe(loaded, TARGET) == before
        with pytest.raises(TerminalError, match="not there any more"):
            loaded.finish_load(TARGET, "given up", fence(10, 21), 21)

    def test_names_become_folders_that_no_other_name_has(self, place: Path) -> None:
        names = ["orders", "Orders", "a/b", "..", "_x", "x y", "%41", "名前", "a.b"]
        names += ["n" * (self.longest_name - 1), "n" * self.longest_name]
        with self.make(str(place)) as sink:
            for number, name in enumerate(names):
                target = TargetTable(TargetId("we/ird.x", name), SCHEMA)
                sink.create_table(target)
                sink.merge(target, rows_of({number: name}), keys_of(), fence(None, 1))
            for number, name in enumerate(names):
                assert sink.read_table(TargetId("we/ird.x", name))["id"].to_pylist() == [number]
            assert len(sink.list_watermarks(PIPELINE)) == len(names)
        assert {p.name for p in place.iterdir()} == {*self.in_place, f"we~2F~ird~2E~x{self.ending}"}

    @pytest.mark.parametrize("type_", KEYS, ids=str)
    def test_keys_are_found_by_their_bounds(self, place: Path, type_: pa.DataType) -> None:
        """A file a key, one of a merge and the rest of a load; every key is deleted by itself."""
        schema = TableSchema(TableId("s", "t"), (Column("id", type_),), ("id",))
        target = TargetTable(TargetId("s", "t"), schema)
        parts = [pa.table([[key]], schema=target_schema(target)) for key in KEYS[type_]]
        nothing = parts[0].slice(0, 0)
        with self.make(str(place)) as sink:
            load(sink, target, "a", parts[:-1], fence(None, 1))
            sink.merge(target, parts[-1], nothing, fence(1, 2))
            sink.merge(target, parts[0], nothing, fence(2, 3))
            assert sink.count_rows(target.id) == len(self.live(sink, target.id)) == len(parts)
            for left, rows in enumerate(reversed(parts), start=1):
                sink.merge(target, nothing, rows, fence(left + 2, left + 3))
                assert sink.count_rows(target.id) == len(parts) - left

    def test_a_date_no_calendar_of_the_formats_has_is_a_dirty_row(self, place: Path) -> None:
        target = target_of(Column("day", pa.date32()), Column("at", pa.timestamp("us")))
        days = pa.array([0, 2_932_896, 2_932_897, None, -719_162, -719_163], pa.int32())
        last, early = 253_402_300_799_999_999, -62_135_596_800_000_001
        times = pa.array([0, last, 0, None, early, 0], pa.int64())
        columns = [list(range(6)), days.cast(pa.date32()), times.cast(pa.timestamp("us"))]
        rows = pa.table(columns, schema=target_schema(target))
        with self.make(str(place)) as sink:
            sink.create_table(target)
            found = sink.find_rejected(target, rows)
            assert [(r.index, r.field) for r in found] == [(2, "day"), (4, "at"), (5, "day")]
            with pytest.raises(DirtyRowError):
                sink.merge(target, rows, keys_of(), fence(None, 1))
            good = rows.take([0, 1, 3])
            sink.merge(target, good, keys_of(), fence(None, 1))
            assert sink.read_table(target.id).sort_by("id").equals(good)

    def test_text_that_is_not_utf8_is_a_dirty_row(self, loaded: LakeSink) -> None:
        raw = pa.array([b"fine", b"\xff\xfe"]).view(pa.string())
        rows = pa.table([pa.array([1, 2]), raw], schema=rows_of({}).schema)
        with pytest.raises(DirtyRowError, match="UTF-8"):
            loaded.merge(TARGET, rows, keys_of(), fence(10, 20))
        assert [r.index for r in loaded.find_rejected(TARGET, rows)] == [1]
