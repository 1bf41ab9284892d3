"""What ClickHouse's errors mean here.

In: errors of clickhouse-connect. Out: errors of the tree, without values and passwords. Codes:
https://github.com/ClickHouse/ClickHouse/blob/master/src/Common/ErrorCodes.cpp
"""

from __future__ import annotations

import re

from clickhouse_connect.driver.exceptions import ClickHouseError, Error

from resources.errors import (
    CdcError,
    ConfigError,
    DirtyRowError,
    SchemaMismatch,
    SinkUnavailable,
    TerminalError,
)

_REFUSED = {
    "CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN": "NULL in a column the table declares NOT NULL",
    "TOO_LARGE_STRING_SIZE": "text longer than the column",
    "DECIMAL_OVERFLOW": "a number with more digits than the column",
    "VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE": "a value outside the range of the column",
    "UNKNOWN_ELEMENT_OF_ENUM": "a label that the column's Enum has not",
    "INVALID_PARTITION_VALUE": "a value that cannot name a partition",
}
_DENIED = frozenset(
    {"ACCESS_DENIED", "READONLY", "DATABASE_ACCESS_DENIED", "SETTING_CONSTRAINT_VIOLATION"}
)
_NOT_LET_IN = frozenset(
    {"AUTHENTICATION_FAILED", "UNKNOWN_USER", "WRONG_PASSWORD", "REQUIRED_PASSWORD"}
)
_SCHEMA = frozenset(
    {
        *("UNKNOWN_TABLE", "UNKNOWN_DATABASE", "UNKNOWN_IDENTIFIER", "NO_SUCH_COLUMN_IN_TABLE"),
        *("NOT_FOUND_COLUMN_IN_BLOCK", "TYPE_MISMATCH", "TABLE_UUID_MISMATCH"),
    }
)
_DISK = "free disk space on the server"
_BUSY = "run again when the server has less to do, or raise its limit"
_DOWN = "check that the server runs and can be reached from here"
_LATER = {
    "NOT_ENOUGH_SPACE": _DISK,
    "CANNOT_WRITE_TO_FILE_DESCRIPTOR": _DISK,
    "CANNOT_WRITE_TO_OSTREAM": _DISK,
    "CANNOT_OPEN_FILE": "look into the server's log: it cannot open one of its files",
    "CANNOT_CREATE_DIRECTORY": "look into the server's log: it cannot write its folder",
    "STD_EXCEPTION": "look into the server's log: it cannot read or write its files",
    "MEMORY_LIMIT_EXCEEDED": _BUSY,
    "TOO_MANY_PARTS": "let merges catch up: fewer and larger batches, a longer commit_interval",
    "TOO_MANY_SIMULTANEOUS_QUERIES": _BUSY,
    "QUOTA_EXCEEDED": "wait for the quota's next interval, or raise it",
    "TIMEOUT_EXCEEDED": _BUSY,
    "SOCKET_TIMEOUT": _DOWN,
    "NETWORK_ERROR": _DOWN,
    "TABLE_IS_READ_ONLY": "wait until the table's replica has its Keeper again",
    "KEEPER_EXCEPTION": "check ClickHouse Keeper",
    "NO_ZOOKEEPER": "check ClickHouse Keeper",
    "UNKNOWN_STATUS_OF_INSERT": "run again: what was written is not written twice",
    "TOO_FEW_LIVE_REPLICAS": "wait until more replicas are up",
    "TABLE_IS_DROPPED": "run again: the table is just being dropped",
    "DEADLOCK_AVOIDED": _BUSY,
    "UNFINISHED": "run again when the other replicas are up: one did not finish the statement",
    "ALL_CONNECTION_TRIES_FAILED": _DOWN,
}


def translate(error: Exception, where: str) -> CdcError:
    """Return the error of the tree for one of the client's.

    Args:
        error: It; its text may hold values, so only those that cannot are shown.
        where: The table concerned.
    """
    name = (error.name if isinstance(error, Error) else None) or ""
    code = (error.code if isinstance(error, Error) else None) or ""
    if not isinstance(error, ClickHouseError) or not code:
        return _lost(error, where)
    if name == "VIOLATED_CONSTRAINT":
        constraint = re.search(r"Constraint `([^`]*)`", str(error))
        said = f"refused by the constraint {constraint[1] if constraint else '?'}"
        return DirtyRowError(said, where=where)
    if name in _REFUSED:
        return DirtyRowError(_REFUSED[name], field=_column(str(error)), where=where)
    said = f"{code} {name}"
    if name in _NOT_LET_IN:
        return ConfigError(
            f"ClickHouse does not let us in ({said})",
            where=where,
            remedy="check user and password of the sink",
        )
    if name in _DENIED:
        grant = re.search(r"necessary to have the grant ([^.]*(?:\.[^.\s]+)?)", str(error))
        return ConfigError(
            f"the sink's user may not do this ({said})",
            where=where,
            remedy=f"GRANT {grant[1]}" if grant else "grant it what docs/clickhouse.md lists",
        )
    if name in _SCHEMA:
        return SchemaMismatch(
            f"a table or column is not as it was ({said})",
            where=where,
            remedy="materialize the table's snapshot partition",
        )
    if name in _LATER:
        return SinkUnavailable(
            f"ClickHouse cannot do it now ({said})", where=where, remedy=_LATER[name]
        )
    return TerminalError(f"ClickHouse refused the statement ({said})", where=where)


def not_reached(error: Exception, where: str) -> CdcError:
    """Return the error of a server or a folder that could not be opened."""
    known = translate(error, where)
    if isinstance(known, ConfigError):
        return known
    code = error.code if isinstance(error, Error) else None
    said = f"error {code}" if code else type(error.__cause__ or error).__name__
    return SinkUnavailable(f"no connection: {said}", where=where, remedy=_DOWN)


def _lost(error: Exception, where: str) -> CdcError:
    said = type(error.__cause__ or error).__name__
    return SinkUnavailable(f"the connection was lost ({said})", where=where, remedy=_DOWN)


def _column(text: str) -> str:
    """Return the column an error of a conversion names."""
    found = re.search(
        r"while (?:converting|reading|parsing) (?:source )?column [`'\"]?([^`'\":]+)", text
    )
    return found[1] if found else ""
