"""This project's binlog reader on a stretch of a log, as a function to time.

In: a server's address and a stretch. Out: every row decoded to Arrow and counted. Imports no more
than the reader itself needs, so that a fresh process shows what the reader's start costs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from benchmarks.wire_stretch import DATABASE, Place, Stretch
from resources.model.change import LogSlice
from resources.model.position import BinlogPosition, ServerIdentity
from resources.model.table import TableId
from resources.mysql.binlog.options import StreamOptions
from resources.mysql.binlog.stream import stream_binlog
from resources.mysql.connection import MySQLSettings, connect

SERVER_ID = 4711
USER, PASSWORD = "cdc", "cdc-secret-pw"
_IDENTITY = ServerIdentity("mysql", "the benchmark's")

Work = Callable[[], object]


def settings_of(host: str, port: int) -> MySQLSettings:
    """Return how the project's own readers reach the server."""
    return MySQLSettings(host=host, port=port, user=USER, password=PASSWORD, tls="off")


def slices_of(settings: MySQLSettings, stretch: Stretch, end: Place) -> Iterator[LogSlice]:
    """Yield a stretch from its start to a place in it, wanted tables alone."""
    wanted = {TableId(DATABASE, table) for table in stretch.tables}
    return stream_binlog(
        lambda: connect(settings),
        "mysql",
        _IDENTITY,
        SERVER_ID,
        _position(stretch.start),
        _position(end),
        wanted.__contains__,
        lambda: False,
        StreamOptions(),
    )


def _position(place: Place) -> BinlogPosition:
    """Return a position without GTIDs: the server then seeks instead of searching."""
    return BinlogPosition(place.file, place.offset, "", _IDENTITY)


def stream_ours(settings: MySQLSettings, stretch: Stretch) -> Work:
    """Return what reads a whole stretch into Arrow and drops the batches."""

    def read() -> None:
        slices = slices_of(settings, stretch, stretch.end)
        rows = sum(b.rows.num_rows for part in slices for b in part.batches)
        require_rows(rows, stretch.wanted_rows)

    return read


def require_rows(seen: int, expected: int) -> None:
    """Refuse a reader that lost rows: its speed is worth nothing."""
    if seen != expected:
        raise AssertionError(f"a reader saw {seen:,} rows of {expected:,}")
