"""What every state database does as such, and with leases and tokens."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from resources.errors import (
    ConfigError,
    FencedOut,
    LeaseHeld,
)
from resources.stores import tables
from resources.stores.database import StateDatabase
from resources.stores.leases import LeaseStore
from resources.stores.segments import SegmentStore
from tests.contracts.store_case import StoreCase
from tests.stores.children import run_together, start


class StoreLeases(StoreCase):
    def test_four_processes_may_open_an_empty_one_at_once(self, url: str) -> None:
        said = run_together("open_empty", [(url,)] * 4)
        assert len(set(said)) == 4

    def test_a_newer_version_is_refused(self, url: str, db: StateDatabase) -> None:
        with db.begin() as conn:
            conn.execute(update(tables.state_version).values(version=tables.SCHEMA_VERSION + 1))
        with pytest.raises(ConfigError, match="newer cdc-assets release"):
            StateDatabase(url)

    def test_an_older_version_gets_what_it_lacks(self, url: str, db: StateDatabase) -> None:
        with db.begin() as conn:
            tables.table_shapes.drop(conn)
            conn.execute(update(tables.state_version).values(version=1))
        newer = StateDatabase(url)
        try:
            assert SegmentStore(newer, "p").shapes() == {}
            with newer.read() as conn:
                version = conn.scalar(select(tables.state_version.c.version))
            assert version == tables.SCHEMA_VERSION
        finally:
            newer.close()

    def test_a_failed_transaction_leaves_nothing(self, db: StateDatabase) -> None:
        with pytest.raises(RuntimeError), db.begin() as conn:
            conn.execute(update(tables.tokens).values(last=99))
            raise RuntimeError
        with db.read() as conn:
            assert conn.scalar(select(tables.tokens.c.last)) != 99

    def test_inserting_what_is_missing_tells_whether_it_was(self, db: StateDatabase) -> None:
        row = {"pipeline": "p", "database_name": "a", "table_name": "b", "number": 1}
        with db.begin() as conn:
            for expected in (1, 0):
                assert db.insert_missing(conn, tables.table_floors, [row]) == expected
            db.insert_missing(conn, tables.table_floors, [row, row | {"table_name": "B"}])
            assert conn.scalar(select(func.count()).select_from(tables.table_floors)) == 2

    def test_its_clock_is_that_of_the_world(self, db: StateDatabase) -> None:
        with db.read() as conn:
            first, second = db.now_us(conn), db.now_us(conn)
        assert first <= second
        assert abs(first / 1e6 - time.time()) < 5

    def test_of_several_processes_one_gets_the_lease(self, url: str, db: StateDatabase) -> None:
        said = run_together("acquire", [(url, "capture", f"run {n}") for n in range(3)])
        assert sorted(said) == ["LeaseHeld", "LeaseHeld", "acquired"]

    def test_tokens_of_several_processes_grow_and_never_repeat(
        self, url: str, db: StateDatabase
    ) -> None:
        said = run_together("draw_tokens", [(url, 20)] * 3)
        drawn = [[int(t) for t in answer.split(",")] for answer in said]
        assert all(tokens == sorted(tokens) for tokens in drawn)
        assert len({t for tokens in drawn for t in tokens}) == 60

    def test_a_database_begun_anew_draws_greater_tokens(self, db: StateDatabase) -> None:
        """Targets remember tokens: a counter from 1 would be fenced out of them for ever."""
        leases = LeaseStore(db)
        before = [leases.next_token() for _ in range(5)]
        with db.begin() as conn:
            conn.execute(update(tables.tokens).values(last=0))
        assert leases.next_token() > before[-1]

    def test_a_held_lease_says_who_since_when_and_until_when(self, leases: LeaseStore) -> None:
        leases.acquire("capture", "run 7 on host-a", 60)
        with pytest.raises(LeaseHeld, match=r"run 7 on host-a .* since 20\d\d-.* expires at 20"):
            leases.acquire("capture", "run 8")
        assert leases.holder("capture") == "run 7 on host-a"
        assert leases.holder("other") is None

    def test_an_expired_lease_is_taken_over_and_its_old_holder_fenced_out(
        self, db: StateDatabase, leases: LeaseStore
    ) -> None:
        old = leases.acquire("capture", "old", 0.05)
        time.sleep(0.1)
        assert leases.holder("capture") is None
        leases.renew(old)  # nobody took it yet
        time.sleep(0.1)
        new = leases.acquire("capture", "new", 60)
        assert new.token > old.token
        with pytest.raises(FencedOut, match="new took it over"):
            leases.renew(old)
        with pytest.raises(FencedOut), db.begin() as conn:
            leases.verify(conn, old)
        leases.release(old)
        assert leases.holder("capture") == "new"
        leases.release(new)
        assert leases.holder("capture") is None
        assert leases.acquire("capture", "next").token > new.token

    def test_nobody_takes_over_while_a_transaction_has_verified(
        self, db: StateDatabase, leases: LeaseStore
    ) -> None:
        lease = leases.acquire("capture", "slow", 0.05)
        order: list[str] = []

        def take_over() -> None:
            leases.acquire("capture", "fast")
            order.append("taken over")

        with db.begin() as conn:
            leases.verify(conn, lease)
            time.sleep(0.1)
            thread = threading.Thread(target=take_over)
            thread.start()
            time.sleep(0.3)
            order.append("committed")
        thread.join(30)
        assert order == ["committed", "taken over"]

    def test_a_killed_holder_on_this_machine_is_followed_at_once(
        self, url: str, leases: LeaseStore, tmp_path: Path
    ) -> None:
        process = start("hold_lease", url, str(tmp_path / "ready"))
        while not (tmp_path / "ready").exists():
            time.sleep(0.02)
        time.sleep(1.5)  # longer than its second: it is being renewed
        with pytest.raises(LeaseHeld):
            leases.acquire("capture", "run 2")
        process.kill()
        process.join()
        assert leases.acquire("capture", "run 2").holder == "run 2"

    def test_a_holder_on_another_machine_is_waited_for(
        self, db: StateDatabase, leases: LeaseStore
    ) -> None:
        leases.acquire("capture", "run 1", 0.5)
        with db.begin() as conn:
            conn.execute(update(tables.leases).values(process="boot/pid:[1]/999999999/1"))
        with pytest.raises(LeaseHeld):
            leases.acquire("capture", "run 2")
        time.sleep(0.6)
        assert leases.acquire("capture", "run 2").holder == "run 2"

    def test_held_renews_releases_and_tells_when_it_is_lost(self, leases: LeaseStore) -> None:
        with leases.held("capture", "run 1", 0.3) as lease:
            time.sleep(0.7)
            assert leases.holder("capture") == "run 1"
            assert not lease.lost.is_set()
            leases.release(lease)  # somebody mends by hand
            assert lease.lost.wait(5)
        with leases.held("capture", "run 2", 60):
            pass
        assert leases.holder("capture") is None
