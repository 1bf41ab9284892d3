"""What the server says when it refuses or ends a dump, as this project's errors.

In: error number and text. Out: one of the error tree, with the remedy; `ConnectionLost` for what
a new connection may mend.
"""

from __future__ import annotations

from resources.errors import (
    CdcError,
    ConfigError,
    CorruptEvent,
    PositionPurged,
    ServerChanged,
    SourceUnavailable,
)
from resources.mysql.binlog.packets import ConnectionLost

_SNAPSHOT_AGAIN = "run the snapshot of this pipeline's tables again and start from its position"
_PURGED = (
    "could not find first log file name",
    "purged required binary logs",
    "purged binary logs",
    "required binlog files have been purged",
    "slave state is too old",
    "could not find gtid state requested",
)
_CHANGED = (
    "replica has more gtids",
    "slave has more gtids",
    "which is not in the master's binlog",
    "missing the gtid",
    "impossible position",
    "position > file size",
)
_SAME_ID = ("same server_uuid/server_id", "same server_id", "a slave with the same")
_CORRUPT = (
    "binlog truncated in the middle of event",
    "bogus data in log event",
    "event read from binlog did not pass crc",
    "corrupt",
    "log event entry exceeded max_allowed_packet",
)
_ACCESS = {1044, 1045, 1142, 1227, 1698, 3118, 4151}
_GONE = {1040, 1053, 1077, 1079, 1152, 1158, 1159, 1160, 1161, 1203, 1317, 1927, 2003, 2006, 2013}
_KILLED_BY_TWIN = 4052


def dump_error(code: int, text: str, where: str, server_id: int) -> CdcError | ConnectionLost:
    """Return the error a server's refusal means.

    Texts, not only numbers, decide: every refusal of a dump has number 1236.

    Args:
        code: The server's error number.
        text: Its message.
        where: The position that was asked for.
        server_id: The id this reader introduced itself with.
    """
    low = text.lower()
    said = f"the server says ({code}): {text}"
    if code == _KILLED_BY_TWIN or any(t in low for t in _SAME_ID):
        return ConfigError(
            f"another reader uses server_id {server_id} on this server; {said}",
            where=where,
            remedy="give each pipeline its own source.server_id",
        )
    if code in _ACCESS:
        return access_error(code, text)
    if any(t in low for t in _PURGED):
        return PositionPurged(
            f"the log at {where} is gone from the server; {said}",
            where=where,
            remedy=f"{_SNAPSHOT_AGAIN}; keep logs longer: binlog_expire_logs_seconds",
        )
    if any(t in low for t in _CHANGED):
        return ServerChanged(
            f"the server does not have what was already read from it; {said}",
            where=where,
            remedy=f"find out which transactions were lost, then {_SNAPSHOT_AGAIN}",
        )
    if any(t in low for t in _CORRUPT):
        return CorruptEvent(f"the server cannot read its log; {said}", where=where)
    if code in _GONE:
        return ConnectionLost(said)
    return ConfigError(f"the server refused the dump; {said}", where=where)


def access_error(code: int, text: str) -> CdcError:
    """Return the error for a refused login or a missing privilege; never retried."""
    return ConfigError(
        f"the server refused the account ({code}): {text}",
        remedy="check user and password; GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.*",
    )


def connect_error(code: int, text: str) -> CdcError | ConnectionLost:
    """Return the error a failed login means."""
    if code in _ACCESS:
        return access_error(code, text)
    if code in _GONE:
        return ConnectionLost(f"({code}) {text}")
    return SourceUnavailable(f"login failed ({code}): {text}")
