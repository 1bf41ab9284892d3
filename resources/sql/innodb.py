"""What is open in InnoDB: the proof that an absent AUTO_INCREMENT id stays absent.

In: a connection with the PROCESS privilege. Out: a survey.

An id is reserved by a running INSERT, a moment before its transaction is registered for writing,
and from then on until the end of the transaction that transaction is in `INNODB_TRX` under a
number that only rises. So the owner of a reserved id is, at any time, either

- running a statement while `INNODB_TRX` shows no writing transaction of its thread: the token
  `run:<thread>`, open until the thread is seen idle outside of any transaction; or
- a writing transaction: the token `<=n` with the greatest number listed, open until no number up
  to n is listed. XA transactions that are prepared, and detached or not, keep their number; or
- over, and its rows are visible to whoever reads from now on (it leaves the list and becomes
  visible at once).

Threads are listed before transactions: in the other order a statement could register its
transaction and end between the two and be in neither.

The server fills `INNODB_TRX` from a cache that it renews only if nobody has read it for 0.1 s. A
stale list would miss owners, so the query carries a mark of its own and has to find itself in the
answer. Read-only transactions have no number: 0 on MariaDB, 2^48 and more on MySQL.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Sequence
from typing import Any

from pymysql.connections import Connection

from resources.mysql.connection import mapped_errors
from resources.sql.flavor import PollTable
from resources.sql.ledger import LATER, Survey

log = logging.getLogger(__name__)

_READ_ONLY = 1 << 48
_CACHE_SECONDS = 0.11
_TRIES = 20
_THREADS = (
    "SELECT ID FROM information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID() "
    "AND COMMAND NOT IN ('Sleep', 'Daemon', 'Binlog Dump', 'Binlog Dump GTID')"
)
_CLOCK = "SELECT CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)"
_FRESH = (
    # A transaction of our own, so that the list has a row with the text of this very query.
    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
    "START TRANSACTION WITH CONSISTENT SNAPSHOT",
)


def clock_us(connection: Connection[Any]) -> int:
    """Return the server's clock, microseconds since the epoch."""
    return int(_rows(connection, _CLOCK)[0][0])


def survey(connection: Connection[Any], tables: Sequence[PollTable]) -> Survey:
    """List running statements and open transactions."""
    running = {thread for (thread,) in _rows(connection, _THREADS)}
    listed = _transactions(connection)
    now = clock_us(connection)
    if listed is None:
        log.warning(
            "open transactions could not be listed: something reads INNODB_TRX more than ten "
            "times a second; absent ids stay in the ledger until it pauses"
        )
        return Survey(now, {t.id: _tokens(t, (LATER,)) for t in tables}, alive=None)
    writing = {thread: number for number, thread in listed if 0 < number < _READ_ONLY}
    numbers = [number for number, _ in listed if 0 < number < _READ_ONLY]
    tokens = [f"run:{thread}" for thread in sorted(running - set(writing))]
    if numbers:
        tokens.append(f"<={max(numbers)}")
    busy = running | {thread for _, thread in listed}
    return Survey(
        now_us=now,
        open={table.id: _tokens(table, tuple(tokens)) for table in tables},
        alive=frozenset(f"run:{thread}" for thread in busy),
        oldest=min(numbers, default=None),
    )


def _tokens(table: PollTable, tokens: tuple[str, ...]) -> tuple[str, ...] | None:
    return tokens if table.proof == "transactions" else None


def _transactions(connection: Connection[Any]) -> list[tuple[int, int]] | None:
    """Return number and thread of each open transaction but ours; None if only a stale list is had.

    The list is as of a moment after the call.
    """
    for _ in range(_TRIES):
        mark = uuid.uuid4().hex
        query = f"SELECT /* {mark} */ trx_id, trx_mysql_thread_id, trx_query " + _FROM
        for statement in _FRESH:
            _rows(connection, statement)
        try:
            rows = _rows(connection, query)
        finally:
            _rows(connection, "COMMIT")
        if any(mark in (text or "") for _, _, text in rows):
            return [(int(n), int(thread)) for n, thread, text in rows if mark not in (text or "")]
        time.sleep(_CACHE_SECONDS)
    return None


_FROM = "FROM information_schema.INNODB_TRX"


def _rows(connection: Connection[Any], statement: str) -> Sequence[tuple[Any, ...]]:
    with mapped_errors("information_schema"), connection.cursor() as cursor:
        cursor.execute(statement)
        rows: Sequence[tuple[Any, ...]] = cursor.fetchall()
        return rows
