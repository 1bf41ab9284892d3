"""Whether a server's log still continues a position: same server, nothing lost, nothing purged.

File names and offsets lie across servers and after a reset, so identity and GTID sets decide and
file and offset only where there is nothing better.
"""

from __future__ import annotations

from typing import Any

from pymysql.connections import Connection

from resources.errors import PositionPurged, ServerChanged
from resources.model.position import BinlogPosition
from resources.mysql.binlog.gtid import GtidSet
from resources.mysql.server import BinaryLog, ServerFacts, binary_logs, log_end

_SNAPSHOT = "take a new snapshot of the pipeline's tables; what was read so far stays in place"


def verify_continuity(
    connection: Connection[Any], facts: ServerFacts, start: BinlogPosition, where: str
) -> None:
    """Make sure that the log can be read from `start` without a gap.

    Args:
        connection: To the server.
        facts: Who it is.
        start: A position taken earlier, perhaps on another server.
        where: The server in words.

    Raises:
        ConfigError: The server writes no binary log.
        ServerChanged: It is another server, or it lost transactions that `start` covers.
        PositionPurged: It no longer has the log at `start`.
    """
    end = log_end(connection, facts)
    if facts.flavor != start.identity.flavor:
        raise ServerChanged(
            f"position {start} was taken on {start.identity.flavor}, this is {facts.flavor}",
            where=where,
            remedy=_SNAPSHOT,
        )
    same = facts.identity == start.identity
    by_gtid = facts.gtid and bool(start.gtid_set)
    if not same and not by_gtid:
        raise ServerChanged(
            f"position {start} was taken on server {start.identity.uuid}, this is "
            f"{facts.identity.uuid}; without GTIDs a position means nothing on another server",
            where=where,
            remedy=f"connect to the former server, or {_SNAPSHOT}",
        )
    if by_gtid and facts.flavor == "mysql":
        _verify_mysql_gtids(connection, start, where)
    elif by_gtid:
        _verify_mariadb_gtids(start, end, where)
    if same and (facts.flavor == "mariadb" or not by_gtid):
        _verify_file(binary_logs(connection), start, end, where)


def _verify_mysql_gtids(connection: Connection[Any], start: BinlogPosition, where: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT GTID_SUBTRACT(%s, @@GLOBAL.gtid_executed), "
            "GTID_SUBTRACT(@@GLOBAL.gtid_purged, %s), @@GLOBAL.gtid_purged",
            (start.gtid_set, start.gtid_set),
        )
        lost, missing, purged = (str(v or "").replace("\n", "") for v in cursor.fetchone())
    if lost:
        raise ServerChanged(
            f"the server never executed {lost}, which position {start} covers: it was reset or "
            "lost transactions in a failover",
            where=where,
            remedy=_SNAPSHOT,
        )
    if missing:
        raise PositionPurged(
            f"transactions {missing} after position {start} (GTID {start.gtid_set}) are purged; "
            f"the server purged up to {purged}",
            where=where,
            remedy=f"raise binlog_expire_logs_seconds, then {_SNAPSHOT}",
        )


def _verify_mariadb_gtids(start: BinlogPosition, end: BinlogPosition, where: str) -> None:
    ours, theirs = GtidSet.parse(start.gtid_set, "mariadb"), GtidSet.parse(end.gtid_set, "mariadb")
    if not theirs.contains(ours):
        raise ServerChanged(
            f"the server's log ends at GTID {end.gtid_set or '(none)'}, position {start} is at "
            f"{start.gtid_set}: it was reset or lost transactions in a failover",
            where=where,
            remedy=_SNAPSHOT,
        )


def _verify_file(
    logs: list[BinaryLog], start: BinlogPosition, end: BinlogPosition, where: str
) -> None:
    sizes = {log.name: log.size for log in logs}
    if start.file in sizes and start.offset <= max(
        sizes[start.file], end.offset if end.file == start.file else 0
    ):
        return
    first = BinlogPosition(logs[0].name, 0, "", end.identity)
    if first.reached(start):
        raise PositionPurged(
            f"position {start} is purged; the server's first log is {first.file}, it is at {end}",
            where=where,
            remedy=f"raise the log retention, then {_SNAPSHOT}",
        )
    raise ServerChanged(
        f"position {start} lies beyond the server's log, which ends at {end}: it was reset",
        where=where,
        remedy=_SNAPSHOT,
    )
