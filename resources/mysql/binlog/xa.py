"""XA transactions between their PREPARE and the decision on them.

In: what the log says of them. Out: which are open at a position, and where their rows are.

A prepared transaction's rows are in the log at its PREPARE and count from its COMMIT on, which may
come days and files later, or never. They are passed over at first and read again at the COMMIT:
a position names the open transactions and their places, so that no memory has to hold them.
Source: mysql-server libs/mysql/binlog/event/control_events.h, `XA_prepare_event`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

from resources.errors import PositionPurged
from resources.model.position import PreparedTransaction
from resources.mysql.binlog.cursor import Cursor, Truncated
from resources.mysql.binlog.events import Event, EventType
from resources.mysql.binlog.payload import inner_events
from resources.mysql.binlog.rows import ROW_EVENTS, row_event

_XID = re.compile(r"X'([0-9a-f]*)'\s*,\s*X'([0-9a-f]*)'\s*,\s*(\d+)", re.IGNORECASE)
_ROWS = frozenset({*ROW_EVENTS, EventType.TABLE_MAP, EventType.PARTIAL_UPDATE_ROWS})
_ENDS = frozenset({EventType.XA_PREPARE, EventType.XID})

Reread: TypeAlias = Callable[[PreparedTransaction], Iterable[Event]]
"""Reads the log again from where a prepared transaction begins; raises `PositionPurged` where
that is no longer there."""


def nowhere(prepared: PreparedTransaction) -> Iterable[Event]:
    """Be the `Reread` of whoever has no log to read again."""
    raise PositionPurged(f"the log at {prepared.file}:{prepared.offset} cannot be read again")


def statement_xid(sql: str) -> str:
    """Return the transaction an XA statement of the log names, in the form of `prepare_xid`."""
    found = _XID.search(sql)
    if found is None:
        return sql.partition(" ")[2].partition(" ")[2].strip()
    group, branch, form = found.groups()
    return _text(group, branch, int(form))


def prepare_xid(body: bytes) -> tuple[str, bool]:
    """Return which transaction an XA_PREPARE prepares, and whether it commits it at once.

    Raises:
        Truncated: The bytes are no such event.
    """
    cursor = Cursor(body)
    one_phase = cursor.uint(1) != 0
    form, group, branch = cursor.uint(4), cursor.uint(4), cursor.uint(4)
    return _text(cursor.take(group).hex(), cursor.take(branch).hex(), form), one_phase


def _text(group: str, branch: str, form: int) -> str:
    return f"X'{group.lower()}',X'{branch.lower()}',{form}"


class PreparedTransactions:
    """The transactions that are prepared at the last boundary.

    Args:
        prepared: Those at the start.
    """

    def __init__(self, prepared: Iterable[PreparedTransaction]) -> None:
        self._open = {p.xid: p for p in prepared}

    def all(self) -> tuple[PreparedTransaction, ...]:
        """Return them, oldest first."""
        return tuple(self._open.values())

    def add(self, prepared: PreparedTransaction) -> None:
        """Take one that was just prepared."""
        self._open[prepared.xid] = prepared

    def get(self, xid: str) -> PreparedTransaction | None:
        """Return one; None if it was prepared before the start."""
        return self._open.get(xid)

    def take(self, xid: str) -> None:
        """Forget one that is decided."""
        self._open.pop(xid, None)


def rows_of_prepared(events: Iterable[Event]) -> Iterator[bytes]:
    """Yield the table maps and row events of a prepared transaction, each without a checksum.

    Args:
        events: The log from the transaction's begin on; read up to its end.

    Raises:
        Truncated: They end before the transaction does, or are damaged.
    """
    for event in events:
        if event.type == EventType.TRANSACTION_PAYLOAD:
            for data in inner_events(event.body):
                if data[4] in _ENDS:
                    return
                if data[4] in _ROWS:
                    yield data
        elif event.type in _ROWS:
            yield row_event(event, event.type, event.body)
        elif event.type in _ENDS:
            return
    raise Truncated("a prepared transaction is there without its end")
