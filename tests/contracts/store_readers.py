"""What every state database does with the sinks of a change log."""

from __future__ import annotations

import pytest

from resources.stores.database import StateDatabase
from resources.stores.dirty_rows import DirtyRowStore
from resources.stores.leases import Lease
from resources.stores.log_readers import LogReaders
from resources.stores.segments import SegmentStore
from resources.stores.table_states import TableStateStore
from tests.contracts.store_case import StoreCase, dirty_row, segment
from tests.stores.samples import ORDERS, PIPELINE, USERS, position

LAKE, FILES = f"{PIPELINE}__lake", f"{PIPELINE}__files"


class StoreReaders(StoreCase):
    def test_each_sink_has_its_own_numbers_and_none_goes_back(self, db: StateDatabase) -> None:
        readers = LogReaders(db, PIPELINE)
        for name in (LAKE, FILES, LAKE):
            readers.add(name, f"at {name}")
        readers.advance(LAKE, applied=7, offered=9)
        readers.advance(LAKE, applied=3, offered=10)
        readers.keep(LAKE, capture_filter="shop.*")
        readers.keep(FILES, place="elsewhere")
        found = readers.all()
        assert list(found) == [FILES, LAKE]
        lake, files = found[LAKE], found[FILES]
        assert (lake.place, lake.capture_filter) == (f"at {LAKE}", "shop.*")
        assert (lake.applied, lake.offered) == (7, 10)
        assert (files.place, files.applied, files.offered) == ("elsewhere", 0, 0)
        assert LogReaders(db, "another").all() == {}

    @pytest.mark.parametrize(("old", "new"), [(PIPELINE, LAKE), (FILES, LAKE), (LAKE, PIPELINE)])
    def test_state_is_handed_on_as_a_whole_and_once(
        self, db: StateDatabase, lease: Lease, old: str, new: str
    ) -> None:
        segments, readers = SegmentStore(db, PIPELINE), LogReaders(db, PIPELINE)
        segments.ensure_origin(position(0))
        segments.commit(segment(1, lease), lease)
        if old == PIPELINE:
            segments.set_applied(1)
        else:
            readers.add(old, "there")
            readers.advance(old, applied=1, offered=1)
        TableStateStore(db, old).set(ORDERS, "held", "why", 5)
        DirtyRowStore(db, old).add([dirty_row(1, pipeline=old)])
        assert readers.take_over(old, new, "here", 1)
        state = TableStateStore(db, new).get(ORDERS)
        assert state is not None and (state.status, state.reason) == ("held", "why")
        assert (DirtyRowStore(db, new).count_open(), DirtyRowStore(db, old).count_open()) == (1, 0)
        assert TableStateStore(db, old).all() == {}
        if new == PIPELINE:
            assert (readers.all(), segments.applied()) == ({}, 1)
        else:
            (reader,) = readers.all().values()
            assert (reader.pipeline, reader.place) == (new, "here")
            assert (reader.applied, reader.offered) == (1, 1)
            assert not readers.take_over(old, new, "here", 1)

    def test_rows_that_could_not_be_decoded_are_every_sinks(
        self, db: StateDatabase, lease: Lease
    ) -> None:
        store = SegmentStore(db, PIPELINE)
        store.ensure_origin(position(0))
        rows = [dirty_row(1, stage="capture", pipeline=name) for name in (LAKE, FILES)]
        store.commit(segment(1, lease), lease, dirty=rows)
        DirtyRowStore(db, LAKE).add([dirty_row(2, table=USERS, pipeline=LAKE)])
        lake, later = DirtyRowStore(db, LAKE), DirtyRowStore(db, f"{PIPELINE}__later")
        (row,) = lake.open_rows(ORDERS)
        lake.mark([row.id or 0], "replayed", "mended there")
        assert later.take_captured([LAKE, FILES]) == 1
        assert [(r.stage, r.table, r.state) for r in later.open_rows()] == [
            ("capture", ORDERS, "open")
        ]
        assert later.take_captured([LAKE, FILES]) == 0
