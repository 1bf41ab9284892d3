"""Transactions that a log begins and does not end: no row of them is taken for a committed one."""

from __future__ import annotations

import struct

import pytest
import zstandard

from resources.errors import CorruptEvent, PositionPurged
from resources.model.change import LogSlice, RowKind
from resources.model.position import BinlogPosition, PreparedTransaction
from resources.mysql.binlog.array_pool import ArrayPool
from resources.mysql.binlog.cursor import Truncated
from resources.mysql.binlog.decoder import LogDecoder
from resources.mysql.binlog.events import Event, EventFraming, EventType
from resources.mysql.binlog.gatherer import Piece
from resources.mysql.binlog.gtid import Flavor, Gtid, GtidSet
from resources.mysql.binlog.options import StreamOptions
from resources.mysql.binlog.payload import Payload
from resources.mysql.binlog.window import Window
from tests.mysql.binlog.log import gathered
from tests.mysql.binlog.synthetic import (
    FILE,
    RowEvent,
    SyntheticLog,
    Transaction,
    log_event,
    packets,
)
from tests.mysql.binlog.test_walk import EPOCH_US, HERE, SOURCES, changes_of, decoder_of, feed

CREATED = 1_700_000_000
NEXT_FILE = "binlog.000008"
XID = "X'61',X'',1"


def inserts(*keys: int) -> RowEvent:
    return RowEvent(0, RowKind.INSERT, tuple(((key, "x"), (key, "x")) for key in keys))


def of(flavor: Flavor, *events: tuple[int, tuple[int, ...]]) -> SyntheticLog:
    """A log of transactions, each its number and the keys it inserts."""
    log = SyntheticLog(flavor)
    known, source = ("0-1-3", "0") if flavor == "mariadb" else (f"{SOURCES[0]}:1-3", SOURCES[0])
    log.set_up(GtidSet.parse(known, flavor))
    for number, keys in events:
        rows = tuple(inserts(key) for key in keys)
        log.write(Transaction(Gtid(source, number, 1), EPOCH_US, rows))
    return log


def head() -> list[bytes]:
    """What a server that was started again sends where it goes on with the file after the first."""
    rotate = (4).to_bytes(8, "little") + NEXT_FILE.encode()
    description = bytes(52) + struct.pack("<IB", CREATED, 19) + bytes(40) + b"\x01"
    return [
        log_event(EventType.ROTATE, rotate, 0, 0, True),
        log_event(EventType.FORMAT_DESCRIPTION, description, 4 + 19 + 98 + 4, 9, True),
    ]


def torn(flavor: Flavor) -> bytes:
    """Packets: a transaction whole, one without its end, another file, a transaction in it."""
    whole, cut = of(flavor, (4, (1, 2))), of(flavor, (5, (3, 4, 5)))
    after = of(flavor, (5, (6,)))
    return packets([*whole.events, *cut.events[:-1], *head(), *after.events])


@pytest.mark.parametrize("flavor", ["mysql", "mariadb"])
def test_rows_that_a_server_died_over_are_forgotten(flavor: Flavor) -> None:
    """It undid them when it started again; their id may be another transaction's then."""
    decoder = decoder_of(of(flavor), StreamOptions())
    decoder.begin_packets(True, False, lambda _: AssertionError())
    slices = list(gathered([*feed(decoder, torn(flavor), [70]), *decoder.last()]))
    assert [change.image[0] for change in changes_of(slices)] == [1, 2, 6]
    end = slices[-1].end
    assert isinstance(end, BinlogPosition)
    assert end.file == NEXT_FILE
    assert end.gtid_set.endswith("0-1-5" if flavor == "mariadb" else ":1-5")


@pytest.mark.parametrize("flavor", ["mysql", "mariadb"])
@pytest.mark.parametrize("size", [1, 4096])
def test_a_transaction_within_another_is_an_error_that_names_it(flavor: Flavor, size: int) -> None:
    """No server writes that: their rows would come twice if the connection were lost there."""
    decoder = decoder_of(of(flavor), StreamOptions())
    decoder.begin_packets(True, False, lambda _: AssertionError())
    cut, after = of(flavor, (4, (1, 2))), of(flavor, (5, (3,)))
    with pytest.raises(CorruptEvent, match=r"GTID.*before the end of the one") as caught:
        list(feed(decoder, packets([*cut.events[:-1], *after.events]), [size]))
    assert FILE in str(caught.value.where)


def test_rows_it_died_over_after_a_part_was_handed_out_are_an_error() -> None:
    decoder = decoder_of(of("mysql"), StreamOptions(transaction_rows=1))
    decoder.begin_packets(True, False, lambda _: AssertionError())
    boundary = of("mysql", (4, (1, 2))).at
    pieces: list[Piece] = []
    with pytest.raises(CorruptEvent, match="died") as caught:
        pieces.extend(feed(decoder, torn("mysql"), [70]))
    assert caught.value.where == f"{FILE}:{boundary}"
    assert not [p for p in pieces if isinstance(p, LogSlice)][-1].complete


def test_a_prepared_transaction_purged_after_a_part_of_it_came_has_its_table_read_again() -> None:
    """The rest of it is nowhere any longer."""
    prepared = PreparedTransaction(XID, FILE, 4, (("d", "t0"),))
    rows = _prepared_rows(1, 2, 3)

    def reread(_: PreparedTransaction) -> list[Event]:
        if not rows:
            raise PositionPurged("it is gone")
        once, rows[:] = list(rows), []
        return once

    start = BinlogPosition(FILE, 500, "", HERE, (prepared,))
    options = StreamOptions(transaction_rows=2)
    decoder = LogDecoder(start, "mysql", None, lambda _: True, bool, options, reread)
    sql = bytes(13) + b"\0" + f"XA COMMIT {XID}".encode()
    commit = packets([log_event(EventType.QUERY, sql, 600, 1, True)])
    decoder.begin_packets(True, False, lambda _: AssertionError())
    pieces: list[Piece] = []
    with pytest.raises(CorruptEvent, match="without its end"):
        pieces.extend(feed(decoder, commit, [100]))
    decoder.restart()
    decoder.begin_packets(True, False, lambda _: AssertionError())
    pieces += [*feed(decoder, commit, [100]), *decoder.last()]
    slices = list(gathered(pieces))
    assert [change.image[0] for change in changes_of(slices)] == [1, 2]
    notices = [notice for part in slices for notice in part.notices]
    assert [(n.table.table, n.kind, n.rewrites) for n in notices] == [("t0", "xa", True)]


def _prepared_rows(*keys: int) -> list[Event]:
    """A prepared transaction of one row event for each key, cut before its end."""
    log, framing = of("mysql", (4, keys)), EventFraming()
    return [framing.parse(data, FILE) for data in log.events[:-1]]


@pytest.mark.parametrize("frames", [1, 2])
def test_a_compressed_transaction_is_as_long_as_it_announces(frames: int) -> None:
    events = [log_event(2, bytes(50), 0, 1, False) for _ in range(frames)]
    data = b"".join(zstandard.ZstdCompressor().compress(event) for event in events)
    announced = sum(map(len, events)) + 69  # another event of that size
    sizes = [(1, len(data)), (2, 0), (3, announced)]
    fields = b"".join(bytes([kind, 9, 0xFE]) + n.to_bytes(8, "little") for kind, n in sizes)
    payload, window = Payload(fields + b"\0" + data), Window(0, 1 << 10, ArrayPool())
    with pytest.raises(Truncated, match="smaller"):
        while payload.read(window, 100):
            window.begin = window.end = 0
