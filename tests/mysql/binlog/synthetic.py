"""A binary log made up byte by byte, with what reading it must give.

For what no server does on demand: sources that take turns, transaction ids with holes, hours that
change back, bytes cut anywhere.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from uuid import UUID

import zstandard

from resources.model.change import RowKind
from resources.mysql.binlog.events import EventType
from resources.mysql.binlog.gtid import Flavor, Gtid, GtidSet

FILE = "binlog.000007"
_SERVER_ID = 5
_EVENTS = {
    RowKind.INSERT: EventType.WRITE_ROWS,
    RowKind.UPDATE_AFTER: EventType.UPDATE_ROWS,
    RowKind.DELETE: EventType.DELETE_ROWS,
}

Image = tuple[int, str | None]
"""A row: `id INT PRIMARY KEY`, `v VARCHAR(60)`."""


@dataclass(frozen=True)
class RowEvent:
    """Row changes of one table in one event.

    Args:
        table: Which of the tables.
        kind: INSERT, UPDATE_AFTER or DELETE.
        rows: Before and after image of each row; the one that is not there is not looked at.
    """

    table: int
    kind: RowKind
    rows: tuple[tuple[Image, Image], ...]


@dataclass(frozen=True)
class Transaction:
    """A transaction.

    Args:
        gtid: Its id.
        commit_us: Its commit time.
        events: Its row events.
        compressed: Whether it is one TRANSACTION_PAYLOAD (MySQL).
    """

    gtid: Gtid
    commit_us: int
    events: tuple[RowEvent, ...]
    compressed: bool = False


@dataclass(frozen=True)
class Change:
    """A row that reading must give: table, kind, values, commit time."""

    table: str
    kind: RowKind
    image: Image
    commit_us: int


@dataclass
class SyntheticLog:
    """A log file from its first transaction on.

    Args:
        flavor: Whose log it is.
        checksums: Whether its events end in a CRC32.
        start: Offset of its first event.

    Attributes:
        events: Its events.
        changes: What reading it gives.
        boundaries: By offset of each boundary, the transactions and changes before it.
        gtids: The set at each boundary.
    """

    flavor: Flavor
    checksums: bool = True
    start: int = 4
    events: list[bytes] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    boundaries: dict[int, tuple[int, int]] = field(default_factory=dict)
    gtids: dict[int, GtidSet] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.at = self.start
        self._set = GtidSet(self.flavor)
        self._number = 90

    def set_up(self, before: GtidSet) -> None:
        """Begin after a set of transactions."""
        self._set = before
        self.boundaries[self.at] = 0, 0
        self.gtids[self.at] = before

    def write(self, transaction: Transaction) -> None:
        """Append a transaction."""
        us, gtid = transaction.commit_us, transaction.gtid
        seconds = us // 1_000_000
        self._number += 1  # as if every table were opened anew
        parts = [(EventType.QUERY, _begin())] if self.flavor == "mysql" else []
        for event in transaction.events:
            body = _row_body(event, self._number * 10 + event.table)
            parts.append(
                (EventType.TABLE_MAP, table_map(self._number * 10 + event.table, event.table))
            )
            parts.append((_EVENTS[event.kind], body))
            self.changes += _changes(event, us)
        parts.append((EventType.XID, bytes(8)))
        self._append(*_gtid_event(self.flavor, gtid, us), seconds, gtid.server_id)
        if transaction.compressed:
            inner = b"".join(log_event(kind, body, 0, seconds, False) for kind, body in parts)
            parts = [(EventType.TRANSACTION_PAYLOAD, _payload(inner))]
        for kind, body in parts:
            self._append(kind, body, seconds)
        self._set = self._set.add(gtid)
        self.boundaries[self.at] = len(self.boundaries), len(self.changes)
        self.gtids[self.at] = self._set

    def _append(self, kind: int, body: bytes, seconds: int, server_id: int = _SERVER_ID) -> None:
        size = 19 + len(body) + 4 * self.checksums
        self.at += size
        self.events.append(
            log_event(kind, body, self.at & 0xFFFFFFFF, seconds, self.checksums, server_id)
        )

    def after(self, offset: int) -> list[bytes]:
        """Return the events from an offset on."""
        at, out = self.start, []
        for event in self.events:
            if at >= offset:
                out.append(event)
            at += len(event)
        return out


def packets(events: list[bytes]) -> bytes:
    """Return events as a server sends them."""
    return b"".join(
        (len(event) + 1).to_bytes(3, "little") + bytes([number & 0xFF, 0]) + event
        for number, event in enumerate(events, 1)
    )


def table_map(number: int, table: int) -> bytes:
    """Return a TABLE_MAP's body with full metadata."""
    name = f"t{table}".encode()
    names = b"\x02id\x01v"
    return b"".join(
        (
            number.to_bytes(6, "little"),
            bytes(2),
            b"\x01d\0" + bytes([len(name)]) + name + b"\0",
            b"\x02\x03\x0f",  # INT, VARCHAR
            b"\x02" + (240).to_bytes(2, "little"),
            b"\x02",  # the second may be NULL
            b"\x01\x01\x00",  # signs
            b"\x02\x01\x2d",  # character set
            b"\x04" + bytes([len(names)]) + names,
            b"\x08\x01\x00",  # primary key
        )
    )


def log_event(
    kind: int, body: bytes, log_pos: int, seconds: int, checksum: bool, server_id: int = _SERVER_ID
) -> bytes:
    size = 19 + len(body) + 4 * checksum
    data = struct.pack("<IBIIIH", seconds, kind, server_id, size, log_pos, 0) + body
    return data + zlib.crc32(data).to_bytes(4, "little") if checksum else data


def _gtid_event(flavor: Flavor, gtid: Gtid, us: int) -> tuple[int, bytes]:
    if flavor == "mariadb":
        body = gtid.number.to_bytes(8, "little") + int(gtid.source).to_bytes(4, "little")
        return EventType.MARIADB_GTID, body + bytes(6)
    body = b"\0" + UUID(gtid.source).bytes + gtid.number.to_bytes(8, "little") + bytes(17)
    return EventType.GTID, body + us.to_bytes(7, "little")


def _begin() -> bytes:
    return bytes(8) + b"\x01" + bytes(2) + (2).to_bytes(2, "little") + b"\x80\0" + b"d\0BEGIN"


def _payload(inner: bytes) -> bytes:
    data = zstandard.ZstdCompressor().compress(inner)
    sizes = [(1, len(data)), (2, 0), (3, len(inner))]
    fields = b"".join(bytes([kind, 9, 0xFE]) + n.to_bytes(8, "little") for kind, n in sizes)
    return fields + b"\0" + data


def _row_body(event: RowEvent, number: int) -> bytes:
    update = event.kind is RowKind.UPDATE_AFTER
    head = number.to_bytes(6, "little") + b"\x01\0" + b"\x02\0" + b"\x02" + b"\x03" * (1 + update)
    images = []
    for before, after in event.rows:
        if event.kind is not RowKind.INSERT:
            images.append(_image(before))
        if event.kind is not RowKind.DELETE:
            images.append(_image(after))
    return head + b"".join(images)


def _image(image: Image) -> bytes:
    key, text = image
    if text is None:
        return b"\x02" + struct.pack("<i", key)
    data = text.encode()
    return b"\0" + struct.pack("<i", key) + bytes([len(data)]) + data


def _changes(event: RowEvent, us: int) -> list[Change]:
    out, table = [], f"t{event.table}"
    for before, after in event.rows:
        if event.kind is RowKind.UPDATE_AFTER and before[0] != after[0]:
            out.append(Change(table, RowKind.UPDATE_BEFORE, before, us))
        image = before if event.kind is RowKind.DELETE else after
        out.append(Change(table, event.kind, image, us))
    return out
