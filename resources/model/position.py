"""Positions in a source's log, with the identity of the server they were taken on.

In: what servers say. Out: immutable values that round-trip through JSON (`position_from_json`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias


@dataclass(frozen=True)
class ServerIdentity:
    """Who a position belongs to; file names and offsets lie across servers.

    Args:
        flavor: `mysql`, `mariadb`, `oceanbase` or `sql`.
        uuid: `server_uuid` (MySQL), `server_id` and GTID domain (MariaDB), else the server's
            own stable word, may be empty.
    """

    flavor: str
    uuid: str


@dataclass(frozen=True)
class PreparedTransaction:
    """An XA transaction that was prepared before a position and is not decided at it.

    Args:
        xid: Its name, as the log's statements write it: `X'…',X'…',1`.
        file: Binlog file it begins in.
        offset: Where it begins.
        tables: Captured tables it has rows of, as (database, table); what has to be read again
            if the log no longer holds it when it is committed.
    """

    xid: str
    file: str
    offset: int
    tables: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class BinlogPosition:
    """A transaction boundary in a binlog.

    Args:
        file: Binlog file name.
        offset: Byte offset after the last event of the transaction.
        gtid_set: Executed set up to here in the server's dialect, empty if GTIDs are off.
        identity: The server.
        prepared: XA transactions between their PREPARE, which lies before this position, and
            their COMMIT or ROLLBACK, which comes after it.
    """

    file: str
    offset: int
    gtid_set: str
    identity: ServerIdentity
    prepared: tuple[PreparedTransaction, ...] = ()

    def __str__(self) -> str:
        """Return `file:offset`, the form for logs and metadata."""
        return f"{self.file}:{self.offset}"

    def reached(self, other: BinlogPosition) -> bool:
        """Return whether this position is at or past `other` by file order on one server.

        Files of different servers have no order: never reached.
        """
        return self.identity == other.identity and (_file_number(self.file), self.offset) >= (
            _file_number(other.file),
            other.offset,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "type": "binlog",
            "file": self.file,
            "offset": self.offset,
            "gtid_set": self.gtid_set,
            "flavor": self.identity.flavor,
            "uuid": self.identity.uuid,
            "prepared": [
                [p.xid, p.file, p.offset, [list(t) for t in p.tables]] for p in self.prepared
            ],
        }


@dataclass(frozen=True)
class PollGap:
    """Consecutive ids below the high-water mark that were absent when a round looked.

    Args:
        low: First absent id.
        high: Last absent id.
        since_us: When it was first seen absent, source clock, microseconds since the epoch.
        open_transactions: Ids of transactions open at that time, where the source can tell;
            None where it cannot (a grace period decides instead).
    """

    low: int
    high: int
    since_us: int
    open_transactions: tuple[str, ...] | None = None


@dataclass(frozen=True)
class PollMark:
    """How far one insert-only table has been read.

    Args:
        high: Greatest id whose row, or absence, is accounted for; None before the first row.
        gaps: Absent ids below `high` that may still appear.
    """

    high: int | None = None
    gaps: tuple[PollGap, ...] = ()


@dataclass(frozen=True)
class PollPosition:
    """High-water marks and gap ledger of every polled table.

    Args:
        marks: By `database.table`.
        identity: The server.
    """

    marks: dict[str, PollMark] = field(default_factory=dict)
    identity: ServerIdentity = field(default_factory=lambda: ServerIdentity("sql", ""))

    def __str__(self) -> str:
        """Return a short form for logs and metadata."""
        if len(self.marks) > 4:
            gaps = sum(len(m.gaps) for m in self.marks.values())
            return f"{len(self.marks)} tables, {gaps} open gaps"
        return ", ".join(f"{t}<={m.high}" for t, m in sorted(self.marks.items())) or "start"

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        marks = {
            table: {
                "high": mark.high,
                "gaps": [
                    [
                        g.low,
                        g.high,
                        g.since_us,
                        None if g.open_transactions is None else list(g.open_transactions),
                    ]
                    for g in mark.gaps
                ],
            }
            for table, mark in sorted(self.marks.items())
        }
        return {
            "type": "poll",
            "marks": marks,
            "flavor": self.identity.flavor,
            "uuid": self.identity.uuid,
        }


Position: TypeAlias = BinlogPosition | PollPosition


def position_from_json(value: dict[str, Any]) -> Position:
    """Read what a position's `to_json` wrote.

    Raises:
        ValueError: The value is of no known type.
    """
    identity = ServerIdentity(value["flavor"], value["uuid"])
    if value["type"] == "binlog":
        prepared = tuple(
            PreparedTransaction(xid, file, offset, tuple((d, t) for d, t in tables))
            for xid, file, offset, tables in value.get("prepared", ())
        )
        return BinlogPosition(value["file"], value["offset"], value["gtid_set"], identity, prepared)
    if value["type"] == "poll":
        marks = {
            table: PollMark(
                m["high"],
                tuple(
                    PollGap(lo, hi, since, None if ids is None else tuple(ids))
                    for lo, hi, since, ids in m["gaps"]
                ),
            )
            for table, m in value["marks"].items()
        }
        return PollPosition(marks, identity)
    raise ValueError(f"unknown position type {value['type']!r}")


def reached(here: Position, there: Position) -> bool:
    """Return whether `here` is at or past `there`; polling positions only when equal."""
    if isinstance(here, BinlogPosition) and isinstance(there, BinlogPosition):
        return here.reached(there)
    return here == there


def _file_number(file: str) -> int:
    _, _, digits = file.rpartition(".")
    return int(digits) if digits.isdigit() else 0
