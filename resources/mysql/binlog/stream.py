"""The binary log as slices: connect, read, reconnect, end where asked.

In: a way to log in, a start position. Out: `LogSlice` values in log order, without a gap or a
repetition whatever happens to the connection.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from typing import Any

from pymysql.connections import Connection

from resources.errors import CorruptEvent, PositionPurged, ServerChanged, SourceUnavailable
from resources.model.change import LogSlice
from resources.model.position import BinlogPosition, PreparedTransaction, ServerIdentity
from resources.model.table import TableId
from resources.mysql.binlog.decoder import LogDecoder
from resources.mysql.binlog.dump import DumpConnection
from resources.mysql.binlog.events import Event, EventFraming
from resources.mysql.binlog.gatherer import Piece
from resources.mysql.binlog.gtid import Flavor
from resources.mysql.binlog.options import StreamOptions
from resources.mysql.binlog.packets import ConnectionLost
from resources.mysql.binlog.read_ahead import read_ahead

_log = logging.getLogger(__name__)
_POLL_SECONDS = 0.2
_MISSED_HEARTBEATS = 3
_FIRST_EVENT_SECONDS = 120.0
_LONGEST_BACKOFF = 10.0
_OTHER_READER = 1 << 31


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
    Slices are decoded ahead in threads, in one of which every function given here is called.

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
    # On another server the places of prepared transactions mean nothing.
    prepared = [p if start.identity == identity else replace(p, file="") for p in start.prepared]
    begin = BinlogPosition(start.file, start.offset, start.gtid_set, identity, tuple(prepared))
    stream = _Stream(connect, flavor, server_id, begin, until, wanted, stop, options)
    yield from read_ahead(stream.run)


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
        self._nothing_to_do = until is not None and start.reached(until)
        self._stop = stop
        self._options = options
        self._decoder = LogDecoder(start, flavor, until, wanted, stop, options, self._reread)
        self._server = ""
        self._failures = 0
        self._failed_at = ""
        self._corrupt_at = ""

    def run(self, closed: Callable[[], bool]) -> Generator[Piece]:
        """Read until done or `closed`, over as many connections as it takes."""
        if self._nothing_to_do:
            return
        while not self._decoder.done and not closed():
            try:
                yield from self._read_connection(closed)
            except ConnectionLost as error:
                self._recover(str(error), error, closed)
            except CorruptEvent as error:
                if error.where == self._corrupt_at:
                    raise
                self._corrupt_at = error.where
                self._recover(error.message, error, closed)

    def _recover(self, reason: str, error: Exception, closed: Callable[[], bool]) -> None:
        """Go back to the last boundary and wait a little, or give up."""
        where = str(self._decoder.position())
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
        self._decoder.restart()
        pause = min(self._options.backoff_seconds * 2 ** (self._failures - 1), _LONGEST_BACKOFF)
        end = time.monotonic() + pause
        while time.monotonic() < end and not self._stop() and not closed():
            time.sleep(min(_POLL_SECONDS, pause))
        if self._stop():
            self._decoder.done = True

    def _read_connection(self, closed: Callable[[], bool]) -> Iterator[Piece]:
        options, decoder = self._options, self._decoder
        dump = DumpConnection(
            self._connect, self._flavor, self._server_id, options.heartbeat_seconds, options.reader
        )
        try:
            position = decoder.position()
            self._same_server(dump.identity(), str(position))
            by_gtid = bool(position.gtid_set) and dump.gtid_mode()
            decoder.begin_packets(dump.checksums, by_gtid, dump.refusal)
            if decoder.reached():
                yield from decoder.last()
                return
            dump.start(position, by_gtid)
            for _ in self._receive(dump, closed):
                yield from decoder.pieces()
        finally:
            dump.close()

    def _reread(self, prepared: PreparedTransaction) -> Iterator[Event]:
        """Read the log from where a prepared transaction begins, on a connection of its own."""
        if not prepared.file:
            raise PositionPurged("it was prepared on another server")
        options = self._options
        # The server ends a dump when another one of the same id begins.
        other_id = self._server_id ^ _OTHER_READER
        dump = DumpConnection(self._connect, self._flavor, other_id, options.heartbeat_seconds)
        place = BinlogPosition(
            prepared.file, prepared.offset, "", self._decoder.position().identity
        )
        try:
            dump.start(place, by_gtid=False)
            framing = EventFraming(dump.checksums)
            deadline = time.monotonic() + _FIRST_EVENT_SECONDS
            while time.monotonic() < deadline:
                if data := dump.read(_POLL_SECONDS):
                    yield framing.parse(data, prepared.file)
                    deadline = time.monotonic() + _FIRST_EVENT_SECONDS
            raise ConnectionLost(f"silent for {_FIRST_EVENT_SECONDS:.0f} s")
        finally:
            dump.close()

    def _receive(self, dump: DumpConnection, closed: Callable[[], bool]) -> Iterator[None]:
        """Read bytes until done; yields after each read, also when there were none for a while."""
        decoder, heartbeat = self._decoder, self._options.heartbeat_seconds
        silent, patience = 0.0, max(_FIRST_EVENT_SECONDS, _MISSED_HEARTBEATS * heartbeat)
        while not decoder.done and not closed():
            begun = time.monotonic()
            count = dump.receive(decoder.room(), _POLL_SECONDS)
            if count:
                decoder.received(count)
                silent, patience = 0.0, _MISSED_HEARTBEATS * heartbeat
            else:
                silent += time.monotonic() - begun
                if silent > patience:
                    raise ConnectionLost(f"silent for {patience:.0f} s, heartbeats missed")
            yield

    def _same_server(self, server: str, where: str) -> None:
        if self._server and server != self._server:
            raise ServerChanged(
                "another server answers at this address since the connection was lost",
                where=where,
                remedy="start again: the position is then checked against that server",
            )
        self._server = server
