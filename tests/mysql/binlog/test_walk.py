"""The walk against a log made up: whatever its bytes, cuts and limits, nothing is lost or moved."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterable, Iterator, Sequence
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.model.change import LogSlice, RowKind
from resources.model.position import BinlogPosition, ServerIdentity
from resources.mysql.binlog import decoder as decoder_room
from resources.mysql.binlog import known_tables
from resources.mysql.binlog.decoder import LogDecoder
from resources.mysql.binlog.gatherer import Piece
from resources.mysql.binlog.gtid import Flavor, Gtid, GtidSet
from resources.mysql.binlog.options import StreamOptions
from resources.mysql.binlog.packets import ConnectionLost
from resources.mysql.kernels.crc32 import crc32
from resources.mysql.kernels.jit import lean_kernel
from tests.mysql.binlog.log import gathered
from tests.mysql.binlog.synthetic import (
    FILE,
    Change,
    Image,
    RowEvent,
    SyntheticLog,
    Transaction,
    packets,
)

HERE = ServerIdentity("mysql", "here")
ELSEWHERE = ServerIdentity("mysql", "elsewhere")
HOUR_US = 3_600_000_000
EPOCH_US = 1_700_000_000_000_000
SOURCES = [str(UUID(int=n << 64 | 0xF000000000000000 + n)) for n in range(3)]

images: st.SearchStrategy[Image] = st.tuples(st.integers(-3, 3), st.none() | st.text(max_size=15))
row_events = st.builds(
    RowEvent,
    st.integers(0, 2),
    st.sampled_from([RowKind.INSERT, RowKind.UPDATE_AFTER, RowKind.DELETE]),
    st.lists(st.tuples(images, images), max_size=6).map(tuple),
)


@st.composite
def logs(draw: st.DrawFn) -> SyntheticLog:
    """A log of a few transactions, its ids with holes that are filled later or never."""
    flavor: Flavor = draw(st.sampled_from(["mysql", "mariadb"]))
    near_4gb = draw(st.booleans())
    log = SyntheticLog(flavor, draw(st.booleans()), (1 << 32) - 900 if near_4gb else 4)
    log.set_up(GtidSet.parse("0-1-3" if flavor == "mariadb" else f"{SOURCES[0]}:1-3", flavor))
    free = {source: list(range(4, 24)) for source in range(3)}
    hour = 0
    for _ in range(draw(st.integers(1, 12))):
        source = draw(st.integers(0, 2))
        number = free[source].pop(draw(st.sampled_from([0, 0, 0, 1, 2])))
        if flavor == "mariadb":
            gtid = Gtid(str(source), number, draw(st.sampled_from([1, 1, 1, 2])))
        else:
            gtid = Gtid(SOURCES[source], number)
        hour = draw(st.sampled_from([hour, hour, hour + 1, max(hour - 1, 0)]))
        events = draw(st.lists(row_events, max_size=4))
        compressed = flavor == "mysql" and draw(st.booleans())
        log.write(Transaction(gtid, EPOCH_US + hour * HOUR_US, tuple(events), compressed))
    return log


@st.composite
def limits(draw: st.DrawFn) -> StreamOptions:
    some = st.sampled_from([1, 3, 10, 1000])
    return StreamOptions(
        slice_rows=draw(some), transaction_rows=draw(some), slice_bytes=draw(some) * 100
    )


def start_of(log: SyntheticLog) -> BinlogPosition:
    return BinlogPosition(FILE, log.start, str(log.gtids[log.start]), HERE)


def decoder_of(
    log: SyntheticLog, options: StreamOptions, until: BinlogPosition | None = None
) -> LogDecoder:
    start = start_of(log)
    return LogDecoder(start, log.flavor, until, lambda _: True, lambda: False, options)


def begin(decoder: LogDecoder, log: SyntheticLog, as_packets: bool, by_gtid: bool = False) -> bytes:
    """The bytes from the decoder's position on, and the decoder ready to take them."""
    events = log.after(decoder.position().offset)
    if as_packets:
        decoder.begin_packets(log.checksums, by_gtid, lambda _: ConnectionLost("no event"))
        return packets(events)
    decoder.begin_events(checksums=log.checksums)
    return b"".join(events)


def read(decoder: LogDecoder, data: bytes, sizes: Iterable[int]) -> list[LogSlice]:
    """All slices of the bytes."""
    return list(gathered([*feed(decoder, data, sizes), *decoder.last()]))


def feed(decoder: LogDecoder, data: bytes, sizes: Iterable[int]) -> Iterator[Piece]:
    """Give bytes in parts of these sizes."""
    at = 0
    for size in itertools.cycle(sizes):
        view = decoder.room()
        piece = data[at : at + min(size, len(view))]
        view[: len(piece)] = piece
        decoder.received(len(piece))
        yield from decoder.pieces()
        at += len(piece)
        if at == len(data) or decoder.done:
            return


def changes_of(slices: Sequence[LogSlice]) -> list[Change]:
    """All rows in counter order, which has no hole."""
    rows = []
    for piece in slices:
        for batch in piece.batches:
            seqs = batch.rows.column("_cdc_seq").to_pylist()
            assert seqs == sorted(seqs)
            rows += [(batch.schema.table.table, row) for row in batch.rows.to_pylist()]
    rows.sort(key=lambda pair: pair[1]["_cdc_seq"])
    assert [row["_cdc_seq"] for _, row in rows] == list(range(len(rows)))
    return [
        Change(
            table,
            RowKind(row["_cdc_op"]),
            (row["id"], row["v"]),
            round(row["_cdc_ts"].timestamp() * 1_000_000),
        )
        for table, row in rows
    ]


def check(log: SyntheticLog, slices: Sequence[LogSlice], options: StreamOptions) -> None:
    """What holds for the slices of any stretch of the log from its start on."""
    rows = transactions = 0
    for piece in slices:
        rows += piece.rows
        transactions += piece.transactions
        before, changes = log.boundaries[piece.end.offset]
        assert before == transactions
        assert changes == rows if piece.complete else changes < rows
        assert piece.end.gtid_set == str(log.gtids[piece.end.offset])
        assert piece.rows == sum(b.rows.num_rows for b in piece.batches)
        if piece.rows:
            assert piece.first_ts_us // HOUR_US == piece.last_ts_us // HOUR_US
    assert changes_of(slices) == log.changes[:rows]


sizes = st.lists(st.integers(1, 600), min_size=1, max_size=8)
slow = settings(max_examples=80)


@pytest.fixture(autouse=True, params=["tight", "roomy"])
def rooms(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Buffers so small that everything breaks off everywhere, and as they are."""
    if request.param == "tight":
        for name, value in {
            "_WINDOW_BYTES": 128,
            "_INNER_BYTES": 64,
            "_LEAST_ROOM": 16,
            "_ROWS": 2,
            "_RUNS": 1,
        }.items():
            monkeypatch.setattr(decoder_room, name, value)
        monkeypatch.setattr(known_tables, "_KEPT", 2)


@slow
@given(log=logs(), options=limits(), sizes=sizes, as_packets=st.booleans())
def test_every_cut_of_the_bytes_gives_the_same_rows(
    log: SyntheticLog, options: StreamOptions, sizes: list[int], as_packets: bool
) -> None:
    decoder = decoder_of(log, options)
    slices = read(decoder, begin(decoder, log, as_packets), sizes)
    check(log, slices, options)
    assert sum(s.rows for s in slices) == len(log.changes)
    assert slices[-1].end.offset == log.at
    assert sum(s.bytes_read for s in slices) == sum(map(len, log.events))


@slow
@given(
    log=logs(),
    options=limits(),
    sizes=sizes,
    as_packets=st.booleans(),
    losses=st.lists(st.integers(0, 3000), max_size=4),
)
def test_a_lost_connection_loses_and_repeats_nothing(
    log: SyntheticLog,
    options: StreamOptions,
    sizes: list[int],
    as_packets: bool,
    losses: list[int],
) -> None:
    decoder = decoder_of(log, options)
    pieces: list[Piece] = []
    for loss in losses:
        pieces += feed(decoder, begin(decoder, log, as_packets)[:loss] or b"\0", sizes)
        decoder.restart()
    if rest := begin(decoder, log, as_packets):
        pieces += feed(decoder, rest, sizes)
    slices = list(gathered([*pieces, *decoder.last()]))
    check(log, slices, options)
    assert sum(s.rows for s in slices) == len(log.changes)


def test_rows_passed_over_leave_their_room_to_others() -> None:
    """An update that changes its key takes the room of two rows, also where it is passed over."""
    log = SyntheticLog("mysql")
    log.set_up(GtidSet.parse(f"{SOURCES[0]}:1-3", "mysql"))
    updates = tuple(((key, None), (key + 1, None)) for key in range(10))
    events = (RowEvent(0, RowKind.UPDATE_AFTER, updates),) * 3
    log.write(Transaction(Gtid(SOURCES[0], 4), EPOCH_US, events))
    options = StreamOptions(transaction_rows=1)
    decoder = decoder_of(log, options)
    pieces = list(feed(decoder, begin(decoder, log, True)[:-40], [100]))
    assert sum(isinstance(piece, LogSlice) for piece in pieces) == 2
    decoder.restart()
    pieces += [*feed(decoder, begin(decoder, log, True), [100]), *decoder.last()]
    slices = list(gathered(pieces))
    check(log, slices, options)
    assert sum(s.rows for s in slices) == len(log.changes) == 60


@pytest.mark.parametrize("compressed", [False, True])
def test_a_transaction_that_ends_exactly_at_four_gigabytes(compressed: bool) -> None:
    """Headers hold the low 32 bits of an offset, which are 0 there."""
    transaction = Transaction(Gtid(SOURCES[0], 4), EPOCH_US, (), compressed)
    measured = SyntheticLog("mysql")
    measured.write(transaction)
    log = SyntheticLog("mysql", start=(1 << 32) - (measured.at - measured.start))
    log.set_up(GtidSet.parse(f"{SOURCES[0]}:1-3", "mysql"))
    log.write(transaction)
    assert log.at == 1 << 32
    decoder = decoder_of(log, StreamOptions())
    check(log, read(decoder, begin(decoder, log, True), [100]), StreamOptions())
    assert decoder.position().offset == 1 << 32


@slow
@given(log=logs(), options=limits(), sizes=sizes, data=st.data())
def test_the_end_asked_for_is_kept_exactly(
    log: SyntheticLog, options: StreamOptions, sizes: list[int], data: st.DataObject
) -> None:
    offset = data.draw(st.sampled_from(sorted(log.boundaries)[1:]))
    by_gtid = data.draw(st.booleans())
    gtids = str(log.gtids[offset])
    until = BinlogPosition(FILE, offset, gtids, ELSEWHERE if by_gtid else HERE)
    decoder = decoder_of(log, options, until)
    slices = list(gathered(feed(decoder, begin(decoder, log, True, by_gtid), sizes)))
    assert decoder.done
    check(log, slices, options)
    end = slices[-1].end
    if by_gtid:  # the first boundary that has them all
        reached = (o for o in log.boundaries if log.gtids[o].contains(log.gtids[offset]))
        assert end.offset == min(reached)
    else:
        assert end.offset == offset


@slow
@given(log=logs(), sizes=sizes, data=st.data())
def test_a_stop_ends_at_the_next_boundary(
    log: SyntheticLog, sizes: list[int], data: st.DataObject
) -> None:
    asked = itertools.count()
    after = data.draw(st.integers(0, 30))
    options = StreamOptions()
    decoder = LogDecoder(
        start_of(log), log.flavor, None, lambda _: True, lambda: next(asked) >= after, options
    )
    slices = list(gathered(feed(decoder, begin(decoder, log, as_packets=True), sizes)))
    check(log, slices, options)
    assert not decoder.done or slices[-1].complete


@given(st.binary(max_size=300), st.integers(0, 20))
def test_checksums_are_those_of_zlib(data: bytes, begin: int) -> None:
    array = np.frombuffer(data, np.uint8)
    begin = min(begin, len(data))
    assert checksum(array, begin, len(data)) == zlib.crc32(data[begin:])


@lean_kernel
def checksum(data: np.ndarray, begin: int, end: int) -> int:
    return crc32(data, begin, end)
