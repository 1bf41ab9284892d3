"""What a server says about itself: family, identity, log position, binary logs.

In: a connection. Out: `ServerFacts`, positions whose transactions later reads are sure to see.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from typing import Any

import pymysql
from pymysql.connections import Connection

from resources.errors import ConfigError, SourceUnavailable
from resources.model.position import BinlogPosition, ServerIdentity
from resources.mysql.connection import Flavor, flavor_of, version_tuple

_SERVER_ID_LOW, _SERVER_ID_SPAN = 1_000_000_000, 1_000_000_001
_VISIBLE_WAIT_SECONDS = 60.0
_SETTLE_SECONDS = 0.2
_DENIED = (1227, 1045)


@dataclass(frozen=True)
class ServerFacts:
    """One look at a server.

    Args:
        version: Leading numbers of `@@version`.
        version_text: `@@version`.
        flavor: Family.
        percona: Whether it is Percona's build.
        server_id: `@@server_id`.
        identity: Who it is, as positions carry it.
        log_bin: Whether it writes a binary log.
        gtid: Whether transactions carry GTIDs (MariaDB: always).
    """

    version: tuple[int, int, int]
    version_text: str
    flavor: Flavor
    percona: bool
    server_id: int
    identity: ServerIdentity
    log_bin: bool
    gtid: bool


@dataclass(frozen=True)
class BinaryLog:
    """One file of SHOW BINARY LOGS: its name and size in bytes."""

    name: str
    size: int


def server_facts(connection: Connection[Any]) -> ServerFacts:
    """Ask a server who it is; needs no privilege."""
    version, comment, server_id = _one(
        connection, "SELECT @@version, @@version_comment, @@server_id"
    )
    flavor = flavor_of(version, comment)
    log_bin, gtid, uuid = False, False, ""
    if flavor == "mariadb":
        log_bin, domain = _one(connection, "SELECT @@log_bin, @@gtid_domain_id")
        uuid, gtid = f"{server_id}-{domain}", True
    elif flavor == "mysql":
        log_bin, mode, uuid = _one(connection, "SELECT @@log_bin, @@gtid_mode, @@server_uuid")
        gtid = mode == "ON"
    else:
        (uuid,) = _one(connection, "SELECT @@server_uuid")
    return ServerFacts(
        version=version_tuple(version),
        version_text=version,
        flavor=flavor,
        percona="percona" in comment.lower(),
        server_id=int(server_id),
        identity=ServerIdentity(flavor, uuid),
        log_bin=bool(log_bin),
        gtid=gtid,
    )


def derive_server_id(pipeline: str, identity: ServerIdentity) -> int:
    """Return a replica id in 1,000,000,000 … 2,000,000,000, the same for the same pipeline."""
    text = f"{pipeline}\0{identity.flavor}\0{identity.uuid}"
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return _SERVER_ID_LOW + int.from_bytes(digest, "big") % _SERVER_ID_SPAN


def connected_replicas(connection: Connection[Any], facts: ServerFacts) -> set[int] | None:
    """Return the server ids registered for the log now, None if the account may not ask."""
    modern = facts.flavor == "mysql" and facts.version >= (8, 0, 22)
    rows = _rows_or_denied(connection, "SHOW REPLICAS" if modern else "SHOW SLAVE HOSTS")
    return None if rows is None else {int(row[0]) for row in rows}


def replicates(connection: Connection[Any], facts: ServerFacts) -> bool:
    """Return whether the server is a replica; False if the account may not ask."""
    modern = facts.flavor == "mysql" and facts.version >= (8, 0, 22)
    statement = "SHOW REPLICA STATUS" if modern else "SHOW SLAVE STATUS"
    return bool(_rows_or_denied(connection, statement))


def log_filters(connection: Connection[Any], facts: ServerFacts) -> tuple[set[str], set[str]]:
    """Return the databases the server logs alone (empty: all) and those it leaves out."""
    only, ignored = (str(names or "") for names in _one(connection, _status_statement(facts))[2:4])
    return set(filter(None, only.split(","))), set(filter(None, ignored.split(",")))


def binary_logs(connection: Connection[Any]) -> list[BinaryLog]:
    """Return the binary logs the server still has, oldest first."""
    with connection.cursor() as cursor:
        cursor.execute("SHOW BINARY LOGS")
        return [BinaryLog(row[0], int(row[1])) for row in cursor.fetchall()]


def log_end(connection: Connection[Any], facts: ServerFacts) -> BinlogPosition:
    """Return the end of the log: cheap, but reads may not see its last transactions yet.

    Raises:
        ConfigError: The server writes no binary log.
    """
    _require_log(facts)
    if facts.flavor == "mariadb":
        file, offset = _one(connection, "SHOW MASTER STATUS")[:2]
        return _mariadb_position(connection, facts, file, offset)
    row = _one(connection, _status_statement(facts))
    gtid_set = str(row[4] or "").replace("\n", "") if facts.gtid else ""
    return BinlogPosition(row[0], int(row[1]), gtid_set, facts.identity)


def visible_position(connection: Connection[Any], facts: ServerFacts) -> BinlogPosition:
    """Return an end of the log all of whose transactions any later read sees.

    A server writes a transaction to its log before it commits it in the engine. A position taken
    in between would cover a row that the SELECT after it does not show, and a snapshot that drops
    changes up to that position would lose it. MariaDB names the position of a consistent
    snapshot; MySQL with GTIDs lists those written but not yet committed in `@@gtid_owned`.

    Raises:
        ConfigError: The server writes no binary log.
        SourceUnavailable: A commit hangs for a minute.
    """
    _require_log(facts)
    if facts.flavor == "mariadb":
        return _snapshot_position(connection, facts)
    position = log_end(connection, facts)
    if facts.gtid:
        _await_owned(connection)
    else:
        # Nothing tells which anonymous transactions are between log and engine.
        time.sleep(_SETTLE_SECONDS)
    return position


def _await_owned(connection: Connection[Any]) -> None:
    pending = _owned(connection)
    deadline = time.monotonic() + _VISIBLE_WAIT_SECONDS
    while pending:
        if time.monotonic() > deadline:
            raise SourceUnavailable(
                "transactions stay between binary log and engine commit",
                remedy="look for `waiting for handler commit` in SHOW PROCESSLIST",
            )
        time.sleep(0.002)
        pending &= _owned(connection)


def _owned(connection: Connection[Any]) -> set[str]:
    """GTIDs written to the log whose transactions the engine has not committed yet."""
    (text,) = _one(connection, "SELECT @@GLOBAL.gtid_owned")
    owned: set[str] = set()
    uuid = ""
    # uuid:number#thread:number#thread, uuid:…; the thread does not matter.
    for item in text.replace("\n", "").replace(",", ":,").split(":"):
        if item.startswith(",") or "#" not in item:
            uuid = item.lstrip(",").strip() or uuid
        else:
            owned.add(f"{uuid}:{item}")
    return owned


def _snapshot_position(connection: Connection[Any], facts: ServerFacts) -> BinlogPosition:
    with connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT")
        cursor.execute("SHOW STATUS LIKE 'binlog_snapshot_%'")
        status = {name.lower(): value for name, value in cursor.fetchall()}
        cursor.execute("COMMIT")
    file, offset = status["binlog_snapshot_file"], status["binlog_snapshot_position"]
    return _mariadb_position(connection, facts, file, int(offset))


def _mariadb_position(
    connection: Connection[Any], facts: ServerFacts, file: str, offset: int
) -> BinlogPosition:
    with connection.cursor() as cursor:
        # The GTID position of exactly this offset; @@gtid_binlog_pos may be further already.
        cursor.execute("SELECT BINLOG_GTID_POS(%s, %s)", (file, int(offset)))
        (gtid,) = cursor.fetchone()
    return BinlogPosition(file, int(offset), gtid or "", facts.identity)


def _status_statement(facts: ServerFacts) -> str:
    modern = facts.flavor == "mysql" and facts.version >= (8, 2, 0)
    return "SHOW BINARY LOG STATUS" if modern else "SHOW MASTER STATUS"


def _rows_or_denied(
    connection: Connection[Any], statement: str
) -> tuple[tuple[Any, ...], ...] | None:
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return tuple(cursor.fetchall())
    except pymysql.err.OperationalError as error:
        if error.args[0] in _DENIED:
            return None
        raise


def _require_log(facts: ServerFacts) -> None:
    if facts.flavor == "oceanbase":
        raise ConfigError(
            "this OceanBase server offers no binary log",
            remedy="set up OceanBase Binlog Service and name its address, or poll the tables",
        )
    if not facts.log_bin:
        raise ConfigError(
            "the server writes no binary log", remedy="start it with --log-bin and --server-id"
        )


def _one(connection: Connection[Any], statement: str) -> tuple[Any, ...]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        row: tuple[Any, ...] | None = cursor.fetchone()
    if row is None:
        raise SourceUnavailable(f"the server answered nothing to {statement}")
    return row
