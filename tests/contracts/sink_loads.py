"""Snapshot loads and refused rows: part of the suite of sinks."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pyarrow as pa
import pytest

from resources.errors import DirtyRowError, TerminalError
from resources.model.change import RowKind
from resources.model.table import Column, TableSchema
from resources.sinks.contract import Sink, TargetTable, Watermark
from tests.contracts.sink_case import SinkCase
from tests.contracts.sink_steps import (
    FEED,
    SCHEMA,
    STEPS,
    TARGET,
    fence,
    keys_of,
    load,
    observe,
    rows_of,
)
from tests.strategies import (
    comparable,
)

INS, DEL = RowKind.INSERT, RowKind.DELETE
UB, UA = RowKind.UPDATE_BEFORE, RowKind.UPDATE_AFTER


class SinkLoads(SinkCase):
    """Loads resume, replace and refuse."""

    def test_table_stays_readable_and_mergeable_during_a_load(self, sink: Sink) -> None:
        STEPS["load"].prepare(sink)
        sink.begin_load(TARGET, "new", FEED)
        sink.load_chunk(TARGET, "new", 1, [rows_of({1: "loaded"})])
        sink.merge(TARGET, rows_of({8: "merged"}), keys_of(1), fence(10, 12))
        live = {2: "two", 3: None, 8: "merged"}
        assert comparable(sink.read_table(TARGET.id)) == comparable(rows_of(live))
        assert sink.finish_load(TARGET, "new", fence(10, 40), 50) == 1
        assert observe(sink, TARGET) == (comparable(rows_of({1: "loaded"})), Watermark(40, 50, 1))

    def test_load_resumes_by_chunk(self, place: str) -> None:
        with self.open(place) as sink:
            sink.begin_load(TARGET, "a", FEED)
            assert sink.load_chunk(TARGET, "a", 1, [rows_of({1: "x"}), rows_of({2: "y"})]) == 2
        with self.open(place) as sink:
            sink.begin_load(TARGET, "a", FEED)
            assert sink.loaded_chunks(TARGET.id, "a") == {1: 2}
            assert sink.load_chunk(TARGET, "a", 1, [rows_of({3: "again"})]) == 2
            assert sink.load_chunk(TARGET, "a", 2, []) == 0
            assert sink.finish_load(TARGET, "a", fence(None, 5), 5) == 2
            assert sink.finish_load(TARGET, "a", fence(None, 5), 5) == 2
            loaded = comparable(sink.read_table(TARGET.id))
        assert loaded == comparable(rows_of({1: "x", 2: "y"}))

    def test_finished_load_does_not_undo_later_merges(self, sink: Sink) -> None:
        STEPS["merge"].prepare(sink)
        STEPS["merge"].work(sink)
        after = observe(sink, TARGET)
        sink.begin_load(TARGET, "old", FEED)
        assert sink.loaded_chunks(TARGET.id, "old") == {1: 2, 2: 1}
        assert sink.finish_load(TARGET, "old", fence(None, 10), 15) == 3
        assert observe(sink, TARGET) == after
        with pytest.raises(TerminalError, match="finished"):
            sink.load_chunk(TARGET, "old", 3, [rows_of({9: "late"})])

    def test_failing_chunk_leaves_nothing(self, sink: Sink) -> None:
        def parts() -> Iterator[pa.Table]:
            yield rows_of({1: "one"})
            raise ConnectionError("the source went away")

        sink.begin_load(TARGET, "a", FEED)
        with pytest.raises(ConnectionError):
            sink.load_chunk(TARGET, "a", 1, parts())
        assert sink.loaded_chunks(TARGET.id, "a") == {}
        assert sink.load_chunk(TARGET, "a", 1, [rows_of({1: "one"})]) == 1
        assert sink.finish_load(TARGET, "a", fence(None, 5), 5) == 1

    def test_loads_that_are_not_open(self, sink: Sink) -> None:
        STEPS["load"].prepare(sink)
        before = observe(sink, TARGET)
        sink.begin_load(TARGET, "a", FEED)
        sink.abandon_load(TARGET.id, "a")
        for load_id in ("a", "never begun"):
            with pytest.raises(TerminalError, match="not begun"):
                sink.load_chunk(TARGET, load_id, 1, [rows_of({})])
            with pytest.raises(TerminalError, match="not begun"):
                sink.finish_load(TARGET, load_id, fence(10, 11), 11)
        assert observe(sink, TARGET) == before

    def test_empty_load_and_other_shape(self, sink: Sink) -> None:
        STEPS["load"].prepare(sink)
        schema = TableSchema(SCHEMA.table, (Column("key", pa.string()),), ("key",))
        target = TargetTable(TARGET.id, schema)
        assert load(sink, target, "b", [], fence(10, 20)) == 0
        assert sink.read_schema(TARGET.id) == pa.schema([("key", pa.string())])

    def refuses_null_keys(self, write: Callable[[], object]) -> None:
        """Assert that a write of a NULL key is refused as a dirty row."""
        with pytest.raises(DirtyRowError) as caught:
            write()
        assert caught.value.field == "id"

    def test_refused_rows_are_named_and_nothing_is_written(self, sink: Sink) -> None:
        STEPS["merge"].prepare(sink)
        before = observe(sink, TARGET)
        ids = pa.array([1, None, 5, 6, None, 7], pa.int64())
        rows = pa.table([ids, list("abcdef")], schema=rows_of({}).schema)
        self.refuses_null_keys(lambda: sink.merge(TARGET, rows, keys_of(2), fence(10, 20)))
        assert observe(sink, TARGET) == before
        rejected = sink.find_rejected(TARGET, rows)
        assert [(r.index, r.field) for r in rejected] == [(1, "id"), (4, "id")]
        assert observe(sink, TARGET) == before
        assert sink.find_rejected(TARGET, rows.filter(ids.is_valid())) == []
        assert sink.find_rejected(TARGET, rows.slice(0, 0)) == []

    def test_refused_rows_of_a_load(self, sink: Sink) -> None:
        rows = pa.table([pa.array([1, None], pa.int64()), ["a", "b"]], schema=rows_of({}).schema)
        sink.begin_load(TARGET, "a", FEED)
        self.refuses_null_keys(lambda: sink.load_chunk(TARGET, "a", 1, [rows]))
        assert [r.index for r in sink.find_rejected(TARGET, rows)] == [1]
        assert sink.read_schema(TARGET.id) is None
        assert sink.load_chunk(TARGET, "a", 1, [rows.slice(0, 1)]) == 1
