"""What every state database does with the rows of the change log."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from resources.errors import (
    ContinuityBroken,
    FencedOut,
)
from resources.model.change import ShapeRecord
from resources.model.position import PollGap, PollMark, PollPosition, ServerIdentity
from resources.model.table import TableId
from resources.stores import tables
from resources.stores.database import StateDatabase
from resources.stores.dirty_rows import DirtyRowStore
from resources.stores.leases import Lease, LeaseStore
from resources.stores.segment_rows import position_to_text
from resources.stores.segments import SegmentStore
from tests.contracts.store_case import StoreCase, dirty_row, segment
from tests.stores.children import run_together
from tests.stores.samples import ORDERS, PIPELINE, USERS, position, schema_of


class StoreSegments(StoreCase):
    def test_the_first_origin_holds(self, url: str, db: StateDatabase) -> None:
        assert SegmentStore(db, PIPELINE).origin() is None
        assert SegmentStore(db, PIPELINE).resume_position() is None
        said = run_together("ensure_origin", [(url, n) for n in (7, 8, 9)])
        assert len(set(said)) == 1
        assert str(SegmentStore(db, PIPELINE).origin()) == said[0]
        assert SegmentStore(db, "another").origin() is None

    def test_segments_come_back_as_committed(self, segments: SegmentStore, lease: Lease) -> None:
        schemas = [schema_of(ORDERS), schema_of(USERS, "a", "b")]
        first = segments.commit(segment(1, lease), lease, schemas)
        second = segments.commit(segment(2, lease, window="later"), lease, schemas)
        assert first == segment(1, lease, committed_us=first.committed_us)
        assert first.committed_us > 0
        assert segments.list_segments() == [first, second]
        assert segments.list_segments(after=1) == [second]
        assert segments.list_segments(upto=1) == [first]
        assert segments.list_segments(window="later") == [second]
        assert segments.last() == second
        assert segments.resume_position() == position(200)
        only = segments.list_of_table(USERS, 0, 1)
        assert [s.tables for s in only] == [{str(USERS): first.tables[str(USERS)]}]
        assert segments.count_rows(0) == {ORDERS: 4, USERS: 2}
        assert segments.count_rows(2) == {}
        assert segments.load_schema(schemas[1].fingerprint(), USERS) == schemas[1]
        assert segments.list_schemas(ORDERS) == [schemas[0]]
        with pytest.raises(ContinuityBroken, match="no schema version"):
            segments.load_schema("nope", USERS)

    def test_poll_positions_come_back_too(self, db: StateDatabase) -> None:
        gaps = (PollGap(3, 5, 1_000, ("12", "13")), PollGap(7, 7, 2_000))
        marks = {"shop.a": PollMark(9, gaps), "shop.b": PollMark(None)}
        polled = PollPosition(marks, ServerIdentity("sql", "x"))
        store = SegmentStore(db, PIPELINE)
        assert store.ensure_origin(polled) == polled
        assert store.resume_position() == polled

    @pytest.mark.parametrize(
        "changes",
        [{"number": 1}, {"number": 3}, {"start": position(99)}, {"start": position(101)}],
    )
    def test_what_does_not_continue_the_log_is_refused(
        self, segments: SegmentStore, lease: Lease, changes: dict[str, object]
    ) -> None:
        first = segments.commit(segment(1, lease), lease)
        with pytest.raises(ContinuityBroken, match=r"does not continue .* segment 1 at binlog"):
            segments.commit(segment(2, lease, **changes), lease, [schema_of(ORDERS)])
        assert segments.list_segments() == [first]
        assert segments.list_schemas(ORDERS) == []

    def test_without_origin_nothing_is_committed(self, db: StateDatabase, lease: Lease) -> None:
        store = SegmentStore(db, "bare")
        with pytest.raises(ContinuityBroken, match="no origin"):
            store.commit(segment(1, lease, pipeline="bare"), lease)
        with pytest.raises(ContinuityBroken, match="no origin"):
            store.extend_empty(position(5), lease)

    def test_of_two_processes_committing_one_number_one_wins(
        self, url: str, segments: SegmentStore, lease: Lease
    ) -> None:
        for number in range(1, 4):
            rival = segment(number, lease)
            arguments = [(url, replace(rival, run_id=f"run {n}"), lease.token) for n in (1, 2)]
            said = run_together("commit", arguments)
            assert sorted(said) == ["ContinuityBroken", "committed"]
        assert [s.number for s in segments.list_segments()] == [1, 2, 3]
        assert segments.check_continuity(lambda _: None) == []

    def test_a_writer_that_lost_its_lease_commits_nothing(
        self, segments: SegmentStore, leases: LeaseStore
    ) -> None:
        old = leases.acquire("capture", "old", 0.01)
        time.sleep(0.05)
        new = leases.acquire("capture", "new")
        with pytest.raises(FencedOut):
            segments.commit(segment(1, old), old, dirty=[dirty_row(1)])
        with pytest.raises(FencedOut):
            segments.extend_empty(position(5), old, shapes=[ShapeRecord(ORDERS, "lost")])
        assert segments.list_segments() == []
        assert segments.shapes() == {}
        assert segments.commit(segment(1, new), new).token == new.token

    def test_dirty_rows_are_set_aside_with_their_segment(
        self, db: StateDatabase, segments: SegmentStore, lease: Lease
    ) -> None:
        segments.commit(segment(1, lease), lease, dirty=[dirty_row(1)])
        with pytest.raises(ContinuityBroken):
            segments.commit(segment(1, lease), lease, dirty=[dirty_row(2)])
        assert [r.seq for r in DirtyRowStore(db, PIPELINE).open_rows()] == [1]

    def test_an_idle_log_makes_one_empty_segment(
        self, segments: SegmentStore, lease: Lease
    ) -> None:
        segments.commit(segment(1, lease), lease)
        for offset in (110, 120, 130):
            last = segments.extend_empty(position(offset), lease, "run 1", "shop.*")
        assert (last.number, last.rows, last.file) == (2, 0, "")
        assert (last.start, last.end) == (position(100), position(130))
        assert segments.extend_empty(position(140), lease, "run 2", "shop.o*").number == 3
        assert segments.list_segments()[-1] == segments.last()
        assert segments.resume_position() == position(140)
        assert segments.check_continuity(lambda _: None) == []

    def test_shape_records_are_those_of_the_last_segment(
        self, db: StateDatabase, segments: SegmentStore, lease: Lease
    ) -> None:
        everywhere = TableId("shop", "")
        first = [ShapeRecord(ORDERS, "one"), ShapeRecord(USERS, "x"), ShapeRecord(everywhere, "d")]
        segments.commit(segment(1, lease), lease, shapes=first)
        assert segments.shapes() == {ORDERS: "one", USERS: "x", everywhere: "d"}
        with pytest.raises(ContinuityBroken):
            segments.commit(segment(1, lease), lease, shapes=[ShapeRecord(ORDERS, "lost")])
        later = [ShapeRecord(ORDERS, "two"), ShapeRecord(ORDERS, "three"), ShapeRecord(USERS, "")]
        segments.extend_empty(position(110), lease, shapes=later)
        assert segments.shapes() == {ORDERS: "three", everywhere: "d"}
        segments.extend_empty(position(120), lease, shapes=[ShapeRecord(ORDERS, "é" * 70_000)])
        assert segments.shapes()[ORDERS] == "é" * 70_000
        assert segments.forget(2).number == 1
        assert set(segments.shapes()) == {ORDERS, everywhere}, "retention leaves them"
        assert SegmentStore(db, "another").shapes() == {}

    def test_each_hole_is_named(
        self, db: StateDatabase, segments: SegmentStore, lease: Lease
    ) -> None:
        for number in range(1, 7):
            segments.commit(segment(number, lease), lease)
        s = tables.segments
        with db.begin() as conn:
            conn.execute(s.delete().where(s.c.number.in_([2, 3])))
            moved = position_to_text(position(405))
            conn.execute(s.update().where(s.c.number == 5).values(start_position=moved))
        found = segments.check_continuity(
            lambda checked: "its file is torn" if checked.number == 6 else None
        )
        assert found == [
            "segments 2 to 3 are missing: binlog.000001:100 to binlog.000001:300",
            "segment 5 starts at binlog.000001:405, the log before it ends at binlog.000001:400: "
            "a hole or an overlap between them",
            "segment 6 of shop (binlog.000001:500 to binlog.000001:600): its file is torn",
        ]

    def test_retention_leaves_a_provable_log(self, segments: SegmentStore, lease: Lease) -> None:
        for number in (1, 2, 3):
            segments.commit(segment(number, lease), lease)
        floor = segments.forget(2)
        assert (floor.number, floor.position) == (2, position(200))
        assert segments.forget(1) == floor
        assert segments.check_continuity(lambda _: None) == []
        assert (segments.table_floor(ORDERS), segments.table_floor(TableId("shop", "x"))) == (2, 0)
        assert segments.forget(3) == floor, "the last segment stays"
        assert segments.commit(segment(4, lease), lease).number == 4
        assert segments.forget(3).number == 3
        assert segments.table_floor(ORDERS) == 3

    def test_the_applied_mark_never_goes_back(self, segments: SegmentStore) -> None:
        assert segments.applied() == 0
        for number, expected in ((3, 3), (2, 3), (5, 5)):
            segments.set_applied(number)
            assert segments.applied() == expected
