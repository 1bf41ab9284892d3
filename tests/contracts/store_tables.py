"""What every state database does with snapshots and table states."""

from __future__ import annotations

from dataclasses import replace

import pytest

from resources.errors import (
    FencedOut,
)
from resources.model.chunk import Chunk
from resources.model.table import TableId
from resources.stores.database import StateDatabase
from resources.stores.snapshots import SnapshotStore
from resources.stores.table_states import TableStateStore
from tests.contracts.store_case import StoreCase
from tests.stores.children import run_together
from tests.stores.samples import ORDERS, PIPELINE, USERS, position, schema_of


class StoreTables(StoreCase):
    def test_a_snapshot_goes_through_its_states(self, db: StateDatabase) -> None:
        store = SnapshotStore(db, PIPELINE)
        assert store.open_snapshot(ORDERS) is None
        begun = store.start(ORDERS, schema_of(ORDERS), 17, position(5), 1000)
        assert (begun.state, begun.planned, begun.high) == ("planning", False, None)
        plan = [
            Chunk(1, None, ("'a'",), 5),
            Chunk(2, ("'a'",), ("'b'", "2")),
            Chunk(3, ("1",), None),
        ]
        store.add_chunks(begun.load_id, plan[:2])
        store.add_chunks(begun.load_id, plan[1:])
        store.finish_plan(begun.load_id)
        assert store.chunks(begun.load_id) == plan
        store.set_copied(begun.load_id, position(9), 998)
        found = store.open_snapshot(ORDERS)
        assert found == replace(
            begun, state="copied", planned=True, high=position(9), rows_copied=998
        )
        assert store.last_done(ORDERS) is None
        store.set_done(begun.load_id)
        store.set_done(begun.load_id)
        done = store.last_done(ORDERS)
        assert done is not None
        assert done.load_id == begun.load_id
        assert done.finished_us is not None
        assert store.open_snapshot(ORDERS) is None
        assert store.chunks(begun.load_id) == []
        with pytest.raises(FencedOut):
            store.abandon(begun.load_id, "too late")

    def test_an_abandoned_snapshot_takes_no_step(self, db: StateDatabase) -> None:
        store = SnapshotStore(db, PIPELINE)
        old = store.start(ORDERS, schema_of(ORDERS), 0, position(1), 1)
        store.abandon(old.load_id, "altered")
        store.abandon(old.load_id, "altered again")
        new = store.start(ORDERS, schema_of(ORDERS), 0, position(2), 1)
        for step in (
            lambda: store.add_chunks(old.load_id, [Chunk(1, None, None)]),
            lambda: store.finish_plan(old.load_id),
            lambda: store.set_copied(old.load_id, position(3), 1),
            lambda: store.set_done(old.load_id),
        ):
            with pytest.raises(FencedOut, match="no longer open"):
                step()
        assert store.open_snapshot(ORDERS) == new
        assert [s.reason for s in store.list_snapshots("abandoned")] == ["altered"]
        assert [s.load_id for s in store.list_snapshots()] == [old.load_id, new.load_id]

    def test_one_open_snapshot_per_table(self, url: str, db: StateDatabase) -> None:
        said = run_together("start_snapshot", [(url,)] * 3)
        assert sorted(said) == ["TransientError", "TransientError", "started"]
        SnapshotStore(db, PIPELINE).start(USERS, schema_of(USERS), 0, position(1), 1)
        SnapshotStore(db, "other").start(ORDERS, schema_of(ORDERS), 0, position(1), 1)

    def test_each_new_table_is_returned_to_one_caller(self, url: str, db: StateDatabase) -> None:
        said = run_together("register", [(url,)] * 3)
        assert sorted(t for answer in said for t in answer.split(",") if t) == [
            "shop.orders",
            "shop.users",
        ]
        store = TableStateStore(db, PIPELINE)
        assert store.register([USERS, TableId("shop", "Users")]) == [TableId("shop", "Users")]
        assert list(store.all()) == [TableId("shop", "Users"), ORDERS, USERS]

    def test_a_state_keeps_its_time_until_the_status_changes(self, db: StateDatabase) -> None:
        store = TableStateStore(db, PIPELINE)
        assert store.get(ORDERS) is None
        first = store.set(ORDERS, "live")
        same = store.set(ORDERS, "live", "still", 5)
        assert (same.since_us, same.reason, same.seq) == (first.since_us, "still", 5)
        other = store.set(ORDERS, "stopped", "too many \0 \udc80 dirty rows", 9)
        assert other.since_us > first.since_us
        assert store.get(ORDERS) == other
        assert store.all() == {ORDERS: other}
        assert TableStateStore(db, "other").all() == {}
