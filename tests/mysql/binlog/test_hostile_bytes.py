"""Damaged and invented bytes: a typed error or a value, soon, whatever they are."""

from __future__ import annotations

import contextlib
import zlib
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resources.errors import CorruptEvent, UnsupportedEvent
from resources.model.position import BinlogPosition, ServerIdentity
from resources.model.table import TableId
from resources.mysql.binlog.decoder import LogDecoder
from resources.mysql.binlog.dump import DumpConnection
from resources.mysql.binlog.events import HEADER_SIZE, EventFraming, EventType
from resources.mysql.binlog.gatherer import Piece
from resources.mysql.binlog.json_value import BadJson, json_text
from resources.mysql.binlog.log_reader import LogReader
from resources.mysql.binlog.options import StreamOptions
from resources.mysql.binlog.packets import ConnectionLost
from resources.mysql.binlog.slices import SliceBuilder
from tests.mysql.binlog.log import Log, gathered

START = BinlogPosition("binlog.000001", 4, "", ServerIdentity("mysql", "x"))
STATEMENTS = [
    "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(20), d DECIMAL(20,5), e ENUM('a','b'), "
    "dt DATETIME(6), tm TIME(3), s SET('x','y'), b BIT(10), tx TEXT, g GEOMETRY, j JSON)",
    "INSERT INTO t VALUES (1, 'é', 1.5, 'a', '2021-02-03 04:05:06.7', '-01:02:03.4', 'x,y', 5, "
    '\'text\', POINT(1, 2), \'{"a": [1, 2.5, "x", null, {"b": -70000}]}\')',
    "UPDATE t SET v = NULL, j = '[true, 12345678901]'",
    "UPDATE t SET id = 2",
    "DELETE FROM t",
]


ROWS = 6


@pytest.fixture
def events(log: Log) -> list[bytes]:
    """Raw events of a few changes, the last in a compressed transaction where there is one."""
    compress = ["SET SESSION binlog_transaction_compression = ON"] * (log.flavor == "mysql")
    start = log.position(gtid=False)
    log.run(*STATEMENTS, *compress, STATEMENTS[1])
    end = log.position()
    dump = DumpConnection(log.connect, log.flavor, 4243, 5.0)
    out: list[bytes] = []
    try:
        dump.start(start, by_gtid=False)
        while not out or int.from_bytes(out[-1][13:17], "little") != end.offset:
            data = dump.read(10.0)
            assert data is not None
            out.append(data)
    finally:
        dump.close()
    return out


def decode(events: list[bytes], flavor: Any, checksums: bool) -> int:
    """Decode events as they come off a dump connection; the number of rows that came out."""
    decoder = LogDecoder(START, flavor, None, lambda t: True, lambda: False, StreamOptions())
    decoder.begin_packets(checksums, False, lambda payload: ConnectionLost("no event"))
    pieces: list[Piece] = []
    for number, event in enumerate(events, 1):
        packet = (len(event) + 1).to_bytes(3, "little") + bytes([number & 0xFF, 0]) + event
        decoder.room()[: len(packet)] = packet
        decoder.received(len(packet))
        pieces += decoder.pieces()
    return sum(whole.rows for whole in gathered([*pieces, *decoder.last()]))


def without_checksum(data: bytes) -> bytes:
    """The same event as a log with binlog_checksum=NONE has it."""
    if data[4] == EventType.FORMAT_DESCRIPTION:
        return data[:-5] + b"\0" + data[-4:]
    size = (len(data) - 4).to_bytes(4, "little")
    return data[:9] + size + data[13:-4]


@settings(
    deadline=None,
    max_examples=300,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_mutated_events_without_checksums(
    log: Log, events: list[bytes], data: st.DataObject
) -> None:
    """Where no checksum guards the bytes, the decoder itself has to."""
    mutated = [without_checksum(e) for e in events]
    index = data.draw(st.integers(0, len(mutated) - 1))
    event = bytearray(mutated[index])
    for _ in range(data.draw(st.integers(1, 4))):
        event[data.draw(st.integers(0, len(event) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        event = event[: data.draw(st.integers(0, len(event)))]
        if len(event) >= HEADER_SIZE:
            event[9:13] = len(event).to_bytes(4, "little")
    mutated[index] = bytes(event)
    with contextlib.suppress(CorruptEvent, UnsupportedEvent):
        decode(mutated, log.flavor, checksums=False)


def test_the_log_decodes_with_and_without_checksums(log: Log, events: list[bytes]) -> None:
    assert decode(events, log.flavor, checksums=True) == ROWS
    plain = [without_checksum(e) for e in events]
    assert decode(plain, log.flavor, checksums=False) == ROWS


def test_length_facts_no_server_writes(log: Log, events: list[bytes]) -> None:
    """DECIMAL(0,5), DATETIME(9) and their like would build decoders that cannot work."""
    index = next(i for i, e in enumerate(events) if e[4] == EventType.TABLE_MAP)
    event = without_checksum(events[index])
    facts = bytes([20, 5]) + event[event.index(bytes([20, 5])) + 2 :][:3]  # DECIMAL, ENUM, DATETIME
    at = event.index(facts)
    for offset, wrong in ((0, 0), (0, 66), (1, 21), (3, 9), (4, 9)):
        broken = bytearray(event)
        broken[at + offset] = wrong
        plain = [without_checksum(e) for e in events]
        plain[index] = bytes(broken)
        with pytest.raises(CorruptEvent, match="length fact"):
            decode(plain, log.flavor, checksums=False)


def test_checksums_find_every_single_wrong_byte(events: list[bytes]) -> None:
    event = max(events, key=len)
    for at in range(HEADER_SIZE, len(event)):
        wrong = event[:at] + bytes([event[at] ^ 0x40]) + event[at + 1 :]
        with pytest.raises(CorruptEvent, match="CRC32 expected"):
            EventFraming().parse(wrong, "binlog.000001")


@settings(deadline=None, max_examples=500)
@given(st.binary(max_size=60))
def test_random_bytes_as_json(data: bytes) -> None:
    with contextlib.suppress(BadJson):
        assert isinstance(json_text(data), str)


def unknown(number: int, flags: int) -> bytes:
    size = HEADER_SIZE + 4
    head = (1).to_bytes(4, "little") + bytes([number]) + (1).to_bytes(4, "little")
    head += size.to_bytes(4, "little") + (100).to_bytes(4, "little") + flags.to_bytes(2, "little")
    return head + zlib.crc32(head).to_bytes(4, "little")


def test_unknown_events_are_skipped_only_if_they_say_so() -> None:
    reader = LogReader(START, "mysql", lambda t: True, StreamOptions(), SliceBuilder())
    reader.feed(EventFraming().parse(unknown(99, 0x80), "binlog.000001"))
    with pytest.raises(UnsupportedEvent, match="event type 99"):
        reader.feed(EventFraming().parse(unknown(99, 0), "binlog.000001"))


def test_an_encrypted_log_is_refused() -> None:
    reader = LogReader(START, "mariadb", lambda t: True, StreamOptions(), SliceBuilder())
    with pytest.raises(UnsupportedEvent, match="encrypted"):
        reader.feed(EventFraming().parse(unknown(EventType.START_ENCRYPTION, 0), "binlog.000001"))


def test_an_incident_is_told_to_every_table() -> None:
    tables = [TableId("a", "t"), TableId("b", "u"), TableId("b", "unwanted")]
    builder = SliceBuilder()
    options = StreamOptions(tables=lambda: tables)
    reader = LogReader(START, "mysql", lambda t: t.table != "unwanted", options, builder)
    incident = EventFraming().parse(unknown(EventType.INCIDENT, 0), "binlog.000001")
    reader.feed(incident)
    notices = builder.take(reader.position(), complete=True).notices
    assert [(n.table, n.kind, n.rewrites) for n in notices] == [
        (table, "incident", True) for table in tables[:2]
    ]
    nobody = LogReader(START, "mysql", lambda t: True, StreamOptions(), SliceBuilder())
    with pytest.raises(UnsupportedEvent, match="incident"):
        nobody.feed(incident)
