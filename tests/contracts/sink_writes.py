"""Tables, merges, fences and crashes: part of the suite of sinks."""

from __future__ import annotations

import pyarrow as pa
import pytest

from cdc_assets.engine.reduce import reduce_changes
from resources.errors import ConfigError, FencedOut, SchemaMismatch, TerminalError
from resources.model.change import RowKind
from resources.model.table import Column, TableId, TableSchema
from resources.sinks.contract import Feed, Sink, TargetTable, Watermark
from tests.contracts.sink_case import SinkCase
from tests.contracts.sink_shared_steps import ALL_STEPS
from tests.contracts.sink_steps import (
    FEED,
    HISTORY,
    KINDS,
    PIPELINE,
    SCHEMA,
    STEPS,
    TARGET,
    Seen,
    Step,
    changes_of,
    fence,
    keys_of,
    load,
    observe,
    rows_of,
)
from tests.strategies import (
    Changes,
    comparable,
)

INS, DEL = RowKind.INSERT, RowKind.DELETE
UB, UA = RowKind.UPDATE_BEFORE, RowKind.UPDATE_AFTER


class SinkWrites(SinkCase):
    """Every write is whole and fenced."""

    def test_is_a_sink(self, sink: Sink) -> None:
        assert isinstance(sink, Sink)

    def test_creates_from_schema(self, sink: Sink) -> None:
        assert sink.check_table(TARGET) == []
        assert sink.read_schema(TARGET.id) is None
        sink.create_table(TARGET)
        sink.create_table(TARGET)
        assert sink.read_schema(TARGET.id) == rows_of({}).schema
        assert sink.count_rows(TARGET.id) == 0
        assert sink.read_watermark(TARGET.id, FEED) is None
        assert sink.check_table(TARGET) == []

    def test_append_table_has_change_columns(self, sink: Sink) -> None:
        sink.create_table(HISTORY)
        schema = sink.read_schema(HISTORY.id)
        assert schema is not None
        assert schema.names == ["id", "name", "_cdc_op", "_cdc_seq", "_cdc_ts"]

    def test_drop_leaves_nothing(self, sink: Sink) -> None:
        load(sink, TARGET, "a", [rows_of({1: "one"})], fence(None, 10))
        sink.begin_load(TARGET, "b", FEED)
        sink.drop_table(TARGET.id)
        sink.drop_table(TARGET.id)
        assert observe(sink, TARGET) == (None, None)
        assert sink.loaded_chunks(TARGET.id, "a") == {}
        sink.create_table(TARGET)
        assert observe(sink, TARGET) == ([], None)

    def test_missing_table(self, sink: Sink) -> None:
        for read in (sink.read_table, sink.count_rows):
            with pytest.raises(SchemaMismatch, match="does not exist"):
                read(TARGET.id)
        with pytest.raises(SchemaMismatch, match="does not exist"):
            sink.merge(TARGET, rows_of({}), keys_of(), fence(None, 1))

    def test_other_columns_do_not_fit(self, sink: Sink) -> None:
        sink.create_table(TARGET)
        wider = TableSchema(SCHEMA.table, (*SCHEMA.columns, Column("n", pa.int8())), ("id",))
        target = TargetTable(TARGET.id, wider)
        rows = rows_of({1: "one"}).append_column("n", pa.array([1], pa.int8()))
        with pytest.raises(SchemaMismatch, match=r"has the columns .*name.* on the source .*n "):
            sink.merge(target, rows, keys_of(), fence(None, 1))
        with pytest.raises(SchemaMismatch, match="rows of shape"):
            sink.merge(TARGET, rows, keys_of(), fence(None, 1))
        assert [f.code for f in sink.check_table(target)] == ["schema_mismatch"]
        assert observe(sink, TARGET) == ([], None)

    def test_merge(self, sink: Sink) -> None:
        sink.create_table(TARGET)
        written = sink.merge(TARGET, rows_of({1: "a", 2: None}), keys_of(3), fence(None, 5))
        assert (written.upserted, written.deleted) == (2, 1)
        sink.merge(TARGET, rows_of({2: "b", 3: "c"}), keys_of(1), fence(5, 9, token=4))
        assert comparable(sink.read_table(TARGET.id)) == comparable(rows_of({2: "b", 3: "c"}))
        assert sink.read_watermark(TARGET.id, FEED) == Watermark(9, 0, 4)

    def test_empty_merge_moves_the_watermark(self, sink: Sink) -> None:
        sink.create_table(TARGET)
        sink.merge(TARGET, rows_of({}), keys_of(), fence(None, 5))
        assert observe(sink, TARGET) == ([], Watermark(5, 0, 1))

    def test_append_keeps_every_change(self, sink: Sink) -> None:
        sink.create_table(HISTORY)
        sink.append(HISTORY, changes_of(1, ["a", "a"]), fence(None, 2))
        sink.append(HISTORY, changes_of(3, ["a"]), fence(2, 3))
        assert sink.count_rows(HISTORY.id) == 3

    def test_mode_and_call_go_together(self, sink: Sink) -> None:
        sink.create_table(TARGET)
        sink.create_table(HISTORY)
        with pytest.raises(TerminalError, match="mode is merge"):
            sink.append(TARGET, rows_of({}), fence(None, 1))
        with pytest.raises(TerminalError, match="mode is append"):
            sink.merge(HISTORY, changes_of(1, []), keys_of(), fence(None, 1))

    @pytest.mark.parametrize(
        ("changes", "left"),
        [
            ([(INS, 1, "a"), (DEL, 1, "a"), (INS, 1, "b")], {1: "b"}),
            ([(DEL, 1, "old"), (INS, 1, "a"), (DEL, 1, "a")], {}),
            ([(UB, 1, "old"), (UA, 2, "old")], {2: "old"}),
            (
                [(INS, 2, "x"), (UB, 1, "old"), (UA, 9, "old"), (UB, 2, "x"), (UA, 1, "x")],
                {1: "x", 9: "old"},
            ),
        ],
        ids=["insert-delete-insert", "delete-insert-delete", "key change", "key chain"],
    )
    def test_one_batch(
        self, sink: Sink, changes: list[tuple[RowKind, int, str]], left: dict[int, str | None]
    ) -> None:
        load(sink, TARGET, "a", [rows_of({1: "old"})], fence(None, 10))
        rows = [(kind, {"id": i, "name": n}) for kind, i, n in changes]
        reduced = reduce_changes([Changes(SCHEMA, rows, 11).batch()], ("id",))
        sink.merge(TARGET, reduced.upserts, reduced.deletes, fence(10, reduced.last_seq))
        assert comparable(sink.read_table(TARGET.id)) == comparable(rows_of(left))

    def test_replay_of_an_applied_batch(self, sink: Sink) -> None:
        STEPS["merge"].prepare(sink)
        STEPS["merge"].work(sink)
        after = observe(sink, TARGET)
        with pytest.raises(FencedOut, match=r"is 20, not 10"):
            STEPS["merge"].work(sink)
        assert observe(sink, TARGET) == after
        sink.merge(TARGET, rows_of({2: "TWO", 4: "four"}), keys_of(1, 77), fence(20, 20))
        assert observe(sink, TARGET) == after

    @pytest.mark.parametrize("expected", [None, 9, 11])
    def test_loser_of_the_compare_and_set(self, sink: Sink, expected: int | None) -> None:
        STEPS["merge"].prepare(sink)
        before = observe(sink, TARGET)
        with pytest.raises(FencedOut):
            sink.merge(TARGET, rows_of({1: "lost"}), keys_of(2), fence(expected, 30, token=9))
        assert observe(sink, TARGET) == before

    def test_expected_watermark_where_there_is_none(self, sink: Sink) -> None:
        sink.create_table(TARGET)
        with pytest.raises(FencedOut, match="is None, not 3"):
            sink.merge(TARGET, rows_of({1: "lost"}), keys_of(), fence(3, 4))
        assert observe(sink, TARGET) == ([], None)

    def test_stale_token(self, sink: Sink) -> None:
        load(sink, TARGET, "a", [rows_of({1: "one"})], fence(None, 10, token=7))
        before = observe(sink, TARGET)
        with pytest.raises(FencedOut, match="token 7"):
            sink.merge(TARGET, rows_of({1: "lost"}), keys_of(), fence(10, 11, token=6))
        sink.begin_load(TARGET, "b", FEED)
        with pytest.raises(FencedOut, match="token 7"):
            sink.finish_load(TARGET, "b", fence(10, 11, token=6), 11)
        assert observe(sink, TARGET) == before

    def test_watermark_never_goes_back(self, sink: Sink) -> None:
        STEPS["merge"].prepare(sink)
        with pytest.raises(TerminalError, match="cannot go back"):
            sink.merge(TARGET, rows_of({}), keys_of(), fence(10, 9))

    def test_each_feed_has_its_own_watermark(self, sink: Sink) -> None:
        STEPS["merge"].prepare(sink)
        other_table = Feed(PIPELINE, TableId("shop", "old_orders"))
        other_pipeline = Feed("other", SCHEMA.table)
        for seq, feed in enumerate((other_table, other_pipeline), start=3):
            sink.merge(TARGET, rows_of({5: "five"}), keys_of(), fence(None, seq, 0, feed))
        marks = (Watermark(10, 15, 1), Watermark(3, 0, 0), Watermark(4, 0, 0))
        found = [sink.read_watermark(TARGET.id, f) for f in (FEED, other_table, other_pipeline)]
        assert found == list(marks)
        assert sink.list_watermarks(PIPELINE) == {
            (TARGET.id, FEED.table): marks[0],
            (TARGET.id, other_table.table): marks[1],
        }

    def test_watermarks_of_64_bits(self, sink: Sink) -> None:
        sink.create_table(TARGET)
        sink.merge(TARGET, rows_of({}), keys_of(), fence(None, 2**64 - 1, token=2**64 - 1))
        assert sink.read_watermark(TARGET.id, FEED) == Watermark(2**64 - 1, 0, 2**64 - 1)

    @pytest.mark.parametrize("step", sorted(ALL_STEPS))
    def test_killed_between_any_two_statements(self, step: str, place: str) -> None:
        plan = ALL_STEPS[step]

        def seen(sink: Sink) -> tuple[Seen, pa.Schema | None]:
            return observe(sink, plan.target, plan.feed), sink.read_schema(plan.target.id)

        with self.open(f"{place}-whole") as sink:
            if not plan.needs <= sink.capabilities.schema_changes:
                with pytest.raises(ConfigError):
                    self.run(plan, sink)
                return
            plan.prepare(sink)
            old = seen(sink)
            plan.work(sink)
            new = seen(sink)
        assert old != new
        points = 0
        for point, sink in self.killed(step, place):
            with sink:
                if sink.capabilities.transactions:
                    assert seen(sink) in (old, new), point
                else:
                    self.require_data_first(plan, seen(sink)[0], old[0], new[0], point)
                plan.redo(sink)
                assert seen(sink) == new, point
                plan.redo(sink)
                assert seen(sink) == new, point
            points += 1
        assert points >= len(plan.points)

    def require_data_first(self, plan: Step, found: Seen, old: Seen, new: Seen, point: str) -> None:
        """What a sink without transactions promises: the data is whole, the watermark is last.

        Column changes are made one by one, so between them a table is neither old nor new.
        """
        assert found[1] in (old[1], new[1]), point
        if plan.needs == KINDS:
            return
        assert found[0] in (old[0], new[0]), point
        if found[1] == new[1] != old[1]:
            assert found[0] == new[0], point

    def run(self, plan: Step, sink: Sink) -> None:
        """Do a step from its beginning."""
        plan.prepare(sink)
        plan.work(sink)
