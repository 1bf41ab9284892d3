"""Where a pipeline begins and stops in a server's log: named by a person, found on the server.

In: a connection, a place. Out: a position that the server's log continues, checked against what
the server has. Finding a time or a byte takes short dumps of file heads and one read of a file.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pymysql.connections import Connection

from resources.errors import ConfigError, SourceUnavailable
from resources.model.place import FIRST_OFFSET, GtidPlace, Place, Start, TimePlace
from resources.model.position import BinlogPosition, ServerIdentity
from resources.mysql.binlog.dump import DumpConnection
from resources.mysql.binlog.events import ARTIFICIAL, Event, EventFraming, EventType
from resources.mysql.binlog.gtid import Flavor, GtidSet
from resources.mysql.binlog.log_search import LogSearch, find_end, find_start
from resources.mysql.binlog.packets import ConnectionLost
from resources.mysql.continuity import verify_continuity
from resources.mysql.server import ServerFacts, binary_logs, log_end, visible_position

_HEARTBEAT_SECONDS = 5.0
_WAIT_SECONDS = 1.0
_PATIENCE_SECONDS = 120.0
_HEARTBEATS = frozenset({EventType.HEARTBEAT, EventType.HEARTBEAT_V2})


@dataclass(frozen=True)
class LogServer:
    """A server whose log is searched.

    Args:
        connect: Opens a logged-in connection; called once per file that is looked at.
        connection: A logged-in connection for questions.
        facts: Who it is.
        server_id: What this reader calls itself.
        where: The server in words.
    """

    connect: Callable[[], Connection[Any]]
    connection: Connection[Any]
    facts: ServerFacts
    server_id: int
    where: str


def start_position(server: LogServer, start: Start) -> BinlogPosition:
    """Return where a pipeline's change log begins.

    Args:
        server: The server.
        start: `latest`, `earliest`, or a place.

    Raises:
        PositionPurged: The server no longer has the log at that place.
        ConfigError: The place is in the future, past the log's end, no transaction's begin, or a
            GTID set the server never executed; or the server writes no log.
    """
    if start == "latest":
        return visible_position(server.connection, server.facts)
    log = _server_log(server)
    search = LogSearch(log)
    if isinstance(start, GtidPlace):
        return _after_set(server, log, search, start)
    if start == "earliest":
        return _with_purged(server, search.earliest())
    if isinstance(start, TimePlace):
        _require_past(server, start)
        return _with_purged(server, find_start(search, start) or log.end)
    position = find_start(search, start)
    if position is None:
        raise ConfigError(
            f"{start} lies past the log's end, {log.end}",
            where=server.where,
            remedy="name a place the log has, or `latest`",
        )
    return _with_purged(server, position)


def stop_position(server: LogServer, place: Place) -> BinlogPosition:
    """Return where a run that shall stop at a place stops: there, or at the log's end for now.

    Raises:
        ConfigError: The place is no boundary between transactions.
    """
    log = _server_log(server)
    return find_end(LogSearch(log), place, log.end)


def position_here(server: LogServer, position: BinlogPosition) -> BinlogPosition:
    """Return a position taken on another server as one of this server's log.

    Names and offsets of files mean nothing elsewhere; the transactions before them do.

    Args:
        server: A server that has all of the position's transactions and the log after them.
        position: Where to go on; has a GTID set.
    """
    log = _server_log(server)
    search = LogSearch(log)
    file = search.file_of_gtids(GtidSet.parse(position.gtid_set, log.flavor))
    return replace(position, file=file, offset=FIRST_OFFSET, identity=log.identity)


def _server_log(server: LogServer) -> _ServerLog:
    end = log_end(server.connection, server.facts)
    flavor = server.facts.flavor
    assert flavor != "oceanbase", "refused above: it has no log"
    names = [log.name for log in binary_logs(server.connection)]
    names = names[: names.index(end.file) + 1]
    return _ServerLog(server, flavor, end.identity, server.where, names, end)


def _after_set(
    server: LogServer, log: _ServerLog, search: LogSearch, place: GtidPlace
) -> BinlogPosition:
    """Return a position of exactly this set; the server finds its transactions by it."""
    if not server.facts.gtid:
        raise ConfigError(
            "the server's transactions have no GTIDs (gtid_mode)",
            where=server.where,
            remedy="name a file and a position, or a time",
        )
    gtids = search.parse(place)
    missing = gtids.subtract(GtidSet.parse(log.end.gtid_set, log.flavor))
    if missing:
        raise ConfigError(
            f"the server never executed {missing}",
            where=server.where,
            remedy=f"name a part of what it executed: {log.end.gtid_set or '(nothing)'}",
        )
    file = search.file_of_gtids(gtids)
    position = BinlogPosition(file, FIRST_OFFSET, str(gtids), log.identity)
    verify_continuity(server.connection, server.facts, position, server.where)
    return position


def _with_purged(server: LogServer, position: BinlogPosition) -> BinlogPosition:
    """Add what was executed and is in no file: a restored backup's set is in no file's head."""
    if not (server.facts.gtid and server.facts.flavor == "mysql"):
        return position
    with server.connection.cursor() as cursor:
        cursor.execute("SELECT @@GLOBAL.gtid_purged")
        purged = GtidSet.parse(cursor.fetchone()[0], "mysql")
    gtids = GtidSet.parse(position.gtid_set, "mysql").union(purged)
    return replace(position, gtid_set=str(gtids))


def _require_past(server: LogServer, place: TimePlace) -> None:
    with server.connection.cursor() as cursor:
        cursor.execute("SELECT UNIX_TIMESTAMP(NOW(6)) * 1000000")
        (now_us,) = cursor.fetchone()
    if place.time_us > int(now_us):
        raise ConfigError(
            f"{place} lies in the future by the server's clock",
            where=server.where,
            remedy="name an earlier time, or `latest`",
        )


@dataclass
class _ServerLog:
    """A server's log as it was at one moment; see `log_search.Log`."""

    server: LogServer
    flavor: Flavor
    identity: ServerIdentity
    where: str
    names: Sequence[str]
    end: BinlogPosition

    def read(self, name: str) -> Generator[Event, None, None]:
        """Yield a file's events, on a dump connection of its own."""
        try:
            dump = DumpConnection(
                self.server.connect, self.flavor, self.server.server_id, _HEARTBEAT_SECONDS
            )
            try:
                dump.start(BinlogPosition(name, FIRST_OFFSET, "", self.identity), by_gtid=False)
                yield from self._until_end(dump, name)
            finally:
                dump.close()
        except ConnectionLost as error:
            raise SourceUnavailable(
                f"the connection was lost while {name} was searched: {error}", where=self.where
            ) from error

    def _until_end(self, dump: DumpConnection, name: str) -> Generator[Event, None, None]:
        framing = EventFraming(dump.checksums)
        heard, at = time.monotonic(), 0
        while True:
            data = dump.read(_WAIT_SECONDS)
            if data is None:
                if time.monotonic() - heard > _PATIENCE_SECONDS:
                    raise ConnectionLost(f"silent for {_PATIENCE_SECONDS:.0f} s")
                continue
            heard = time.monotonic()
            event = framing.parse(data, name)
            if event.type in _HEARTBEATS:
                continue
            made_up = not event.log_pos or event.flags & ARTIFICIAL
            if (
                event.type == EventType.ROTATE
                and made_up
                and not event.body.endswith(name.encode())
            ):
                return  # the file had no ROTATE of its own: the server was stopped or killed
            yield event
            if event.type == EventType.ROTATE and not made_up:
                return
            if event.log_pos:  # the low 32 bits of an offset
                at += (event.log_pos - at) & 0xFFFFFFFF
            if name == self.end.file and at >= self.end.offset:
                return
