"""Loads folded into a live table, feed by feed or with columns kept: part of the suite of sinks."""

from __future__ import annotations

import pyarrow as pa
import pytest

from resources.errors import DirtyRowError, FencedOut, SchemaMismatch, TerminalError
from resources.model.column_change import AddColumn, DropColumn, RetypeColumn
from resources.model.table import Column
from resources.sinks.contract import Sink, Watermark
from tests.contracts.sink_case import SinkCase
from tests.contracts.sink_shared_steps import (
    ALL_STEPS,
    EAST,
    NORTH,
    SHARED,
    SHARED_STEPS,
    SOUTH,
    shared_rows,
    state_rows,
)
from tests.contracts.sink_steps import (
    FEED,
    HISTORY,
    STEPS,
    TARGET,
    changes_of,
    fence,
    keys_of,
    load,
    observe,
    rows_of,
)
from tests.strategies import comparable


class SinkFolds(SinkCase):
    """A feed's load replaces that feed's rows, and keeps what it is told to keep."""

    def test_a_load_replaces_the_rows_of_its_feed_alone(self, sink: Sink) -> None:
        SHARED_STEPS["shared load"].prepare(sink)
        parts = [shared_rows(NORTH, {2: "zwei", 3: "drei"}), shared_rows(NORTH, {5: None})]
        sink.begin_load(SHARED, "n", NORTH)
        for number, part in enumerate(parts):
            sink.load_chunk(SHARED, "n", number, [part])
        conflicts = sink.load_conflicts(SHARED, "n", NORTH)
        assert comparable(conflicts) == comparable(state_rows({3: ("drei", SOUTH)}))
        assert conflicts.schema.types == parts[0].schema.types
        at = fence(10, 40, 1, NORTH)
        assert sink.finish_load(SHARED, "n", at, 45, conflicts=1) == 2
        left = {2: ("zwei", NORTH), 5: (None, NORTH), 3: ("c", SOUTH), 6: ("f", SOUTH)}
        assert comparable(sink.read_table(SHARED.id)) == comparable(state_rows(left))
        assert sink.read_watermark(SHARED.id, NORTH) == Watermark(40, 45, 1)
        assert sink.read_watermark(SHARED.id, SOUTH) == Watermark(7, 0, 1)

    def test_a_finished_load_of_a_feed_does_not_undo_later_merges(self, sink: Sink) -> None:
        SHARED_STEPS["shared load"].prepare(sink)
        SHARED_STEPS["shared load"].work(sink)
        sink.merge(SHARED, shared_rows(NORTH, {8: "x"}), keys_of(2), fence(40, 50, 1, NORTH))
        after = observe(sink, SHARED, NORTH)
        sink.begin_load(SHARED, "n", NORTH)
        assert sink.load_conflicts(SHARED, "n", NORTH).num_rows == 0
        for conflicts in (0, 1, 7):
            at = fence(10, 40, 1, NORTH)
            assert sink.finish_load(SHARED, "n", at, 45, conflicts=conflicts) == 2
        assert observe(sink, SHARED, NORTH) == after
        with pytest.raises(TerminalError, match="finished"):
            sink.load_chunk(SHARED, "n", 9, [shared_rows(NORTH, {9: "late"})])

    def test_feeds_load_at_the_same_time_into_a_table_not_there_yet(self, sink: Sink) -> None:
        for own, feed in ((13, NORTH), (14, SOUTH)):
            sink.begin_load(SHARED, f"of {feed}", feed)
            rows = shared_rows(feed, {1: "both", own: "own"})
            sink.load_chunk(SHARED, f"of {feed}", 1, [rows])
        sink.begin_load(SHARED, "given up", EAST)
        for feed, count in ((NORTH, 2), (SOUTH, 1)):
            conflicts = sink.load_conflicts(SHARED, f"of {feed}", feed)
            assert conflicts.num_rows == 2 - count
            at = fence(None, 5, 1, feed)
            done = sink.finish_load(SHARED, f"of {feed}", at, 5, conflicts=conflicts.num_rows)
            assert done == count
        assert sink.loaded_chunks(SHARED.id, f"of {SOUTH}") == {1: 2}
        names = {1: ("both", NORTH), 13: ("own", NORTH), 14: ("own", SOUTH)}
        assert comparable(sink.read_table(SHARED.id)) == comparable(state_rows(names))

    def test_a_load_takes_the_place_of_its_own_feeds_load_only(self, sink: Sink) -> None:
        for load_id, feed in (("n1", NORTH), ("s1", SOUTH), ("n2", NORTH)):
            sink.begin_load(SHARED, load_id, feed)
            sink.load_chunk(SHARED, load_id, 1, [shared_rows(feed, {1: load_id})])
        assert sink.loaded_chunks(SHARED.id, "n1") == {}
        with pytest.raises(TerminalError, match="not begun"):
            sink.load_chunk(SHARED, "n1", 2, [shared_rows(NORTH, {})])
        for load_id, feed in (("s1", SOUTH), ("n2", NORTH)):
            sink.begin_load(SHARED, load_id, feed)
            assert sink.loaded_chunks(SHARED.id, load_id) == {1: 1}
        sink.abandon_load(SHARED.id, "n2")
        assert sink.loaded_chunks(SHARED.id, "n2") == {}
        assert sink.finish_load(SHARED, "s1", fence(None, 5, 1, SOUTH), 5) == 1

    def test_a_load_belongs_to_the_feed_that_began_it(self, sink: Sink) -> None:
        sink.begin_load(SHARED, "a", NORTH)
        for use in (
            lambda: sink.begin_load(SHARED, "a", SOUTH),
            lambda: sink.load_conflicts(SHARED, "a", SOUTH),
            lambda: sink.finish_load(SHARED, "a", fence(None, 5, 1, SOUTH), 5),
        ):
            with pytest.raises(TerminalError, match=str(NORTH)):
                use()

    @pytest.mark.parametrize("appears", [True, False])
    def test_conflicts_that_changed_since_they_were_read(self, sink: Sink, appears: bool) -> None:
        SHARED_STEPS["shared load"].prepare(sink)
        sink.begin_load(SHARED, "n", NORTH)
        sink.load_chunk(SHARED, "n", 1, [shared_rows(NORTH, {3: "x", 8: "y"})])
        assert sink.load_conflicts(SHARED, "n", NORTH).num_rows == 1
        rows, gone = ({8: "eight"}, keys_of()) if appears else ({}, keys_of(3))
        sink.merge(SHARED, shared_rows(SOUTH, rows), gone, fence(7, 8, 1, SOUTH))
        before = observe(sink, SHARED, NORTH)
        with pytest.raises(DirtyRowError, match="other feeds"):
            sink.finish_load(SHARED, "n", fence(10, 40, 1, NORTH), 45, conflicts=1)
        assert observe(sink, SHARED, NORTH) == before
        count = sink.load_conflicts(SHARED, "n", NORTH).num_rows
        assert count == (2 if appears else 0)
        at = fence(10, 40, 1, NORTH)
        assert sink.finish_load(SHARED, "n", at, 45, conflicts=count) == 2 - count

    def test_a_stale_writer_cannot_finish_a_feeds_load(self, sink: Sink) -> None:
        SHARED_STEPS["shared load"].prepare(sink)
        sink.merge(SHARED, shared_rows(NORTH, {}), keys_of(), fence(10, 11, 7, NORTH))
        before = observe(sink, SHARED, NORTH)
        sink.begin_load(SHARED, "n", NORTH)
        with pytest.raises(FencedOut, match="token 7"):
            sink.finish_load(SHARED, "n", fence(11, 12, 6, NORTH), 12)
        assert observe(sink, SHARED, NORTH) == before

    def test_a_target_of_one_feed_has_no_conflicts(self, sink: Sink) -> None:
        STEPS["load"].prepare(sink)
        sink.begin_load(TARGET, "a", FEED)
        sink.load_chunk(TARGET, "a", 1, [rows_of({1: "x"})])
        conflicts = sink.load_conflicts(TARGET, "a", FEED)
        assert (conflicts.num_rows, conflicts.schema) == (0, rows_of({}).schema)
        with pytest.raises(TerminalError, match="not begun"):
            sink.load_conflicts(TARGET, "b", FEED)

    def test_kept_columns_keep_their_values_by_key(self, sink: Sink) -> None:
        if not self.can(sink, "add"):
            return
        ALL_STEPS["kept load"].prepare(sink)
        ALL_STEPS["kept load"].work(sink)
        rows = sink.read_table(TARGET.id).select(["id", "name", "gone"]).sort_by("id").to_pylist()
        assert [tuple(r.values()) for r in rows] == [
            *((1, "eins", "one"), (3, "drei", None), (5, "fuenf", None))
        ]
        assert sink.read_watermark(TARGET.id, FEED) == Watermark(40, 45, 1)

    def test_kept_and_further_columns_of_a_shared_table(self, sink: Sink) -> None:
        if not self.can(sink, "add"):
            return
        SHARED_STEPS["shared load"].prepare(sink)
        more = [AddColumn(Column(n, pa.string()), copy_of="name") for n in ("kept", "further")]
        sink.alter_table(SHARED.id, more)
        parts = [shared_rows(NORTH, {2: "B", 9: "i"})]
        load(sink, SHARED, "n", parts, fence(10, 20, 1, NORTH), keep=("kept",))
        rows = sink.read_table(SHARED.id).select(["id", "name", "kept", "further"])
        assert [tuple(r.values()) for r in rows.sort_by("id").to_pylist()] == [
            *((2, "B", "b", None), (3, "c", "c", "c"), (6, "f", "f", "f"), (9, "i", None, None))
        ]

    def test_a_kept_column_that_is_loaded_too_has_the_live_values(self, sink: Sink) -> None:
        STEPS["load"].prepare(sink)
        load(sink, TARGET, "k", [rows_of({1: None, 4: "x"})], fence(10, 20), keep=("name",))
        rows = sink.read_table(TARGET.id)
        assert comparable(rows) == comparable(rows_of({1: "one", 4: None}))

    def test_a_live_table_without_a_column_of_the_load(self, sink: Sink) -> None:
        if not self.can(sink, "drop"):
            return
        SHARED_STEPS["shared load"].prepare(sink)
        sink.begin_load(SHARED, "n", NORTH)
        sink.load_chunk(SHARED, "n", 1, [shared_rows(NORTH, {8: "y"})])
        sink.alter_table(SHARED.id, [DropColumn("name")])
        before = observe(sink, SHARED, NORTH)
        with pytest.raises(SchemaMismatch, match="name"):
            sink.finish_load(SHARED, "n", fence(10, 40, 1, NORTH), 45)
        assert observe(sink, SHARED, NORTH) == before

    def test_columns_to_keep_that_are_not_there(self, sink: Sink) -> None:
        STEPS["load"].prepare(sink)
        before = observe(sink, TARGET)
        with pytest.raises(SchemaMismatch, match="gone"):
            load(sink, TARGET, "k", [rows_of({1: "x"})], fence(10, 20), keep=("gone",))
        assert observe(sink, TARGET) == before

    def test_a_live_table_widened_while_its_load_went_on(self, sink: Sink) -> None:
        if not self.can(sink, "retype"):
            return
        SHARED_STEPS["shared load"].prepare(sink)
        sink.begin_load(SHARED, "n", NORTH)
        sink.load_chunk(SHARED, "n", 1, [shared_rows(NORTH, {3: "x", 8: "y", -(2**63): "z"})])
        sink.alter_table(SHARED.id, [RetypeColumn(Column("id", pa.decimal128(22, 2)))])
        conflicts = sink.load_conflicts(SHARED, "n", NORTH)
        assert comparable(conflicts) == comparable(state_rows({3: ("x", SOUTH)}))
        at = fence(10, 40, 1, NORTH)
        assert sink.finish_load(SHARED, "n", at, 45, conflicts=1) == 2
        ids = sink.read_table(SHARED.id)["id"]
        assert ids.type == pa.decimal128(22, 2)
        assert sorted(ids.cast(pa.decimal128(38, 2)).to_pylist()) == [-(2**63), 3, 6, 8]

    def test_nothing_can_be_kept_without_a_key(self, sink: Sink) -> None:
        STEPS["append"].prepare(sink)
        before = observe(sink, HISTORY)
        with pytest.raises(TerminalError, match="without a key"):
            load(sink, HISTORY, "k", [changes_of(1, ["x"])], fence(10, 20), keep=("name",))
        assert observe(sink, HISTORY) == before
