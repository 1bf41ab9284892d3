"""Rivals, damage and kills leave a whole log, or are named."""

from __future__ import annotations

import time

import pytest

from resources.errors import ContinuityBroken, CorruptEvent, FencedOut
from resources.failpoints import FailpointReached
from resources.model.change import (
    first_seq,
    last_seq,
)
from resources.stores.leases import Lease
from tests.armed import armed
from tests.stores.children import start
from tests.stores.place import Place, only_file
from tests.stores.samples import (
    LATER,
    ORDERS,
    USERS,
    WINDOW,
    add_segment,
    batch,
    position,
    schema_of,
    seqs_of,
)


def test_a_fenced_out_writer_removes_its_file(place: Place) -> None:
    old = place.lease()
    writer = place.log.begin_segment(old, "old run", "*")
    writer.write(batch(schema_of(ORDERS), [first_seq(1)]))
    time.sleep(0.05)
    new = place.leases.acquire("capture", "new run")
    add_segment(place.log, new, {ORDERS: 3})
    with pytest.raises(FencedOut, match="new run took it over"):
        writer.commit(position(50), WINDOW, 1, 0, 0)
    assert len(place.files()) == 1
    assert len(seqs_of(place.log, ORDERS)) == 3
    assert place.log.check(full=True) == []


def test_the_slower_of_two_writers_of_one_lease_is_refused(place: Place, lease: Lease) -> None:
    writers = [place.log.begin_segment(lease, f"run {n}", "*") for n in (1, 2)]
    for writer in writers:
        writer.write(batch(schema_of(ORDERS), [first_seq(1)]))
    writers[0].commit(position(50), WINDOW, 1, 0, 0)
    with pytest.raises(ContinuityBroken, match="does not continue"):
        writers[1].commit(position(60), WINDOW, 1, 0, 0)
    assert len(place.files()) == 1


def test_a_deleted_file_names_exactly_its_range(place: Place, lease: Lease) -> None:
    made = [add_segment(place.log, lease, {ORDERS: 3, USERS: 1}) for _ in range(3)]
    lost = place.folder / "log" / made[1].file
    lost.unlink()
    span = "segment 2 of shop (binlog.000001:100 to binlog.000001:200)"
    assert place.log.check() == [f"{span}: its file {lost} is missing"]
    assert seqs_of(place.log, ORDERS, 0, last_seq(1)) == [first_seq(1) + n for n in range(3)]
    with pytest.raises(ContinuityBroken, match="segment 2 of shop") as caught:
        seqs_of(place.log, ORDERS)
    assert caught.value.where == str(lost)
    with pytest.raises(ContinuityBroken):
        place.log.compact(WINDOW)
    assert not any(name.startswith("parquet") for name in place.files())


def test_a_damaged_byte_is_found_by_the_full_check(place: Place, lease: Lease) -> None:
    segment = add_segment(place.log, lease, {ORDERS: 30})
    file = only_file(place)
    torn = bytearray(file.read_bytes())
    torn[100] ^= 1
    file.write_bytes(torn)
    assert place.log.check() == []
    (finding,) = place.log.check(full=True)
    assert finding.startswith(f"{segment}: the segment file is damaged")
    assert f"{file} at byte 8" in finding
    with pytest.raises(CorruptEvent):
        seqs_of(place.log, ORDERS)
    file.write_bytes(torn[:-1])
    assert "bytes instead of" in place.log.check()[0]


def test_a_lost_or_torn_parquet_file_is_named(place: Place, lease: Lease) -> None:
    add_segment(place.log, lease, {ORDERS: 30})
    place.log.compact(WINDOW)
    place.log.purge("9")
    file = only_file(place, "parquet/*/*")
    whole = file.read_bytes()
    file.write_bytes(whole[:50] + bytes([whole[50] ^ 1]) + whole[51:])
    assert place.log.check() == []
    assert "does not match its checksum" in place.log.check(full=True)[0]
    file.unlink()
    assert place.log.check() == [
        f"window {WINDOW}, 30 rows of shop.orders: its file {file} is missing"
    ]
    with pytest.raises(ContinuityBroken, match="compacted changes of shop"):
        seqs_of(place.log, ORDERS)


@pytest.mark.parametrize(
    ("point", "segments", "leftover"),
    [("segment.after_write", 1, 1), ("segment.after_rename", 1, 1), ("segment.after_commit", 2, 0)],
)
@pytest.mark.parametrize("kill", [True, False])
def test_a_writer_killed_anywhere_leaves_a_whole_log(
    place: Place, point: str, segments: int, leftover: int, kill: bool
) -> None:
    failpoint = f"{point}:{'sleep' if kill else 'exit'}:2"
    process = start("write_segments", place.url, place.location, 3, failpoint=failpoint)
    if kill:  # a real kill -9 while the process sleeps at that point
        deadline = time.monotonic() + 30
        while len(place.files()) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(0.2)
        process.kill()
    process.join(30)
    assert process.exitcode == (-9 if kill else 137)
    assert len(place.log.segments.list_segments()) == segments
    assert place.log.check(full=True) == []
    assert len(seqs_of(place.log, ORDERS)) == 10 * segments
    time.sleep(0.02)
    add_segment(place.log, place.lease(), {ORDERS: 1})
    assert place.log.check(full=True) == []
    assert place.log.sweep_orphans(3600) == []
    assert len(place.log.sweep_orphans(-60)) == leftover
    assert place.log.check(full=True) == []


@pytest.mark.parametrize(
    "point",
    [
        "compact.after_write",
        "compact.after_rename",
        "compact.after_rename:exit:2",
        "compact.after_commit",
        "purge.after_commit",
    ],
)
def test_a_killed_compaction_is_repeated(place: Place, point: str) -> None:
    lease = place.lease()
    for _ in range(3):
        add_segment(place.log, lease, {ORDERS: 5, USERS: 2})
    add_segment(place.log, lease, {ORDERS: 5}, LATER)
    before = seqs_of(place.log, ORDERS), seqs_of(place.log, USERS)
    failpoint = point if ":exit" in point else f"{point}:exit"
    process = start("compact", place.url, place.location, WINDOW, LATER, failpoint=failpoint)
    process.join(30)
    assert process.exitcode == 137
    assert (seqs_of(place.log, ORDERS), seqs_of(place.log, USERS)) == before
    assert place.log.check(full=True) == []
    made = place.log.compact(WINDOW)
    assert len(made) == 2
    place.log.purge(LATER)
    place.log.sweep_orphans(-60)
    assert [f for f in place.files() if f.startswith("parquet")] == sorted(made)
    assert len(place.files()) == 3
    assert (seqs_of(place.log, ORDERS), seqs_of(place.log, USERS)) == before
    assert place.log.check(full=True) == []


def test_a_failed_commit_can_be_repeated_by_the_same_run(place: Place, lease: Lease) -> None:
    with armed("segment.after_rename:raise"), pytest.raises(FailpointReached):
        add_segment(place.log, lease, {ORDERS: 2})
    assert place.log.segments.last() is None
    assert add_segment(place.log, lease, {ORDERS: 2}).number == 1
    assert len(place.files()) == 2
    assert len(place.log.sweep_orphans(-60)) == 1
