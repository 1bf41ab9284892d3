"""The binary log as slices: connect, read, reconnect, end where asked.

In: a way to log in, a start position. Out: `LogSlice` values in log order, without a gap or a
repetition whatever happens to the connection.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

from pymysql.connections import Connection

from resources.errors import CorruptEvent, ServerChanged, SourceUnavailable
from resources.model.change import LogSlice
from resources.model.position import BinlogPosition, ServerIdentity
from resources.model.table import TableId
from resources.mysql.binlog.cursor import Truncated
from resources.mysql.binlog.dump import DumpConnection
from resources.mysql.binlog.events import Event, EventFraming, EventType, type_name
from resources.mysql.binlog.gtid import Flavor, GtidSet
from resources.mysql.binlog.log_reader import LogReader
from resources.mysql.binlog.options import StreamOptions
from resources.mysql.binlog.packets import ConnectionLost
from resources.mysql.binlog.payload import inner_events
from resources.mysql.binlog.slices import HOUR_US, SliceBuilder

_log = logging.getLogger(__name__)
_POLL_SECONDS = 0.2
_MISSED_HEARTBEATS = 3
_FIRST_EVENT_SECONDS = 120.0
_LONGEST_BACKOFF = 10.0


def stream_binlog(
    connect: Callable[[], Connection[Any]],
    flavor: Flavor,
    identity: ServerIdentity,
    server_id: int,
    start: BinlogPosition,
    until: BinlogPosition | None,
    wanted: Callable[[TableId], bool],
    stop: Callable[[], bool],
    options: StreamOptions,
) -> Iterator[LogSlice]:
    """Yield a server's binary log from a position.

    With GTIDs on both sides the server finds the start by GTID set, else by file and offset. A
    lost connection is made again at the last transaction boundary and what came of the
    transaction at hand is dropped and read again; parts of it already yielded are not repeated.

    Args:
        connect: Opens a logged-in connection; called again after each loss.
        flavor: Whose replication protocol to speak.
        identity: The server, for the positions handed out.
        server_id: What this reader calls itself; unique among the server's readers.
        start: Where to begin, exclusive.
        until: Ends at the first boundary that reaches it; None follows for ever.
        wanted: Which tables' changes to decode; asked once per table.
        stop: Asked several times a second; True ends the stream at the next boundary.
        options: Limits and policies.

    Yields:
        Slices in order, each within one UTC hour of commit time; an empty one at least every
        `slice_seconds` while there is nothing to read. An incomplete slice carries the last
        boundary before it as its end.

    Raises:
        PositionPurged: The log at `start` is gone.
        ServerChanged: The server lost what was read from it, or another one answers.
        CorruptEvent: Bytes cannot be true, twice at one place.
        UnsupportedEvent: An event may not be skipped and cannot be applied.
        SourceUnavailable: The connection was lost and not regained.
        ConfigError: Account or server_id refused.
    """
    begin = BinlogPosition(start.file, start.offset, start.gtid_set, identity)
    yield from _Stream(connect, flavor, server_id, begin, until, wanted, stop, options).run()


class _Stream:
    """One stream over as many connections as it takes."""

    def __init__(
        self,
        connect: Callable[[], Connection[Any]],
        flavor: Flavor,
        server_id: int,
        start: BinlogPosition,
        until: BinlogPosition | None,
        wanted: Callable[[TableId], bool],
        stop: Callable[[], bool],
        options: StreamOptions,
    ) -> None:
        self._connect = connect
        self._flavor = flavor
        self._server_id = server_id
        self._until = until
        self._until_gtids = GtidSet.parse(until.gtid_set if until else "", flavor)
        self._stop = stop
        self._options = options
        self._builder = SliceBuilder()
        self._reader = LogReader(start, flavor, wanted, options, self._builder)
        self._start = start
        self._by_gtid = False
        self._server = ""
        self._failures = 0
        self._failed_at = ""
        self._corrupt_at = ""
        self._yielded_at = time.monotonic()
        self._done = False

    def run(self) -> Iterator[LogSlice]:
        """Read until done, over as many connections as it takes."""
        if self._until is not None and self._start.reached(self._until):
            return
        while not self._done:
            try:
                yield from self._read_connection()
            except ConnectionLost as error:
                self._recover(str(error), error)
            except CorruptEvent as error:
                if error.where == self._corrupt_at:
                    raise
                self._corrupt_at = error.where
                self._recover(error.message, error)

    def _recover(self, reason: str, error: Exception) -> None:
        """Go back to the last boundary and wait a little, or give up."""
        position = self._reader.position()
        where = str(position)
        # Whatever was read in between, only a boundary passed counts as progress.
        self._failures = self._failures + 1 if where == self._failed_at else 1
        self._failed_at = where
        if self._failures >= self._options.attempts:
            raise SourceUnavailable(
                f"the binary log connection failed {self._failures} times in a row: {reason}",
                where=where,
                remedy="see that the server runs and can be reached, then start again",
            ) from error
        _log.warning("binlog connection lost at %s (%s), connecting again", where, reason)
        self._reader.restart()
        pause = min(self._options.backoff_seconds * 2 ** (self._failures - 1), _LONGEST_BACKOFF)
        end = time.monotonic() + pause
        while time.monotonic() < end and not self._stop():
            time.sleep(min(_POLL_SECONDS, pause))
        if self._stop():
            self._done = True

    def _read_connection(self) -> Iterator[LogSlice]:
        options = self._options
        dump = DumpConnection(
            self._connect, self._flavor, self._server_id, options.heartbeat_seconds
        )
        try:
            position = self._reader.position()
            self._same_server(dump.identity(), str(position))
            self._by_gtid = bool(position.gtid_set) and dump.gtid_mode()
            if self._reached():
                yield self._last()
                return
            dump.start(position, self._by_gtid)
            framing = EventFraming(dump.checksums)
            for data in self._packets(dump):
                if data is not None:
                    event = framing.parse(data, self._reader.file)
                    yield from self._take(event)
                yield from self._between()
                if self._done:
                    return
        finally:
            dump.close()

    def _packets(self, dump: DumpConnection) -> Iterator[bytes | None]:
        """Yield events, or None now and then while there are none."""
        heard = time.monotonic()
        patience = max(_FIRST_EVENT_SECONDS, _MISSED_HEARTBEATS * self._options.heartbeat_seconds)
        while True:
            data = dump.read(_POLL_SECONDS)
            now = time.monotonic()
            if data is not None:
                heard = now
                patience = _MISSED_HEARTBEATS * self._options.heartbeat_seconds
            elif now - heard > patience:
                raise ConnectionLost(f"silent for {patience:.0f} s, heartbeats missed")
            yield data

    def _take(self, event: Event) -> Iterator[LogSlice]:
        if event.type != EventType.TRANSACTION_PAYLOAD:
            self._reader.feed(event)
            yield from self._cut()
            return
        self._reader.enter(event)
        plain = EventFraming(checksums=False)
        try:
            for data in inner_events(event.body):
                self._reader.feed(plain.parse(data, self._reader.file), inside=True)
                yield from self._cut()
        except Truncated as error:
            where = self._reader.where()
            raise CorruptEvent(f"{type_name(event.type)}: {error}", where=where) from error

    def _cut(self) -> Iterator[LogSlice]:
        """Yield what is full, or what may not share a slice with the transaction at hand."""
        builder, reader, options = self._builder, self._reader, self._options
        transaction = reader.transaction
        if transaction is None:
            if builder.rows >= options.slice_rows or builder.image_bytes >= options.slice_bytes:
                yield self._slice(complete=True)
        elif builder.rows:
            if not builder.since_mark():
                if builder.hour != transaction.commit_us // HOUR_US:
                    yield self._slice(complete=True)
            elif (
                builder.rows >= options.transaction_rows
                or builder.image_bytes >= options.transaction_bytes
            ):
                reader.handed_out += builder.since_mark()
                yield self._slice(complete=False)

    def _between(self) -> Iterator[LogSlice]:
        """At a boundary: end where asked, and let no second pass in silence."""
        if self._reader.transaction is not None:
            return
        if self._reached() or self._stop():
            self._done = True
            yield self._last()
        elif time.monotonic() - self._yielded_at >= self._options.slice_seconds:
            yield self._slice(complete=True)

    def _slice(self, complete: bool) -> LogSlice:
        self._yielded_at = time.monotonic()
        return self._builder.take(self._reader.position(), complete)

    def _last(self) -> LogSlice:
        """Return the last slice; it ends at `until` where the rest of the log is known empty."""
        self._done = True
        end, until = self._reader.position(), self._until
        if until is not None and end.identity == until.identity and self._contains_until():
            end = end if end.reached(until) else until
        return self._builder.take(end, complete=True)

    def _reached(self) -> bool:
        until = self._until
        if until is None:
            return False
        reader = self._reader
        if until.identity == self._start.identity and reader.boundary_reached(until):
            return True
        return self._contains_until()

    def _contains_until(self) -> bool:
        """Return whether GTIDs prove that everything up to `until` was read."""
        if not self._by_gtid or not self._until_gtids:
            return False
        return self._reader.gtids.contains(self._until_gtids)

    def _same_server(self, server: str, where: str) -> None:
        if self._server and server != self._server:
            raise ServerChanged(
                "another server answers at this address since the connection was lost",
                where=where,
                remedy="start again: the position is then checked against that server",
            )
        self._server = server
