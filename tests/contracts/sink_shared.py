"""Tables several feeds share: part of the suite of sinks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resources.errors import DirtyRowError, TerminalError
from resources.model.change import CHANGE_FIELDS
from resources.model.table import Column, TableSchema
from resources.sinks.contract import Feed, Sink, TargetId, TargetTable, Watermark
from resources.sinks.shape import target_schema
from tests.contracts.sink_case import SinkCase
from tests.contracts.sink_shared_steps import (
    EAST,
    FEEDS,
    NORTH,
    SHARED,
    SHARED_SCHEMA,
    SHARED_STEPS,
    SOUTH,
    shared_rows,
    state_rows,
)
from tests.contracts.sink_steps import STEPS, TARGET, fence, keys_of, load, observe
from tests.strategies import comparable

LOG = TargetTable(TargetId("shop", "all_log"), SHARED_SCHEMA, mode="append", owner="origin")
_KEYS = st.integers(1, 6)
_ROWS = st.dictionaries(_KEYS, st.sampled_from(["a", "b", None]), max_size=4)


def log_rows(feed: Feed, ids: list[int]) -> pa.Table:
    """Rows of LOG."""
    plain = shared_rows(feed, dict.fromkeys(ids, "x")).columns
    extra = [pa.array([0] * len(ids), f.type) for f in CHANGE_FIELDS]
    return pa.table([*plain, *extra], schema=target_schema(LOG))


class SinkShared(SinkCase):
    """Feeds that share a table leave each other's rows alone."""

    def test_a_delete_passes_over_rows_of_other_feeds(self, sink: Sink) -> None:
        SHARED_STEPS["shared merge"].prepare(sink)
        SHARED_STEPS["shared merge"].work(sink)
        left = {2: ("B", NORTH), 4: ("d", NORTH), 3: ("c", SOUTH), 6: ("f", SOUTH)}
        assert comparable(sink.read_table(SHARED.id)) == comparable(state_rows(left))
        assert sink.read_watermark(SHARED.id, NORTH) == Watermark(20, 0, 1)
        assert sink.read_watermark(SHARED.id, SOUTH) == Watermark(7, 0, 1)

    def test_a_key_of_another_feed_is_refused_and_both_are_named(self, sink: Sink) -> None:
        SHARED_STEPS["shared merge"].prepare(sink)
        before = observe(sink, SHARED, NORTH)
        rows = shared_rows(NORTH, {9: "i", 3: "mine", 1: "A", 6: "mine"})
        said = f"key belongs to {SOUTH}, this row comes from {NORTH}"
        with pytest.raises(DirtyRowError) as caught:
            sink.merge(SHARED, rows, keys_of(2), fence(10, 20, 1, NORTH))
        assert said in str(caught.value)
        assert observe(sink, SHARED, NORTH) == before
        rejected = sink.find_rejected(SHARED, rows)
        assert [(r.index, r.message) for r in rejected] == [(1, said), (3, said)]
        assert observe(sink, SHARED, NORTH) == before
        good = rows.take([0, 2])
        assert sink.find_rejected(SHARED, good) == []
        sink.merge(SHARED, good, keys_of(2), fence(10, 20, 1, NORTH))
        left = {9: ("i", NORTH), 1: ("A", NORTH), 3: ("c", SOUTH), 6: ("f", SOUTH)}
        assert comparable(sink.read_table(SHARED.id)) == comparable(state_rows(left))

    def test_null_keys_are_found_beside_keys_of_other_feeds(self, sink: Sink) -> None:
        SHARED_STEPS["shared merge"].prepare(sink)
        ids = pa.array([3, None, 8], pa.int64())
        rows = shared_rows(NORTH, {3: "x", 7: "y", 8: "z"}).set_column(0, "id", ids)
        assert [r.index for r in sink.find_rejected(SHARED, rows)] == [0, 1]

    def test_a_key_given_up_can_be_taken_by_another_feed(self, sink: Sink) -> None:
        SHARED_STEPS["shared merge"].prepare(sink)
        sink.merge(SHARED, shared_rows(SOUTH, {}), keys_of(3), fence(7, 8, 1, SOUTH))
        sink.merge(SHARED, shared_rows(NORTH, {3: "n"}), keys_of(1, 2), fence(10, 11, 1, NORTH))
        left = {3: ("n", NORTH), 6: ("f", SOUTH)}
        assert comparable(sink.read_table(SHARED.id)) == comparable(state_rows(left))

    def test_rows_that_name_another_feed_than_the_writer_are_refused(self, sink: Sink) -> None:
        SHARED_STEPS["shared merge"].prepare(sink)
        before = observe(sink, SHARED, NORTH)
        for rows in (
            shared_rows(SOUTH, {9: "x"}),
            shared_rows(NORTH, {9: "x"}).set_column(2, "origin", pa.array([None], pa.string())),
        ):
            with pytest.raises(TerminalError, match="origin"):
                sink.merge(SHARED, rows, keys_of(), fence(10, 20, 1, NORTH))
            sink.begin_load(SHARED, "a", NORTH)
            with pytest.raises(TerminalError, match="origin"):
                sink.load_chunk(SHARED, "a", 1, [rows])
        assert observe(sink, SHARED, NORTH) == before

    def test_truncate_deletes_every_row_of_a_table_of_one_feed(self, sink: Sink) -> None:
        STEPS["truncate"].prepare(sink)
        STEPS["truncate"].work(sink)
        assert observe(sink, TARGET) == ([], Watermark(20, 15, 1))
        assert sink.truncate(TARGET, fence(20, 21)) == 0

    def test_truncate_of_a_shared_table_deletes_the_rows_of_the_feed(self, sink: Sink) -> None:
        SHARED_STEPS["shared truncate"].prepare(sink)
        SHARED_STEPS["shared truncate"].work(sink)
        left = {3: ("c", SOUTH), 6: ("f", SOUTH)}
        assert comparable(sink.read_table(SHARED.id)) == comparable(state_rows(left))
        assert sink.read_watermark(SHARED.id, NORTH) == Watermark(20, 0, 1)
        assert sink.read_watermark(SHARED.id, SOUTH) == Watermark(7, 0, 1)

    def test_shared_append_tables(self, sink: Sink) -> None:
        sink.create_table(LOG)
        for feed in FEEDS:
            sink.append(LOG, log_rows(feed, [1, 2]), fence(None, 3, 1, feed))
        with pytest.raises(TerminalError, match="origin"):
            sink.append(LOG, log_rows(SOUTH, [3]), fence(3, 4, 1, NORTH))
        assert sink.truncate(LOG, fence(3, 4, 1, NORTH)) == 2
        assert load(sink, LOG, "s", [log_rows(SOUTH, [2, 3, 4])], fence(3, 5, 1, SOUTH)) == 3
        left = pa.concat_tables([log_rows(EAST, [1, 2]), log_rows(SOUTH, [2, 3, 4])])
        assert comparable(sink.read_table(LOG.id)) == comparable(left)

    @pytest.mark.parametrize(
        ("owner", "key"), [("feed", ("id",)), ("id", ("name",)), ("origin", ("id", "origin"))]
    )
    def test_owner_columns_that_cannot_be_are_found(
        self, sink: Sink, owner: str, key: tuple[str, ...]
    ) -> None:
        target = TargetTable(SHARED.id, SHARED_SCHEMA.with_key(key), owner=owner)
        (finding,) = sink.check_table(target)
        assert (finding.code, finding.level) == ("owner_invalid", "error")

    def test_keys_of_several_columns_with_hostile_names(self, sink: Sink) -> None:
        names = ('say "hi"', "it's", "live")
        types = (pa.string(), pa.timestamp("us", tz="UTC"), pa.string())
        columns = tuple(Column(n, t) for n, t in zip(names, types, strict=True))
        schema = TableSchema(SHARED_SCHEMA.table, columns, names[:2])
        target = TargetTable(TargetId("select", "gone"), schema, owner="live")
        sink.create_table(target)

        def rows(feed: Feed, keys: list[tuple[str, int]]) -> pa.Table:
            texts, times = [k[0] for k in keys], [k[1] for k in keys]
            return pa.table([texts, times, [str(feed)] * len(keys)], schema=target_schema(target))

        mine, other = rows(NORTH, [("a", 1), ("A", 1)]), rows(SOUTH, [("a", 2), ("A", 1)])
        no_keys = mine.select(names[:2]).slice(0, 0)
        sink.merge(target, mine, no_keys, fence(None, 1, 1, NORTH))
        assert [r.index for r in sink.find_rejected(target, other)] == [1]
        sink.merge(target, other.slice(0, 1), no_keys, fence(None, 1, 1, SOUTH))
        assert sink.count_rows(target.id) == 3

    @settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(data=st.data())
    def test_random_writes_of_three_feeds_equal_a_dict(
        self, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
    ) -> None:
        with self.open(str(tmp_path_factory.mktemp("shared") / "shop")) as sink:
            sink.create_table(SHARED)
            model = _Model(sink)
            acts = st.sampled_from(["merge"] * 5 + ["truncate", "load", "finish"])
            for act in data.draw(st.lists(acts, min_size=3, max_size=10)):
                feed = data.draw(st.sampled_from(FEEDS))
                if act == "merge":
                    model.merge(feed, data.draw(_ROWS), data.draw(st.lists(_KEYS, max_size=3)))
                elif act == "truncate":
                    model.truncate(feed)
                elif act == "load":
                    model.begin(feed, data.draw(_ROWS))
                else:
                    model.finish(feed)
                assert comparable(sink.read_table(SHARED.id)) == comparable(state_rows(model.rows))


@dataclass
class _Model:
    """The shared table as a dict, and the sink that has to agree with it at every call."""

    sink: Sink
    rows: dict[int, tuple[str | None, Feed]] = field(default_factory=dict)
    loads: dict[Feed, tuple[str, dict[int, str | None]]] = field(default_factory=dict)
    seqs: dict[Feed, int] = field(default_factory=dict)
    begun: int = 0

    def _next(self, feed: Feed) -> tuple[int | None, int]:
        expected = self.seqs.get(feed)
        return expected, (expected or 0) + 1

    def _foreign(self, feed: Feed, keys: Sequence[int]) -> list[int]:
        return [k for k in keys if k in self.rows and self.rows[k][1] != feed]

    def merge(self, feed: Feed, names: dict[int, str | None], gone: list[int]) -> None:
        """Merge; where the sink has to refuse keys, check that and merge the others."""
        expected, new = self._next(feed)
        deletes = keys_of(*{k for k in gone if k not in names})
        foreign = self._foreign(feed, list(names))
        if foreign:
            rows = shared_rows(feed, names)
            with pytest.raises(DirtyRowError):
                self.sink.merge(SHARED, rows, deletes, fence(expected, new, 1, feed))
            found = [rows["id"][r.index].as_py() for r in self.sink.find_rejected(SHARED, rows)]
            assert sorted(found) == sorted(foreign)
        names = {k: n for k, n in names.items() if k not in foreign}
        self.sink.merge(SHARED, shared_rows(feed, names), deletes, fence(expected, new, 1, feed))
        self.seqs[feed] = new
        for key in deletes["id"].to_pylist():
            if key in self.rows and self.rows[key][1] == feed:
                del self.rows[key]
        self.rows.update({k: (n, feed) for k, n in names.items()})

    def truncate(self, feed: Feed) -> None:
        """Truncate; the sink counts the feed's rows."""
        expected, new = self._next(feed)
        mine = [k for k, (_, whose) in self.rows.items() if whose == feed]
        assert self.sink.truncate(SHARED, fence(expected, new, 1, feed)) == len(mine)
        self.seqs[feed] = new
        self.rows = {k: v for k, v in self.rows.items() if k not in mine}

    def begin(self, feed: Feed, names: dict[int, str | None]) -> None:
        """Load the rows beside the live table, in place of the feed's load before."""
        self.begun += 1
        load_id = f"load {self.begun}"
        self.sink.begin_load(SHARED, load_id, feed)
        self.sink.load_chunk(SHARED, load_id, 1, [shared_rows(feed, names)])
        self.loads[feed] = load_id, names

    def finish(self, feed: Feed) -> None:
        """Finish the feed's load if it has one open; doing so again changes nothing."""
        if feed not in self.loads:
            return
        load_id, names = self.loads.pop(feed)
        expected, new = self._next(feed)
        at = fence(expected, new, 1, feed)
        foreign = self._foreign(feed, list(names))
        theirs = {k: (names[k], self.rows[k][1]) for k in foreign}
        conflicts = self.sink.load_conflicts(SHARED, load_id, feed)
        assert comparable(conflicts) == comparable(state_rows(theirs))
        for count in (len(foreign), 0):
            loaded = self.sink.finish_load(SHARED, load_id, at, new, conflicts=count)
            assert loaded == len(names) - len(foreign)
            assert self.sink.load_conflicts(SHARED, load_id, feed).num_rows == 0
        self.seqs[feed] = new
        self.rows = {k: v for k, v in self.rows.items() if v[1] != feed}
        self.rows.update({k: (n, feed) for k, n in names.items() if k not in foreign})
