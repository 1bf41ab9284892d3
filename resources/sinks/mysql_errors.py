"""What the errors and warnings of MySQL-family servers mean here.

In: errors of PyMySQL, rows of SHOW WARNINGS. Out: errors of the tree, without values and
passwords. Codes: https://dev.mysql.com/doc/mysql-errors/9.7/en/server-error-reference.html
"""

from __future__ import annotations

import re
import ssl

import pymysql

from resources.errors import (
    CdcError,
    ConfigError,
    DirtyRowError,
    SchemaMismatch,
    SinkUnavailable,
    TerminalError,
)
from resources.sinks.bisect import Refusal

_GRANTS = "CREATE, ALTER, DROP, INDEX, SELECT, INSERT, UPDATE, DELETE, LOCK TABLES"
_DENIED = frozenset({1044, 1045, 1049, 1130, 1142, 1143, 1227, 1370, 1698, 3118, 3879, 4151})
_SCHEMA = frozenset({1054, 1146, 1049, 1051, 1091})
_ROWS = {
    1022: "another row has the value of a unique key",
    1048: "NULL in a column the table declares NOT NULL",
    1062: "another row has the value of a unique key",
    1216: "refused by a foreign key",
    1217: "refused by a foreign key",
    1263: "NULL in a column the table declares NOT NULL",
    1265: "a value would be cut",
    1264: "a number beyond the range of the column",
    1292: "a date or time the column cannot hold",
    1300: "text that is not valid UTF-8",
    1366: "a value that is no value of the column's type",
    1406: "a value longer than the column",
    1416: "bytes that are no geometry",
    1451: "refused by a foreign key",
    1452: "refused by a foreign key",
    1644: "refused by a trigger of the table",
    3140: "text that is no JSON",
    3141: "text that is no JSON",
    3156: "text that is no JSON",
    3819: "refused by a CHECK constraint",
    4025: "refused by a CHECK constraint",
    1118: "a row longer than a page of the table holds",
    1153: "a row longer than `max_allowed_packet` of the server",
    1071: "a key longer than its index holds",
    1030: "the storage engine refused the row",
}
_JSON = frozenset({3140, 3141, 3156})
_DISK = frozenset({1021, 1114, 1041, 1037, 1038, 3, 1026} | {4013, 4030, 4184, 4264})
"""The last ones are OceanBase's own: no memory, no space for data, none for the log."""
_READ_ONLY = frozenset({1290, 1836, 1792})
_WAIT = frozenset({1205, 3572})
_REPEAT = frozenset({1213, 1613, 1412, 1684, 6002, 6005, 4012})
_AWAY = frozenset(
    {1040, 1042, 1053, 1077, 1079, 1080, 1152, 1154, 1155, 1156, 1157, 1158, 1159, 1160}
    | {1161, 1184, 1203, 1317, 1927, 1969, 2002, 2003, 2006, 2012, 2013, 2014, 2055, 3024, 3169}
    | {4031, 0}
)
_UP = "check that the server runs and can be reached from here"
_SILENT = "see in the server's log whether it waits for disk space, or has too much to do"
_LOST = 2013
_TLS = (
    "give `ca`, the file with the certificate of the authority that signed the server's, and a "
    "`host` that the certificate names; or `tls: {mode: require}` or `tls: {mode: off}`"
)


def code_of(error: BaseException) -> int:
    """Return a server's or client's error code, 0 if there is none."""
    first = error.args[0] if error.args else 0
    return first if isinstance(first, int) else 0


def translate(error: pymysql.err.MySQLError, where: str) -> CdcError:
    """Return the error of the tree for one of PyMySQL's.

    Args:
        error: It; its texts may hold values, so only those that cannot are shown.
        where: The table concerned.
    """
    code = code_of(error)
    text = str(error.args[1]) if len(error.args) > 1 else ""
    if code in _DENIED:
        return ConfigError(
            f"the sink's user may not do this: {text} ({code})",
            where=where,
            remedy=f"GRANT {_GRANTS} on the databases of the targets and on `_cdc`.* to it",
        )
    if code == 3750:
        return ConfigError(
            "the server wants a primary key in every table (sql_require_primary_key)",
            where=where,
            remedy="SET PERSIST sql_generate_invisible_primary_key = ON, or give the table a key",
        )
    if code in _SCHEMA:
        return SchemaMismatch(
            f"a table or column is not there any more: {text} ({code})",
            where=where,
            remedy="materialize the table's snapshot partition",
        )
    if code in _ROWS:
        refused = refusal(code, text)
        return DirtyRowError(refused.message, field=refused.field, where=where)
    if code == _LOST and "timed out" in text:
        return SinkUnavailable(
            f"the server did not answer any more (error {code})", where=where, remedy=_SILENT
        )
    remedy = _later(code)
    if remedy or isinstance(error, pymysql.err.InterfaceError):
        said = "the connection was lost" if code in _AWAY else "the server cannot do it now"
        return SinkUnavailable(f"{said} (error {code})", where=where, remedy=remedy or _UP)
    return TerminalError(f"the server refused the statement (error {code})", where=where)


def _later(code: int) -> str:
    if code in _DISK:
        return "free disk space or memory on the server"
    if code in _READ_ONLY:
        return "the server takes no writes: name the primary server, or wait for its fail-over"
    if code in _WAIT:
        return "another session holds a lock: see SHOW PROCESSLIST, or raise `lock_timeout`"
    if code in _REPEAT:
        return "run again: another transaction was in the way"
    return _UP if code in _AWAY else ""


def refusal(code: int, text: str) -> Refusal:
    """Return why a row was refused, and the column where the server names one."""
    match = re.search(
        r"[Cc]olumn [`'](?:[^'`]*`\.`[^'`]*`\.`)?(.+?)[`'](?: at row| cannot|\.?$)", text
    )
    column = match[1] if match else ""
    if code in _JSON:  # named with its table
        column = column.partition(".")[2] or column
    return Refusal(column, _ROWS.get(code, f"the server's warning {code}"))


def not_reached(error: Exception, where: str) -> CdcError:
    """Return the error of a connection that could not be opened."""
    cause = getattr(error, "original_exception", None) or error
    if isinstance(cause, ssl.SSLError):
        reason = getattr(cause, "verify_message", "") or cause.reason or "refused"
        return ConfigError(f"no TLS connection: {reason}", where=where, remedy=_TLS)
    code = code_of(error)
    text = str(error.args[1]) if len(error.args) > 1 else ""
    if code in _DENIED:
        return ConfigError(
            f"the server does not let us in: {text} ({code})",
            where=where,
            remedy="check host, user, password and tls of the sink",
        )
    if code == 2026:
        return ConfigError("the server offers no TLS", where=where, remedy=_TLS)
    return SinkUnavailable(f"no connection (error {code})", where=where, remedy=_UP)
