"""Logs given to a decoder: as a connection or as a file, in parts of any size, from any place on.

In: events. Out: what the decoder makes of them.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator, Sequence
from random import Random

from resources.mysql.binlog.decoder import LogDecoder
from resources.mysql.binlog.events import EventType
from resources.mysql.binlog.gatherer import Piece
from resources.mysql.binlog.packets import ConnectionLost
from tests.fuzz.corpus import CHECKSUM, MAGIC
from tests.fuzz.mutate import spoil

FILE = "binlog.000001"
_PART = 0xFFFFFF


def begun(decoder: LogDecoder, events: Sequence[bytes], packets: bool, offset: int) -> bytes:
    """Begin a connection, or a file, from a place on; the bytes that come then."""
    at = len(MAGIC)
    if offset > at:
        head = events[0][:13] + bytes(4) + events[0][17:-CHECKSUM]
        ends = list(itertools.accumulate(map(len, events), initial=at))
        events = [
            head + zlib.crc32(head).to_bytes(CHECKSUM, "little"),
            *events[ends.index(offset) :],
        ]
    if packets:
        decoder.begin_packets(True, False, lambda payload: ConnectionLost("no event"))
        return b"".join(_as_packets(events))
    decoder.begin_events(checksums=True)
    decoder.enter_file(FILE, offset)
    return b"".join(events)


def _as_packets(events: Sequence[bytes]) -> Iterator[bytes]:
    sequence = 1
    for event in events:
        payload = b"\0" + event
        for begin in range(0, len(payload) + 1, _PART):
            part = payload[begin : begin + _PART]
            yield len(part).to_bytes(3, "little") + bytes([sequence & 0xFF]) + part
            sequence += 1


def fed(decoder: LogDecoder, data: bytes, cut: Random) -> Iterator[Piece]:
    """Give bytes in parts of any size."""
    at, whole = 0, cut.random() < 0.5
    while at < len(data) and not decoder.done:
        room = decoder.room()
        size = len(room) if whole else cut.choice((1, 19, 100, 1000, 70_000))
        part = data[at : at + min(size, len(room))]
        room[: len(part)] = part
        decoder.received(len(part))
        at += len(part)
        yield from decoder.pieces()


def in_place(events: Sequence[bytes]) -> bool:
    """Whether each event says where it ends, and all are of one file, so that a place is found.

    A file begins with the one event that is sent before any place (`archive` refuses others).
    """
    ends = itertools.accumulate(map(len, events), initial=len(MAGIC))
    told = [int.from_bytes(event[13:17], "little") for event in events]
    kinds = [event[4] for event in events]
    headed = kinds[:1] == [EventType.FORMAT_DESCRIPTION] and EventType.ROTATE not in kinds
    return headed and told == list(ends)[1:]


def with_spoilt_packet(rng: Random, data: bytes) -> bytes:
    """Spoil the head of a packet."""
    begins, at = [], 0
    while at < len(data):
        begins.append(at)
        at += 4 + int.from_bytes(data[at : at + 3], "little")
    at = rng.choice(begins)
    return data[:at] + spoil(rng, data[at : at + 6]) + data[at + 6 :]
