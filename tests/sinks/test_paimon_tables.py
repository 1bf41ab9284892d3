"""Paimon tables as pypaimon's own reader sees them: files, keys, columns, upkeep, tags."""

from __future__ import annotations

import datetime as dt
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pypaimon.table.row.generic_row import GenericRow, GenericRowSerializer
from pypaimon.table.row.internal_row import RowKind
from pypaimon.write.row_key_extractor import _bucket_from_hash, _hash_bytes_by_words

from resources.errors import ConfigError, FencedOut
from resources.model.column_change import AddColumn, DropColumn, RenameColumn, RetypeColumn
from resources.model.table import Column, TableId, TableSchema
from resources.sinks import paimon_tags
from resources.sinks.contract import Feed, TargetId, TargetTable
from resources.sinks.lake import LakeSink
from resources.sinks.lake_types import LakeTypes
from resources.sinks.paimon_buckets import buckets_of
from resources.sinks.paimon_schema import Layout, new_schema
from resources.sinks.paimon_table import PaimonTables
from resources.sinks.shape import target_schema
from tests.contracts.lake_case import WEEK, table, target_of
from tests.contracts.lake_tables import DAY, KEYS, LakeTables
from tests.contracts.sink_steps import FEED, TARGET, fence, keys_of, load, observe, rows_of
from tests.sinks.paimon_room import PaimonRoom
from tests.strategies import comparable


def snapshots(sink: LakeSink, target: TargetId = TARGET.id) -> list[dict[str, Any]]:
    """The snapshots there are, the oldest first."""
    folder = Path(sink.store.path(sink.format.folder(target)))
    found = [json.loads(p.read_text()) for p in folder.glob("snapshot/snapshot-*")]
    return sorted(found, key=lambda s: int(s["id"]))


class TestPaimonTables(PaimonRoom, LakeTables):
    """What is in the files, and which of them are written."""

    def test_only_files_with_touched_keys_are_written_anew(self, place: Path) -> None:
        """None is: a merge reads nothing and adds one file of what it changes."""
        with self.make(str(place)) as sink:
            load(sink, TARGET, "a", [rows_of(dict.fromkeys(range(50), "old"))], fence(None, 10))
            before = self.live(sink)
            sink.merge(TARGET, rows_of({12: "new", 99: "more"}), keys_of(33, 77), fence(10, 20))
            (added,) = self.live(sink) - before
            assert before < self.live(sink)
            assert pq.read_table(added)["_VALUE_KIND"].to_pylist() == [0, 3, 3, 0]
            assert pq.read_table(added)["_KEY_id"].to_pylist() == [12, 33, 77, 99]

    @pytest.mark.parametrize("type_", KEYS, ids=str)
    def test_keys_are_found_by_their_bounds(self, place: Path, type_: pa.DataType) -> None:
        """Keys of every type are replaced and deleted, as pypaimon's reader has it, too."""
        schema = TableSchema(
            TableId("s", "t"), (Column("id", type_), Column("n", pa.int8())), ("id",)
        )
        target = TargetTable(TargetId("s", "t"), schema)
        rows = pa.table([KEYS[type_], [0] * len(KEYS[type_])], schema=target_schema(target))
        with self.make(str(place), buckets=3) as sink:
            load(sink, target, "a", [rows.slice(1)], fence(None, 1))
            sink.merge(target, rows, rows.select(["id"]).slice(0, 0), fence(1, 2))
            for left in range(rows.num_rows, 0, -1):
                assert sink.count_rows(target.id) == self.others(sink, target.id).num_rows == left
                gone = rows.select(["id"]).slice(left - 1, 1)
                sink.merge(target, rows.slice(0, 0), gone, fence(2, 2))
            assert self.others(sink, target.id).num_rows == 0

    def test_upkeep_deletes_what_nobody_needs(self, loaded: LakeSink, place: Path) -> None:
        """Of writers that died; what a load under way has written stays, however old."""
        loaded.begin_load(TARGET, "slow", FEED)
        loaded.load_chunk(TARGET, "slow", 1, [rows_of({1: "x"})])
        folder = place / "shop.db" / "orders"
        left = [folder / "bucket-0" / "data-left-0.parquet", folder / "manifest" / "manifest-left"]
        for file in left:
            file.write_bytes(b"x")
        before = observe(loaded, TARGET)
        assert loaded.maintain(TARGET.id, WEEK).deleted == 0
        old = dt.datetime.now().timestamp() - 2 * WEEK
        for file in folder.rglob("*"):
            os.utime(file, (old, old))
        assert loaded.maintain(TARGET.id, WEEK).deleted >= 2
        assert not any(file.exists() for file in left)
        assert observe(loaded, TARGET) == before
        assert len(self.seen(loaded)) == 3
        assert loaded.finish_load(TARGET, "slow", fence(10, 21), 21) == 1

    def test_upkeep_expires_snapshots_but_those_of_tags_and_consumers(
        self, loaded: LakeSink, place: Path
    ) -> None:
        folder = place / "shop.db" / "orders"
        for seq in range(10, 14):
            loaded.merge(TARGET, rows_of({seq: "x"}), keys_of(), fence(seq, seq + 1))
        table = self.paimon(loaded)
        table.create_tag("kept", snapshot_id=1)
        (folder / "consumer" / "consumer-other").write_text('{"nextSnapshot": 4}')
        self.make_older(folder)
        before = observe(loaded, TARGET), self.seen(loaded)
        assert loaded.maintain(TARGET.id, WEEK).deleted > 0
        assert next(s["id"] for s in snapshots(loaded)) == 4
        assert (observe(loaded, TARGET), self.seen(loaded)) == before
        tagged = table.copy({"scan.tag-name": "kept"}).new_read_builder()
        read = tagged.new_read().to_arrow(tagged.new_scan().plan().splits())
        assert comparable(read) == comparable(rows_of({1: "one", 2: "two", 3: None}))
        (folder / "consumer" / "consumer-other").unlink()
        assert loaded.maintain(TARGET.id, WEEK).deleted > 0
        assert len(snapshots(loaded)) == 1
        assert (observe(loaded, TARGET), self.seen(loaded)) == before

    def make_older(self, folder: Path) -> None:
        """Make a table look as if all of it was written a month ago."""
        old = dt.datetime.now().timestamp() - 4 * WEEK
        for file in folder.glob("snapshot/snapshot-*"):
            told = json.loads(file.read_text())
            told["timeMillis"] = int(old * 1000)
            file.write_text(json.dumps(told))
        for file in folder.rglob("*"):
            os.utime(file, (old, old))

    def test_upkeep_merges_new_files_and_keeps_their_deletions(self, place: Path) -> None:
        many = rows_of(dict.fromkeys(range(20_000), "a text of some length"))
        with self.make(str(place)) as sink:
            load(sink, TARGET, "a", [many], fence(None, 10))
            assert sink.maintain(TARGET.id, WEEK).joined == 0
            sink.merge(TARGET, rows_of({1: "new"}), keys_of(2), fence(10, 11))
            sink.merge(TARGET, rows_of({3: "new"}), keys_of(1), fence(11, 12))
            (big,) = [p for p in self.live(sink) if Path(p).stat().st_size > 20_000]
            upkeep = sink.maintain(TARGET.id, WEEK)
            assert (upkeep.joined, upkeep.written) in ((2, 1), (3, 1))
            wanted = 20_000 - 2
            assert sink.count_rows(TARGET.id) == len(self.seen(sink)) == wanted
            sink.merge(TARGET, many.slice(0, 15_000), keys_of(19_999), fence(12, 13))
            sink.maintain(TARGET.id, WEEK)
            (one,) = self.live(sink)
            assert one != big
            assert sink.count_rows(TARGET.id) == pq.read_metadata(one).num_rows == wanted + 1
            keys = pq.read_table(one)["_KEY_id"].to_pylist()
            assert keys == sorted(keys)

    def test_an_append_table_keeps_every_row_and_joins_small_files(self, place: Path) -> None:
        columns = (Column("id", pa.int64()), Column("day", pa.date32()))
        schema = TableSchema(TableId("s", "t"), columns, ("id",))
        target = TargetTable(TargetId("shop", "log"), schema, "append", partition_keys=("day",))
        with self.make(str(place)) as sink:
            sink.create_table(target)
            for seq in range(4):
                rows = pa.table(
                    [[1, 1], [DAY, None], [0, 0], [seq, seq], [None, None]],
                    schema=target_schema(target),
                )
                sink.append(target, rows, fence(seq or None, seq + 1))
            upkeep = sink.maintain(target.id, WEEK)
            assert (upkeep.joined, upkeep.written) == (8, 2)
            assert self.others(sink, target.id).num_rows == sink.count_rows(target.id) == 8
            assert self.others(sink, target.id)["id"].to_pylist() == [1] * 8

    @pytest.mark.parametrize(
        "given",
        [
            {"buckets": 0},
            {"merge_engine": "first-row"},
            {"options": {"bucket": "4"}},
            {"options": {"changelog-producer": "input"}},
        ],
        ids=str,
    )
    def test_options_that_are_not_kept_are_refused(self, place: Path, given: Any) -> None:
        with pytest.raises(ConfigError, match="does not take"):
            self.make(str(place), **given)

    def test_a_moment_in_time_is_no_partition(self, place: Path) -> None:
        """Engines name its folder by the time zone of whoever looks."""
        moment = Column("at", pa.timestamp("us", tz="UTC"))
        with self.make(str(place)) as sink:
            (finding,) = sink.check_table(target_of(moment, partition_keys=("at",)))
            assert finding.code == "partition_invalid"
            for call in (sink.create_table, lambda t: sink.begin_load(t, "a", FEED)):
                with pytest.raises(ConfigError, match="time zone"):
                    call(target_of(moment, partition_keys=("at",)))

    @pytest.mark.parametrize(
        ("engine", "options", "merged"),
        [
            ("partial-update", {}, [(1, "a", 2), (2, "B", 7), (3, "c", 5)]),
            (
                "aggregation",
                {"fields.n.aggregate-function": "sum", "fields.s.aggregate-function": "max"},
                [(1, "a", 3), (2, "b", 7), (3, "c", 5)],
            ),
        ],
    )
    def test_other_merge_engines_merge_what_was_upserted(
        self, place: Path, engine: str, options: dict[str, str], merged: list[Any]
    ) -> None:
        """Nothing is added up twice by a writer that tries again, and upkeep changes nothing."""
        target = target_of(Column("s", pa.string()), Column("n", pa.int64()))
        with self.make(str(place), merge_engine=engine, options=options) as sink:
            assert sink.check_table(target) == []
            load(sink, target, "a", [table(target, (1, "a", 1), (2, "b", None))], fence(None, 1))
            more = table(target, (1, None, 2), (2, "B", 7), (3, "c", 5))
            sink.merge(target, more, keys_of(), fence(1, 2))
            with pytest.raises(FencedOut):
                sink.merge(target, more, keys_of(), fence(1, 2))
            sink.merge(target, more.slice(0, 0), keys_of(1), fence(2, 3))
            assert self.seen(sink, target.id) == merged
            sink.alter_table(target.id, [AddColumn(Column("x", pa.int8()), copy_of="n")])
            sink.alter_table(target.id, [DropColumn("x")])
            assert self.seen(sink, target.id) == merged
            read = sink.read_table(target.id)
            assert comparable(read) == comparable(table(target, *merged))
            assert sink.count_rows(target.id) == 3
            assert sink.maintain(target.id, WEEK).joined == 0
        with self.make(str(place)) as other, pytest.raises(ConfigError, match="merge-engine"):
            other.read_table(target.id)

    def test_other_merge_engines_are_refused_where_deletions_are_needed(self, place: Path) -> None:
        day = target_of(Column("day", pa.string()), partition_keys=("day",))
        shared = replace(target_of(Column("feed", pa.string())), owner="feed")
        with self.make(str(place), merge_engine="aggregation") as sink:
            for target in (day, shared):
                assert [f.code for f in sink.check_table(target)] == ["merge_engine"]

    def test_change_logs_are_left_to_the_engine_that_makes_them(self, place: Path) -> None:
        with self.make(str(place), options={"changelog-producer": "lookup"}) as sink:
            sink.create_table(TARGET)
            for seq in range(4):
                sink.merge(TARGET, rows_of({seq: "x"}), keys_of(), fence(seq or None, seq + 1))
            assert self.paimon(sink).table_schema.options["changelog-producer"] == "lookup"
            assert sink.maintain(TARGET.id, WEEK).joined == 0
            assert len(self.seen(sink)) == 4

    def test_watermark_token_and_identity_are_in_the_snapshot_of_the_data(
        self, loaded: LakeSink
    ) -> None:
        loaded.merge(TARGET, rows_of({7: "x"}), keys_of(), fence(10, 20, token=5))
        last = snapshots(loaded)[-1]
        key = f'cdc-assets.feed ["{FEED.pipeline}", "{FEED.table.database}", "{FEED.table.table}"]'
        state = json.loads(last["properties"][key])
        assert (state["seq"], state["token"]) == (20, 5)
        assert (last["commitUser"], last["commitIdentifier"]) == (f"cdc-assets {FEED}", 20)

    def test_a_hundred_commits_leave_few_manifests(self, loaded: LakeSink) -> None:
        for seq in range(10, 50):
            loaded.merge(TARGET, rows_of({seq: "x"}), keys_of(), fence(seq, seq + 1))
        live = loaded.format.read(TARGET.id)
        assert len(live.manifests) < 35  # type: ignore[union-attr]
        assert len(self.seen(loaded)) == loaded.count_rows(TARGET.id) == 43

    def test_days_that_are_over_get_their_tag_and_the_oldest_go(
        self, place: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        today = dt.datetime.now(dt.UTC).date()
        with self.make(str(place), daily_tags=3) as sink:
            sink.create_table(TARGET)
            for number in range(6):
                sink.merge(
                    TARGET, rows_of({number: "x"}), keys_of(), fence(number or None, number + 1)
                )
                later = today + dt.timedelta(days=number + 1)
                monkeypatch.setattr(paimon_tags, "_today", lambda later=later: later)
            sink.maintain(TARGET.id, WEEK)
            paimon = self.paimon(sink)
            names = sorted(paimon.list_tags())
            assert names == [str(today + dt.timedelta(days=n)) for n in (3, 4, 5)]
            builder = paimon.copy({"scan.tag-name": names[0]}).new_read_builder()
            assert builder.new_read().to_arrow(builder.new_scan().plan().splits()).num_rows == 4

    def test_columns_change_without_a_file_touched_and_others_read_them(self, place: Path) -> None:
        target = target_of(Column("a", pa.string()), Column("b", pa.int32()))
        with self.make(str(place)) as sink:
            load(sink, target, "a", [table(target, (1, "x", 7))], fence(None, 1))
            before = self.live(sink, target.id)
            for change in (
                RenameColumn("a", "c"),
                DropColumn("b"),
                AddColumn(Column("b", pa.int32())),
                AddColumn(Column("d", pa.uint64())),
            ):
                sink.alter_table(target.id, [change])
            assert self.live(sink, target.id) == before
            assert self.seen(sink, target.id, "id", "c", "b", "d") == [(1, "x", None, None)]
            assert sink.read_table(target.id).to_pylist() == [
                {"id": 1, "c": "x", "b": None, "d": None}
            ]
            sink.alter_table(target.id, [RetypeColumn(Column("c", pa.large_string()))])
            sink.alter_table(target.id, [RenameColumn("id", "key")])
            assert self.paimon(sink, target.id).primary_keys == ["key"]
            assert self.others(sink, target.id)["key"].to_pylist() == [1]

    def test_a_change_of_columns_broken_off_before_its_commit_did_not_happen(
        self, loaded: LakeSink, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = loaded.read_schema(TARGET.id)

        def broken(*_: Any) -> None:
            raise KeyboardInterrupt

        for change in (
            AddColumn(Column("n", pa.int8())),
            RetypeColumn(Column("id", pa.decimal128(20, 0))),
        ):
            with monkeypatch.context() as patched:
                patched.setattr(PaimonTables, "_publish", broken)
                with pytest.raises(KeyboardInterrupt):
                    loaded.alter_table(TARGET.id, [change])
            assert loaded.read_schema(TARGET.id) == before
            assert len(self.others(loaded)) == 3, "others read on"
        loaded.merge(TARGET, rows_of({1: "uno"}), keys_of(2), fence(10, 20))
        loaded.alter_table(TARGET.id, [AddColumn(Column("n", pa.int8()))])
        assert self.seen(loaded, TARGET.id, "id", "name", "n") == [
            (1, "uno", None),
            (3, None, None),
        ]

    def test_shared_targets_keep_rows_of_others_in_every_bucket(self, place: Path) -> None:
        schema = TableSchema(
            TableId("s", "t"), (Column("id", pa.int64()), Column("feed", pa.string())), ("id",)
        )
        target = TargetTable(TargetId("shop", "t"), schema, owner="feed")
        other = Feed("else", TableId("s", "u"))
        with self.make(str(place), buckets=4) as sink:
            for feed, ids in ((FEED, range(0, 40, 2)), (other, range(1, 40, 2))):
                rows = pa.table([list(ids), [str(feed)] * 20], schema=target_schema(target))
                load(sink, target, str(feed), [rows], fence(None, 1, feed=feed))
            assert sink.truncate(target, fence(1, 2)) == 20
            assert self.others(sink, target.id)["feed"].to_pylist() == [str(other)] * 20
            assert sink.count_rows(target.id) == 20

    def test_buckets_are_those_of_every_other_engine(self) -> None:
        columns = {
            "a": pa.array([0, -1, 2**63 - 1, -(2**63), 7], pa.int64()),
            "b": pa.array([0, -1, 127, -128, 7], pa.int8()),
            "c": pa.array([0, 1, -719162, 2932896, 7], pa.int32()).cast(pa.date32()),
            "d": pa.array(["", "a", "x" * 300, "é", "1234567"], pa.string()),
        }
        for names in (["a"], ["b"], ["c"], ["a", "b", "c"], ["d"], ["a", "d"]):
            keys = pa.table({n: columns[n] for n in names})
            layout = Layout(tuple(names), (), 7)
            fields = new_schema(keys.schema, layout, LakeTypes(narrow_integers=True)).fields
            wanted = [
                _bucket_from_hash(
                    _hash_bytes_by_words(
                        GenericRowSerializer.to_bytes(
                            GenericRow(list(row.values()), fields, RowKind.INSERT)
                        )[4:]
                    ),
                    7,
                )
                for row in keys.to_pylist()
            ]
            assert np.array_equal(buckets_of(keys, fields, 7), wanted), names
