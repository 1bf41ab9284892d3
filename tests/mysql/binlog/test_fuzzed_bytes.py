"""Events that fuzzing found to end in something else than an error of the project."""

from __future__ import annotations

from typing import Any

import pytest

from resources.errors import CorruptEvent
from resources.model.position import BinlogPosition, PreparedTransaction, ServerIdentity
from resources.mysql.binlog.cursor import Cursor
from resources.mysql.binlog.decoder import LogDecoder
from resources.mysql.binlog.events import EventType
from resources.mysql.binlog.gtid import Flavor, GtidSet, decode_list
from resources.mysql.binlog.options import StreamOptions
from tests.mysql.binlog.synthetic import FILE, log_event, table_map

_ENDLESS = b"\xff" * 8
_SOURCE = bytes(range(16))
_KNOWN = {"mysql": "6ccd780c-baba-1026-9564-5b8c656024db:1-4", "mariadb": "0-1-4"}
_BEGINNINGS = (EventType.GTID, EventType.MARIADB_GTID)
_NAMES = b"\x04\x05\x02id\x01v"


def _number(value: int) -> bytes:
    return value.to_bytes(8, "little")


def _set(first: int, end: int) -> bytes:
    """PREVIOUS_GTIDS with one interval."""
    return _number(1) + _SOURCE + _number(1) + _number(first) + _number(end)


def _tagged_set(tag: bytes) -> bytes:
    header = _number(1 << 56 | 1 << 8 | 1)
    return header + _SOURCE + bytes([2 * len(tag)]) + tag + _number(1) + _number(1) + _number(2)


def _columns(count: bytes, types: bytes, names: bytes) -> bytes:
    """TABLE_MAP of the wanted table with columns of these types."""
    nulls = bytes((len(types) + 7) // 8)
    return bytes(8) + b"\x01d\0\x02t0\0" + count + types + b"\0" + nulls + names


_MYSQL_GTID = b"\0" + _SOURCE + _number(5) + bytes(24)
_MARIADB_GTID = _number(5) + bytes(10)
FOUND: dict[str, tuple[Flavor, int, bytes]] = {
    "an id of MySQL's in MariaDB's log": ("mariadb", EventType.GTID, _MYSQL_GTID),
    "an id of MariaDB's in MySQL's log": ("mysql", EventType.MARIADB_GTID, _MARIADB_GTID),
    "an id's number beyond 63 bits": ("mysql", EventType.GTID, b"\0" + _SOURCE + _ENDLESS),
    "the same of MariaDB": ("mariadb", EventType.MARIADB_GTID, _ENDLESS + bytes(10)),
    "a set with such a number": ("mysql", EventType.PREVIOUS_GTIDS, _set(1, 1 << 63)),
    "an interval that ends first": ("mysql", EventType.PREVIOUS_GTIDS, _set(9, 9)),
    "a source without intervals": (
        "mysql",
        EventType.PREVIOUS_GTIDS,
        _number(1) + _SOURCE + _number(0),
    ),
    "a tag that is none": ("mysql", EventType.PREVIOUS_GTIDS, _tagged_set(b"\xe9:")),
    "a list with such a number": (
        "mariadb",
        EventType.GTID_LIST,
        (1).to_bytes(4, "little") + bytes(8) + _ENDLESS,
    ),
    "an offset beyond all files": ("mysql", EventType.ROTATE, _ENDLESS + b"binlog.000008"),
    "columns of one name": (
        "mysql",
        EventType.TABLE_MAP,
        table_map(1, 0).replace(_NAMES, b"\x04\x04\x01v\x01v"),
    ),
    "a column without a name": (
        "mysql",
        EventType.TABLE_MAP,
        table_map(1, 0).replace(_NAMES, b"\x04\x04\x02id\x00"),
    ),
    "a table without columns": ("mysql", EventType.TABLE_MAP, _columns(b"\0", b"", b"\x04\0")),
    "a table of 4097 columns": (
        "mysql",
        EventType.TABLE_MAP,
        _columns(b"\xfc\x01\x10", b"\x03" * 4097, b""),
    ),
}


def _decode(flavor: Flavor, events: list[bytes], start: BinlogPosition, **options: Any) -> None:
    decoder = LogDecoder(
        start, flavor, None, lambda t: True, lambda: False, StreamOptions(), **options
    )
    decoder.begin_events(checksums=False)
    data = b"".join(events)
    decoder.room()[: len(data)] = data
    decoder.received(len(data))
    list(decoder.pieces())


@pytest.mark.parametrize("what", FOUND)
def test_it_is_refused_with_its_place(what: str) -> None:
    flavor, kind, body = FOUND[what]
    # Ids are counted only on from a known set, and a file's head tells it only if none is known.
    gtids = _KNOWN[flavor] if kind in _BEGINNINGS else ""
    start = BinlogPosition(FILE, 4, gtids, ServerIdentity(flavor, "x"))
    with pytest.raises(CorruptEvent) as caught:
        _decode(flavor, [log_event(kind, body, 50, 1, False)], start)
    assert caught.value.where == f"{FILE}:50"
    assert caught.value.message.startswith(EventType(kind).name)


def test_a_server_with_the_number_zero_is_one_of_a_set() -> None:
    """No MariaDB has it, and a position that names it must be one all the same."""
    listed = (1).to_bytes(4, "little") + (7).to_bytes(4, "little") + bytes(4) + _number(5)
    known = decode_list(Cursor(listed))
    assert str(known) == "7-0-5"
    assert GtidSet.parse(str(known), "mariadb") == known


def test_a_prepared_transaction_that_has_no_end_any_longer() -> None:
    """Its place in the log was damaged after it was prepared."""
    xid = "X'61',X'',1"
    prepared = PreparedTransaction(xid, FILE, 4, (("d", "t0"),))
    start = BinlogPosition(FILE, 4, "", ServerIdentity("mysql", "x"), (prepared,))
    sql = f"XA COMMIT {xid}".encode()
    commit = log_event(EventType.QUERY, bytes(13) + b"\0" + sql, 99, 1, False)
    with pytest.raises(CorruptEvent, match=r"XA_PREPARE: .* without its end") as caught:
        _decode("mysql", [commit], start, reread=lambda prepared: [])
    assert caught.value.where == f"{FILE}:99"
