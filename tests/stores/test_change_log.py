"""What is written to the change log is what is read from it."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pyarrow as pa
import pytest

from resources.errors import ContinuityBroken
from resources.model.change import (
    RowKind,
    TableNotice,
    first_seq,
    last_seq,
)
from resources.model.table import Column, TableId, TableSchema
from resources.stores.leases import Lease
from tests.stores.place import Place, only_file
from tests.stores.samples import (
    ORDERS,
    USERS,
    WINDOW,
    add_segment,
    batch,
    position,
    schema_of,
    seqs_of,
)
from tests.strategies import (
    HOSTILE_NAMES,
)


def test_a_segment_counts_its_rows(place: Place, lease: Lease) -> None:
    writer = place.log.begin_segment(lease, "run 9", "shop.*")
    base = first_seq(1)
    assert (writer.number, writer.rows, writer.bytes) == (1, 0, 0)
    kinds = [RowKind.INSERT, RowKind.UPDATE_BEFORE, RowKind.UPDATE_AFTER, RowKind.DELETE]
    for at, kind in enumerate([*kinds, RowKind.INSERT]):
        writer.write(batch(schema_of(ORDERS), [base + at], kind))
    writer.write(batch(schema_of(ORDERS, "a"), [base + 5]))
    writer.note(TableNotice(USERS, base + 6, "truncate", "TRUNCATE users", "here", True))
    assert (writer.rows, writer.bytes > 0) == (6, True)
    segment = writer.commit(position(100), WINDOW, 4, 11, 12)
    assert segment == place.log.segments.last()
    assert (segment.number, segment.rows, segment.transactions) == (1, 6, 4)
    assert (segment.first_ts_us, segment.last_ts_us, segment.window) == (11, 12, WINDOW)
    assert (segment.run_id, segment.token) == ("run 9", lease.token)
    assert (segment.start, segment.end) == (position(0), position(100))
    assert only_file(place).stat().st_size == segment.size_bytes
    orders, users = segment.tables[str(ORDERS)], segment.tables[str(USERS)]
    assert orders.rows == {"insert": 3, "update": 1, "delete": 1, "update_before": 1}
    assert orders.schemas == (
        schema_of(ORDERS).fingerprint(),
        schema_of(ORDERS, "a").fingerprint(),
    )
    assert (users.total, users.notices) == (0, 1)
    assert place.log.touched(0) == {ORDERS: 6, USERS: 0}
    assert place.log.touched(last_seq(1)) == {}


def test_a_range_between_the_rows_of_a_block_is_empty(place: Place, lease: Lease) -> None:
    writer = place.log.begin_segment(lease, "run", "*")
    base = first_seq(1)
    writer.write(batch(schema_of(ORDERS), [base + 1, base + 9]))
    writer.commit(position(1), WINDOW, 1, 0, 0)
    assert list(place.log.read(ORDERS, base + 1, base + 8)) == []
    assert seqs_of(place.log, ORDERS, base + 1, base + 9) == [base + 9]


def test_notices_come_back_by_range(place: Place, lease: Lease) -> None:
    sent = []
    for number in (1, 2):
        writer = place.log.begin_segment(lease, "run", "*")
        for at in (3, 5):
            seq = first_seq(number) + at
            sent.append(TableNotice(ORDERS, seq, "alter", "ALTER", f"{number}:{at}", at == 5))
            writer.note(sent[-1])
        writer.commit(position(number), WINDOW, 0, 0, 0)
    place.log.compact(WINDOW)
    place.log.purge("9")
    assert place.log.notices(ORDERS, 0) == sent
    assert place.log.notices(ORDERS, sent[0].seq, sent[2].seq) == sent[1:3]
    assert place.log.notices(USERS, 0) == []


def test_rows_of_equal_shape_but_other_words_share_blocks(place: Place, lease: Lease) -> None:
    writer = place.log.begin_segment(lease, "run", "*")
    for at in range(6):
        columns = (Column("id", pa.int64(), f"bigint({at})", comment=str(at)),)
        schema = TableSchema(ORDERS, columns, ("id",))
        writer.write(batch(schema, [first_seq(1) + at]))
    segment = writer.commit(position(1), WINDOW, 1, 0, 0)
    assert len(segment.tables[str(ORDERS)].schemas) == 1
    (part,) = place.log.read(ORDERS, 0)
    assert part.rows.num_rows == 6


@pytest.mark.parametrize("seqs", [[first_seq(1) + 2, first_seq(1) + 1], [5], [first_seq(2)]])
def test_rows_out_of_place_are_refused(place: Place, lease: Lease, seqs: list[int]) -> None:
    writer = place.log.begin_segment(lease, "run", "*")
    with pytest.raises(ContinuityBroken):
        writer.write(batch(schema_of(ORDERS), seqs))
    with pytest.raises(ContinuityBroken):
        writer.note(TableNotice(ORDERS, 5, "alter", "", "", False))
    writer.write(batch(schema_of(ORDERS), [first_seq(1) + 3]))
    with pytest.raises(ContinuityBroken, match="not in log order"):
        writer.write(batch(schema_of(ORDERS), [first_seq(1) + 3]))


def test_an_idle_writer_moves_the_end_alone(place: Place, lease: Lease) -> None:
    add_segment(place.log, lease, {ORDERS: 1})
    for offset in (110, 120):
        writer = place.log.begin_segment(lease, "run 1", "shop.*")
        last = writer.commit(position(offset), "", 0, 0, 0)
    assert (last.number, last.end, last.rows) == (2, position(120), 0)
    assert len(place.files()) == 1
    assert add_segment(place.log, lease, {ORDERS: 1}).number == 3


def test_an_abandoned_segment_leaves_nothing(place: Place, lease: Lease) -> None:
    writer = place.log.begin_segment(lease, "run", "*", block_rows=1)
    writer.write(batch(schema_of(ORDERS), [first_seq(1)]))
    assert len(place.files()) == 1
    writer.abandon()
    writer.abandon()
    assert place.files() == []
    assert place.log.segments.last() is None


def test_buffered_rows_stay_within_their_memory(place: Place, lease: Lease) -> None:
    limit = 50_000
    writer = place.log.begin_segment(lease, "run", "*", memory_bytes=limit)
    seq = first_seq(1)
    for turn in range(300):
        table = TableId("shop", f"t{turn % 40}")
        writer.write(batch(schema_of(table), list(range(seq, seq + 20))))
        seq += 20
        assert writer._buffered <= limit
        held = sum(b.nbytes for buffer in writer._tables.values() for b in buffer.batches)
        assert held == writer._buffered
    writer.commit(position(1), WINDOW, 1, 0, 0)
    assert sum(place.log.touched(0).values()) == 6000
    assert len(seqs_of(place.log, TableId("shop", "t7"))) == 160 - 20 * (300 % 40 <= 7)


def test_an_object_store_serves_as_well(tmp_path: Path) -> None:
    place = Place(tmp_path, "memory://bucket/prefix")
    lease = place.leases.acquire("capture", "a run")
    for _ in range(2):
        add_segment(place.log, lease, {ORDERS: 40, USERS: 3})
    before = seqs_of(place.log, ORDERS)
    assert len(before) == 80
    assert place.log.check(full=True) == []
    place.log.compact(WINDOW)
    assert len(place.log.purge("9")) == 2
    assert seqs_of(place.log, ORDERS) == before
    assert place.log.check(full=True) == []
    fsspec.filesystem("memory").pipe("/bucket/prefix/segments/stray", b"x")
    assert place.log.sweep_orphans(-60) == ["segments/stray"]
    place.db.close()


def test_hostile_table_names_stay_inside_their_folder(place: Place, lease: Lease) -> None:
    names = [TableId(a, b) for a in ("..", "a/b", "é" * 64) for b in (*HOSTILE_NAMES, "..", "/")]
    add_segment(place.log, lease, dict.fromkeys(names, 1))
    made = place.log.compact(WINDOW)
    assert len(set(made)) == len(names)
    place.log.purge("9")
    assert [len(seqs_of(place.log, table)) for table in names] == [1] * len(names)
    assert all(name.count("/") == 2 and ".." not in name.split("/") for name in made)
