"""Compaction and retention keep what they promise to keep."""

from __future__ import annotations

import pyarrow.parquet as pq
import pytest

from resources.errors import ContinuityBroken
from resources.model.change import (
    first_seq,
    last_seq,
)
from resources.model.table import TableId
from resources.stores.change_log import ChangeLog
from resources.stores.leases import Lease
from tests.stores.place import Place
from tests.stores.samples import (
    LATER,
    ORDERS,
    PIPELINE,
    USERS,
    WINDOW,
    add_segment,
    schema_of,
    seqs_of,
)

EMPTY = TableId("shop", "empty")


def test_a_compacted_window_is_plain_parquet(place: Place, lease: Lease) -> None:
    for window in (WINDOW, WINDOW, LATER):
        add_segment(place.log, lease, {ORDERS: 4, EMPTY: 0}, window)
    (name,) = place.log.compact(WINDOW)
    fingerprint = schema_of(ORDERS).fingerprint()
    assert name == f"parquet/shop.orders/2026-01-01-0500-{fingerprint}.parquet"
    read = pq.read_table(place.folder / "log" / name)
    base = [first_seq(1) + n for n in range(4)] + [first_seq(2) + n for n in range(4)]
    assert read.column("_cdc_seq").to_pylist() == base
    assert read.column("name").to_pylist() == [f"name-{seq}" for seq in base]
    meta = {k.decode(): v.decode() for k, v in read.schema.metadata.items()}
    assert meta["cdc.table"] == "shop.orders"
    assert meta["cdc.fingerprint"] == fingerprint
    assert meta["cdc.segments"] == "1-2"
    assert '"offset": 200' in meta["cdc.end"]


def test_rows_late_for_a_compacted_window_make_a_further_part(place: Place, lease: Lease) -> None:
    for window in (WINDOW, LATER, WINDOW):
        add_segment(place.log, lease, {ORDERS: 3}, window)
        place.log.compact(WINDOW)
    add_segment(place.log, lease, {ORDERS: 3}, WINDOW)
    before = seqs_of(place.log, ORDERS)
    assert len(place.log.compact(WINDOW)) == 3
    place.log.purge(LATER)
    assert seqs_of(place.log, ORDERS) == before
    assert place.log.check(full=True) == []


def test_what_was_not_compacted_survives_a_purge(place: Place, lease: Lease) -> None:
    add_segment(place.log, lease, {ORDERS: 3})
    add_segment(place.log, lease, {ORDERS: 3}, LATER)
    assert place.log.purge("9") == []
    place.log.compact(WINDOW)
    assert len(place.log.purge("9")) == 1
    assert len(seqs_of(place.log, ORDERS)) == 6


def test_a_reader_goes_on_when_its_file_is_dropped_under_it(place: Place, lease: Lease) -> None:
    for _ in range(2):
        add_segment(place.log, lease, {ORDERS: 30})
    expected = seqs_of(place.log, ORDERS)
    fresh = ChangeLog(place.db, PIPELINE, place.location)
    reading = fresh.read(ORDERS, 0)
    seen = next(reading).rows.column("_cdc_seq").to_pylist()
    place.log.compact(WINDOW)
    place.log.purge("9")
    for part in reading:
        seen += part.rows.column("_cdc_seq").to_pylist()
    assert seen == expected


def test_retention_removes_windows_and_tells_who_is_too_late(place: Place, lease: Lease) -> None:
    add_segment(place.log, lease, {ORDERS: 3, USERS: 1}, "2026-01-01")
    add_segment(place.log, lease, {ORDERS: 3}, "2026-01-02")
    add_segment(place.log, lease, {USERS: 3}, "2026-01-03")
    place.log.compact("2026-01-01")
    place.log.purge("2026-01-02")
    assert len(place.log.purge("2026-01-03", keep_parquet=False)) == 3
    assert len(place.files()) == 1
    assert place.log.check(full=True) == []
    with pytest.raises(ContinuityBroken, match=r"segment 2 were removed .* is at segment 1"):
        seqs_of(place.log, ORDERS, last_seq(1))
    with pytest.raises(ContinuityBroken, match=r"snapshot shop\.users again"):
        place.log.notices(USERS, 0)
    assert len(seqs_of(place.log, USERS, last_seq(1))) == 3, "it had nothing in segment 2"
    assert seqs_of(place.log, ORDERS, last_seq(2)) == []
    assert seqs_of(place.log, EMPTY, 0) == []
    assert place.log.purge("9", keep_parquet=False) == [], "the last segment stays"
    assert add_segment(place.log, lease, {ORDERS: 1}).number == 4
