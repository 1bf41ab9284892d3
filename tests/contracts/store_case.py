"""Sample rows of the state store, and the fixtures its suite shares."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from resources.model.change import RowKind, TableNotice, first_seq
from resources.stores.database import StateDatabase
from resources.stores.dirty_rows import DirtyRow
from resources.stores.leases import Lease, LeaseStore
from resources.stores.segments import Segment, SegmentStore, TableStats
from tests.stores.samples import ORDERS, PIPELINE, USERS, WINDOW, position


def segment(number: int, lease: Lease, /, **changes: object) -> Segment:
    """A segment from offset 100 * (number - 1) to 100 * number with three rows of two tables."""
    base = first_seq(number)
    notice = TableNotice(USERS, base + 2, "truncate", "TRUNCATE users", "here", True)
    stats = {
        str(ORDERS): TableStats({"insert": 1, "update": 1, "delete": 0}, ("aa", "bb"), 0, ORDERS),
        str(USERS): TableStats(
            {"insert": 1, "update": 0, "delete": 0}, ("cc",), 1, USERS, (notice,)
        ),
    }
    plain = Segment(
        pipeline=PIPELINE, number=number, start=position(100 * (number - 1)),
        end=position(100 * number), window=WINDOW, file=f"segments/{number}.seg", size_bytes=10,
        rows=3, transactions=2, tables=stats, first_ts_us=5, last_ts_us=6, checksum="crc32:0",
        capture_filter="shop.*", committed_us=0, run_id="run 1", token=lease.token,
    )  # fmt: skip
    return replace(plain, **changes)  # type: ignore[arg-type]


def dirty_row(seq: int, key: str = '{"id":1}', /, **changes: object) -> DirtyRow:
    plain = DirtyRow(
        None, PIPELINE, "apply", ORDERS, "lake.orders", seq, RowKind.INSERT, key, "binlog.1:4",
        "price", "ConversionError", "too large", b"image", b"raw", 7,
    )  # fmt: skip
    return replace(plain, **changes)  # type: ignore[arg-type]


class StoreCase:
    """Opened stores; a subclass gives the `url` of an empty database."""

    @pytest.fixture
    def db(self, url: str) -> Iterator[StateDatabase]:
        db = StateDatabase(url)
        yield db
        db.close()

    @pytest.fixture
    def leases(self, db: StateDatabase) -> LeaseStore:
        return LeaseStore(db)

    @pytest.fixture
    def lease(self, leases: LeaseStore) -> Lease:
        return leases.acquire("capture", "a run")

    @pytest.fixture
    def segments(self, db: StateDatabase) -> SegmentStore:
        store = SegmentStore(db, PIPELINE)
        store.ensure_origin(position(0))
        return store
