"""Which tables of a MySQL-family server can be polled, and how their gaps become final.

In: a connection. Out: polled tables or the reason why a table is none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pymysql
from pymysql.connections import Connection

from resources.model.source import Finding
from resources.model.table import TableId, TableSchema
from resources.mysql.catalog import read_schemas, rows_by_table
from resources.mysql.connection import mapped_errors
from resources.mysql.grants import read_grants
from resources.mysql.identifiers import quote_columns, quote_table
from resources.mysql.server import server_facts
from resources.sql.findings import gap_grace, key_not_unique, no_auto_increment, no_select
from resources.sql.flavor import PollTable, Proof

_BATCH = 1000
_COUNTING = (
    "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME FROM information_schema.COLUMNS "
    "WHERE EXTRA LIKE '%%auto_increment%%' AND TABLE_SCHEMA IN %s AND TABLE_NAME IN %s"
)
_UNIQUE = (
    "SELECT TABLE_SCHEMA, TABLE_NAME, MIN(COLUMN_NAME), INDEX_NAME "
    "FROM information_schema.STATISTICS "
    "WHERE NON_UNIQUE = 0 AND TABLE_SCHEMA IN %s AND TABLE_NAME IN %s "
    "GROUP BY TABLE_SCHEMA, TABLE_NAME, INDEX_NAME HAVING COUNT(*) = 1 AND COUNT(SUB_PART) = 0"
)
_ENGINES = (
    "SELECT TABLE_SCHEMA, TABLE_NAME, ENGINE FROM information_schema.TABLES "
    "WHERE TABLE_SCHEMA IN %s AND TABLE_NAME IN %s"
)
_SETTINGS = (
    "SHOW GLOBAL VARIABLES WHERE Variable_name IN "
    "('auto_increment_increment', 'read_only', 'wsrep_on')"
)
_APPLIERS = (
    "SELECT COUNT(*) FROM information_schema.PROCESSLIST "
    "WHERE USER = 'system user' AND COMMAND <> 'Daemon'"
)
_ACCESS_DENIED = 1227
_NO_SELECT = frozenset({1142, 1143})
_WANTED = "a column `id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY`"
_LONGER = "make `grace` longer than the longest writing transaction"


@dataclass(frozen=True)
class Guarantee:
    """How gaps on a server become final.

    Args:
        step: `auto_increment_increment`.
        weak: Why open transactions prove nothing, empty if they do.
        remedy: What would mend that.
    """

    step: int
    weak: str = ""
    remedy: str = ""


def describe(
    connection: Connection[Any], tables: Sequence[TableId], keys: Mapping[TableId, str]
) -> tuple[list[PollTable], list[Finding]]:
    """Return what can be polled of `tables`, and why the others cannot."""
    read = read_schemas(connection, tables)
    findings = list(read.findings)
    counting = _by_table(connection, _COUNTING, tables)
    unique = _by_table(connection, _UNIQUE, tables)
    engines = _by_table(connection, _ENGINES, tables)
    guarantee = guarantee_of(connection)
    grants = read_grants(connection)
    found: list[PollTable] = []
    for table, schema in sorted(read.schemas.items()):
        single = {row[0] for row in unique.get(table, [])}
        counted = {row[0] for row in counting.get(table, [])}
        if not (grants.may_select(table) or _can_be_read(connection, schema)):
            findings.append(no_select(table))
            continue
        key = keys.get(table) or next(iter(counted & single), "")
        refusal = _refusal(schema, key, single)
        if refusal is not None:
            findings.append(refusal)
            continue
        engine = engines[table][0][0]
        proof, warning = _proof(table, key in counted, engine, guarantee)
        findings += [warning] if warning else []
        step = guarantee.step if key in counted else 1
        found.append(PollTable(schema if schema.key else schema.with_key((key,)), key, proof, step))
    if guarantee.weak and found:
        findings.append(gap_grace(None, guarantee.weak, guarantee.remedy))
    return found, findings


def guarantee_of(connection: Connection[Any]) -> Guarantee:
    """Ask a server whether its open transactions tell who may own an absent id."""
    settings = dict(_rows(connection, _SETTINGS))
    step = int(settings.get("auto_increment_increment", 1))
    if server_facts(connection).flavor == "oceanbase":
        why = "OceanBase hands ids out in blocks per server and lists no transactions"
        return Guarantee(step, why, f"{_LONGER}; create tables with AUTO_INCREMENT_MODE = 'ORDER'")
    if settings.get("wsrep_on") == "ON" or step > 1:
        return Guarantee(step, "several servers hand out ids (auto_increment_increment)", _LONGER)
    if settings.get("read_only") not in {"OFF", "0"}:
        why = "the server is a read-only replica, and the transactions are open on its source"
        return Guarantee(step, why, "poll the server that takes the writes")
    try:
        _rows(connection, "SELECT COUNT(*) FROM information_schema.INNODB_TRX")
    except pymysql.err.MySQLError as error:
        if error.args[0] != _ACCESS_DENIED:
            raise
        return Guarantee(step, "PROCESS is not granted", "GRANT PROCESS ON *.* TO CURRENT_USER()")
    if _rows(connection, _APPLIERS)[0][0]:
        why = "the server applies rows whose ids another server gave out"
        return Guarantee(step, why, "poll the server that takes the writes")
    return Guarantee(step)


def _can_be_read(connection: Connection[Any], schema: TableSchema) -> bool:
    """Ask the server itself: grants may be those of single columns, or of a role."""
    listed = quote_columns(tuple(schema.names))
    try:
        _rows(connection, f"SELECT {listed} FROM {quote_table(schema.table)} LIMIT 0")  # noqa: S608
    except pymysql.err.MySQLError as error:
        if error.args[0] not in _NO_SELECT:
            raise
        return False
    return True


def _refusal(schema: TableSchema, key: str, single: set[str]) -> Finding | None:
    integers = {c.name for c in schema.columns if pa.types.is_integer(c.type)}
    if key not in integers:
        return no_auto_increment(schema.table, _WANTED)
    return None if key in single else key_not_unique(schema.table, key)


def _proof(
    table: TableId, counted: bool, engine: str, guarantee: Guarantee
) -> tuple[Proof, Finding | None]:
    if guarantee.weak:
        return "grace", None
    if not counted:
        return "grace", gap_grace(table, "its ids do not come from AUTO_INCREMENT", _LONGER)
    if engine != "InnoDB":
        return "grace", gap_grace(table, f"engine {engine} lists no transactions", _LONGER)
    return "transactions", None


def _by_table(
    connection: Connection[Any], statement: str, tables: Sequence[TableId]
) -> dict[TableId, list[tuple[Any, ...]]]:
    wanted = sorted(set(tables))
    found: dict[TableId, list[tuple[Any, ...]]] = defaultdict(list)
    for first in range(0, len(wanted), _BATCH):
        batch = set(wanted[first : first + _BATCH])
        with mapped_errors("information_schema"):
            for table, rest in rows_by_table(connection, statement, batch):
                found[table].append(rest)
    return found


def _rows(connection: Connection[Any], statement: str) -> Sequence[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        rows: Sequence[tuple[Any, ...]] = cursor.fetchall()
        return rows
