"""What PostgreSQL's errors mean here.

In: errors of psycopg. Out: errors of the tree, without values and passwords. Codes:
https://www.postgresql.org/docs/18/errcodes-appendix.html
"""

from __future__ import annotations

import re

import psycopg
from psycopg import errors

from resources.errors import (
    CdcError,
    ConfigError,
    DirtyRowError,
    SchemaMismatch,
    SinkUnavailable,
    TerminalError,
)
from resources.sinks.bisect import Refusal
from resources.sinks.ledger_sql import TABLES
from resources.sinks.shape import RESERVED_NAMESPACE

_REFUSED = ("22", "23")
_ROW_LIMITS = frozenset({"54000", "P0001"})
"""A key too long for an index or a row too wide for a page; a trigger that raises an error."""
# Codes, and classes of codes, of what passes by itself or by help from outside.
_LATER = {
    "08": "check that the server runs and can be reached from here",
    "25006": "the server takes no writes: name the primary server, or wait for its fail-over",
    "40": "run again: another transaction was in the way",
    "53": "free disk space or memory on the server, or raise its max_connections",
    "55006": "another session uses it: see pg_stat_activity",
    "55P03": "another session holds a lock: see pg_locks, or raise `lock_timeout`",
    "57": "run again when the server is up",
    "58": "look into the server's log: it cannot read or write its files",
}
_SCHEMA = frozenset({"3F000", "42P01", "42703", "42804", "42P10"})
_DEPENDED_ON = frozenset({"2BP01", "0A000"})
_WRONG_ADDRESS = (
    *("authentication failed", "pg_hba.conf", "does not exist", "no password supplied"),
    *("invalid sslmode", "root certificate file", "certificate verify failed"),
    *("is not permitted to log in", "server does not support SSL", "invalid integer value"),
)


def translate(error: psycopg.Error, where: str) -> CdcError:
    """Return the error of the tree for one of psycopg's.

    Args:
        error: It; its texts may hold values, so only those that cannot are shown.
        where: The table concerned.
    """
    code = error.sqlstate or ""
    if code == "23505" and _is_own(error.diag):
        return SinkUnavailable(
            "another writer made the same thing at the same time", where=where, remedy="run again"
        )
    if code[:2] in _REFUSED or code in _ROW_LIMITS:
        refused = refusal(error)
        return DirtyRowError(refused.message, field=refused.field, where=where)
    said = f"{_name(code)}: {error.diag.message_primary or ''}".rstrip(": ")
    if code == "42501":
        return ConfigError(
            f"the sink's user may not do this: {error.diag.message_primary}",
            where=where,
            remedy="grant it CREATE and TEMPORARY on the database and SELECT, INSERT, UPDATE, "
            "DELETE on the tables, or make it their owner",
        )
    if code in _SCHEMA:
        return SchemaMismatch(
            f"a table or column is not there any more ({said})",
            where=where,
            remedy="materialize the table's snapshot partition",
        )
    if code in _DEPENDED_ON:
        return ConfigError(
            f"PostgreSQL does not allow it: {error.diag.message_primary}",
            where=where,
            remedy=f"drop what stands in the way first: {error.diag.message_detail or said}",
        )
    remedy = _LATER.get(code) or _LATER.get(code[:2])
    if remedy:
        return SinkUnavailable(said, where=where, remedy=remedy)
    if not code and isinstance(error, psycopg.OperationalError):
        return SinkUnavailable("the connection was lost", where=where, remedy=_LATER["08"])
    return TerminalError(f"PostgreSQL refused the statement ({said})", where=where)


def refusal(error: psycopg.Error) -> Refusal:
    """Return why a row was refused: the constraint or the kind of error, never the value."""
    diag, code = error.diag, error.sqlstate or ""
    column = diag.column_name or _copied_column(diag.context or "")
    if code == "23502":
        return Refusal(column, "NULL in a column the table declares NOT NULL")
    if code == "23505":
        return Refusal(
            column, f"the unique constraint {diag.constraint_name} has the value already"
        )
    if diag.constraint_name:
        return Refusal(column, f"refused by the constraint {diag.constraint_name}")
    if code == "22021":
        return Refusal(column, "text that is not valid UTF-8")
    if code == "54000":
        return Refusal(column, "a key too long for its index, or a row too wide for a page")
    if code == "P0001":
        return Refusal(column, "refused by a trigger of the table")
    return Refusal(column, f"PostgreSQL cannot hold a value ({_name(code)})")


def not_reached(error: psycopg.Error, where: str, password: str) -> CdcError:
    """Return the error of a connection that could not be opened."""
    text = str(error).strip().replace(password, "***") if password else str(error).strip()
    line = text.splitlines()[-1] if text else type(error).__name__
    code = error.sqlstate or ""
    if code[:2] in ("28", "3D") or any(words in text for words in _WRONG_ADDRESS):
        return ConfigError(
            f"PostgreSQL does not let us in: {line}",
            where=where,
            remedy="check host, database, user, password and sslmode of the sink",
        )
    return SinkUnavailable(f"no connection: {line}", where=where, remedy=_LATER["08"])


def _is_own(diag: psycopg.errors.Diagnostic) -> bool:
    """Return whether a row is PostgreSQL's or the ledger's own, and not one of a load."""
    ledger = diag.schema_name == RESERVED_NAMESPACE and diag.table_name in TABLES
    return ledger or diag.schema_name == "pg_catalog"


def _name(code: str) -> str:
    """Return a code with its name, `53100 DiskFull`."""
    try:
        return f"{code} {errors.lookup(code).__name__}"
    except KeyError:
        return code


def _copied_column(context: str) -> str:
    """Return the column that a COPY was reading, by the context of its error."""
    found = (
        re.match(r"COPY .+, line \d+, column (.+?)(?:: .*)?$", context.splitlines()[0])
        if (context)
        else None
    )
    return found[1] if found else ""
