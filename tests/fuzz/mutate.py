"""Damage that knows the format: events cut, swapped and spoilt, then made to look whole again.

In: recorded bytes, a seeded generator. Out: bytes that mostly get past framing and checksums, so
that what lies behind has to see the damage.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from random import Random

import zstandard

from resources.mysql.binlog.events import EventType
from tests.fuzz.corpus import CHECKSUM, HEADER, RecordedLog, split_events, with_checksums

_ZSTD = b"\x28\xb5\x2f\xfd"
_BYTES = (0, 1, 2, 0x7F, 0x80, 0xFA, 0xFB, 0xFC, 0xFD, 0xFE, 0xFF)
_NUMBERS = (
    0,
    1,
    255,
    256,
    65_535,
    65_536,
    2**24 - 1,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**63,
    2**64 - 1,
)
_BEGINNINGS = frozenset({EventType.GTID, EventType.GTID_TAGGED, EventType.MARIADB_GTID})
_ROWS = frozenset({*range(23, 26), *range(30, 33), EventType.PARTIAL_UPDATE_ROWS, *range(166, 172)})
_COMPRESSED_ROWS = frozenset(range(166, 172))
_FAVOURED = _ROWS | {EventType.TABLE_MAP, EventType.TRANSACTION_PAYLOAD}


def spoil(rng: Random, data: bytes) -> bytes:
    """Return some bytes with one piece of damage."""
    return rng.choice(_DAMAGES)(rng, bytearray(data)) if data else rng.randbytes(rng.randint(0, 9))


def _flip(rng: Random, data: bytearray) -> bytes:
    for _ in range(rng.randint(1, 4)):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def _set_byte(rng: Random, data: bytearray) -> bytes:
    for _ in range(rng.randint(1, 3)):
        data[rng.randrange(len(data))] = rng.choice(_BYTES)
    return bytes(data)


def _set_number(rng: Random, data: bytearray) -> bytes:
    width = rng.choice((2, 3, 4, 6, 8))
    at = rng.randrange(len(data))
    number = rng.choice((*_NUMBERS, len(data), len(data) - at, len(data) - at - width))
    order = rng.choice(("little", "little", "big"))
    word = (number % (1 << 8 * width)).to_bytes(width, order)  # type: ignore[arg-type]
    data[at : at + width] = word[: len(data) - at]
    return bytes(data)


def _cut(rng: Random, data: bytearray) -> bytes:
    return bytes(data[: rng.randrange(len(data))])


def _remove(rng: Random, data: bytearray) -> bytes:
    at = rng.randrange(len(data))
    del data[at : at + rng.choice((1, 1, 2, 4, 16, 64))]
    return bytes(data)


def _insert(rng: Random, data: bytearray) -> bytes:
    at = rng.randrange(len(data) + 1)
    size = rng.choice((1, 1, 2, 4, 16, 300))
    data[at:at] = rng.randbytes(size) if rng.random() < 0.5 else bytes([rng.choice(_BYTES)]) * size
    return bytes(data)


def _repeat(rng: Random, data: bytearray) -> bytes:
    at = rng.randrange(len(data))
    piece = data[at : at + rng.choice((1, 4, 16, 64, 1000))]
    to = rng.randrange(len(data) + 1)
    data[to:to] = piece * rng.choice((1, 1, 2, 20))
    return bytes(data)


_DAMAGES: tuple[Callable[[Random, bytearray], bytes], ...] = (
    *(_flip, _flip, _set_byte, _set_byte, _set_number, _set_number),
    *(_cut, _remove, _insert, _repeat),
)


def mutated_log(rng: Random, log: RecordedLog, others: Sequence[RecordedLog]) -> list[bytes]:
    """Return the events of a log, or of a part of it, damaged."""
    events = _part(rng, list(log.events))
    for _ in range(rng.choice((1, 1, 1, 2, 3, 5))):
        _damage(rng, events, others)
    return made_whole(events, rng.random() < 0.8) if rng.random() < 0.95 else events


def _part(rng: Random, events: list[bytes]) -> list[bytes]:
    """Mostly the head of the file and a few transactions."""
    if rng.random() < 0.2:
        return events
    begins = [i for i, event in enumerate(events) if event[4] in _BEGINNINGS]
    if not begins:
        return events
    first = rng.randrange(len(begins))
    last = first + rng.randint(1, 3)
    stop = begins[last] if last < len(begins) else len(events)
    return [*events[: rng.choice((1, begins[0]))], *events[begins[first] : stop]]


def _damage(rng: Random, events: list[bytes], others: Sequence[RecordedLog]) -> None:
    index = _pick(rng, events)
    event = events[index]
    kind = rng.random()
    if kind < 0.70:
        events[index] = event[:HEADER] + _spoil_body(rng, event)
    elif kind < 0.76:
        events[index] = spoil(rng, event[:HEADER]) + event[HEADER:]
    elif kind < 0.82:
        number = rng.choice((*EventType, rng.randrange(256)))
        events[index] = event[:4] + bytes([number]) + event[5:]
    elif kind < 0.86:
        events.insert(rng.randrange(1, len(events) + 1), event)
    elif kind < 0.90 and len(events) > 2:
        del events[index]
    elif kind < 0.94:
        other = rng.randrange(len(events))
        events[index], events[other] = events[other], events[index]
    else:
        foreign = rng.choice(rng.choice(others).events)
        events.insert(rng.randrange(1, len(events) + 1), foreign)


def _pick(rng: Random, events: list[bytes]) -> int:
    favoured = [i for i, e in enumerate(events) if len(e) >= HEADER and e[4] in _FAVOURED]
    if favoured and rng.random() < 0.8:
        return rng.choice(favoured)
    return rng.randrange(len(events))


def _spoil_body(rng: Random, event: bytes) -> bytes:
    """Spoil a body; one that is compressed mostly inside, so that the damage is not found there."""
    number, body = event[4], event[HEADER:]
    try:
        if number == EventType.TRANSACTION_PAYLOAD and rng.random() < 0.8:
            return _spoil_payload(rng, body)
        if number in _COMPRESSED_ROWS and rng.random() < 0.8:
            return _spoil_compressed(rng, body)
    except (ValueError, StopIteration, zlib.error, zstandard.ZstdError):  # spoilt before
        pass
    return spoil(rng, body)


def _spoil_payload(rng: Random, body: bytes) -> bytes:
    """Inside a TRANSACTION_PAYLOAD one of the events is spoilt, and all compressed again."""
    begin = body.index(_ZSTD)
    plain = zstandard.ZstdDecompressor().decompressobj().decompress(body[begin:-CHECKSUM])
    inner = list(split_events(plain, 0))
    index = _pick(rng, inner)
    inner[index] = _sized(inner[index][:HEADER] + spoil(rng, inner[index][HEADER:]))
    plain = b"".join(inner)
    packed = zstandard.ZstdCompressor(write_content_size=rng.random() < 0.5).compress(plain)
    announced = max(len(plain) + rng.choice((0, 0, 0, -1, 1, 1 << 30)), 0)
    fields = ((1, len(packed)), (2, 0), (3, announced))
    head = b"".join(bytes([kind, 9, 0xFE]) + n.to_bytes(8, "little") for kind, n in fields)
    return head + b"\0" + packed + body[-CHECKSUM:]


def _spoil_compressed(rng: Random, body: bytes) -> bytes:
    """Rows that MariaDB compressed are spoilt behind the event's head, and compressed again."""
    at = next(i for i in range(8, len(body) - 6) if _deflated_at(body, i))
    plain = zlib.decompress(body[at + 1 + (body[at] & 7) : -CHECKSUM])
    plain = spoil(rng, plain)
    size = len(plain).to_bytes(4, "big")
    return body[:at] + b"\x84" + size + zlib.compress(plain) + body[-CHECKSUM:]


def _deflated_at(body: bytes, at: int) -> bool:
    return body[at] & 0xF8 == 0x80 and body[at + 1 + (body[at] & 7)] == 0x78


def _sized(event: bytes) -> bytes:
    return event[:9] + len(event).to_bytes(4, "little") + event[13:]


def made_whole(events: Sequence[bytes], places: bool = True) -> list[bytes]:
    """Make sizes and checksums true again, and places in the file if these are to be."""
    checksums = len(events[0]) > HEADER and with_checksums(events[0])
    at, out = 4, []
    for event in events:
        event = _sized(event.ljust(HEADER, b"\0"))
        at += len(event)
        if places:
            event = event[:13] + at.to_bytes(4, "little") + event[17:]
        if checksums and len(event) >= HEADER + CHECKSUM:
            body = event[:-CHECKSUM]
            event = body + zlib.crc32(body).to_bytes(4, "little")
        out.append(event)
    return out
