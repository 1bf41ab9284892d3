"""Shapes as the catalog has them, each with the place in the log at which it holds.

In: a connection, tables. Out: shapes and positions. A metadata lock, the one any SELECT takes, is
held on the tables while catalog and position are read: a DDL statement is in the log and in the
catalog before it gives its own lock back, so that what the catalog shows is exactly what the log
says up to that position, for these tables.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pymysql
from pymysql.connections import Connection

from resources.model.position import BinlogPosition
from resources.model.table import Column, TableId, TableSchema
from resources.mysql.binlog.gtid import Flavor
from resources.mysql.binlog.sql_tokens import ServerKind
from resources.mysql.catalog import read_schemas, rows_by_table
from resources.mysql.identifiers import quote_table
from resources.mysql.schema_history.character_sets import charset_name, has_characters
from resources.mysql.schema_history.shape import TableIndex, TableShape
from resources.mysql.server import ServerFacts, log_end

_BATCH = 50
_LOCK_SECONDS = 3
_BEYOND = "\U0001f600"
_SKIPPED = frozenset({1142, 1143, 1146, 1205, 1213, 1356, 1969, 3024})
"""Errors that concern one table: not granted, gone, locked, a victim of a deadlock."""
_STATISTICS = """
SELECT TABLE_SCHEMA, TABLE_NAME, NON_UNIQUE, INDEX_NAME, COLUMN_NAME, SUB_PART
FROM information_schema.STATISTICS
WHERE TABLE_SCHEMA IN %s AND TABLE_NAME IN %s
ORDER BY TABLE_SCHEMA, TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX"""
_AUTOMATIC = """
SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME FROM information_schema.COLUMNS
WHERE TABLE_SCHEMA IN %s AND TABLE_NAME IN %s AND EXTRA LIKE '%%auto_increment%%'"""
_CHARSETS = """
SELECT T.TABLE_SCHEMA, T.TABLE_NAME, C.CHARACTER_SET_NAME
FROM information_schema.TABLES T JOIN information_schema.COLLATIONS C
  ON C.COLLATION_NAME = T.TABLE_COLLATION
WHERE T.TABLE_SCHEMA IN %s AND T.TABLE_NAME IN %s"""


def server_kind(facts: ServerFacts) -> ServerKind:
    """Return what a server's statements are written for."""
    flavor: Flavor = "mariadb" if facts.flavor == "mariadb" else "mysql"
    return ServerKind.of(flavor, facts.version)


def read_shapes(
    connection: Connection[Any], facts: ServerFacts, tables: Sequence[TableId]
) -> Iterator[tuple[TableShape, BinlogPosition]]:
    """Yield the shapes of tables, each with a position up to which the log has made it so.

    Tables that are gone, cannot be decoded, or stay locked for seconds are left out, as are those
    whose labels the catalog may show wrongly: it has a question mark for what is beyond U+FFFF.

    Args:
        connection: Of `connection.connect`.
        facts: Who the server is.
        tables: Spelled as the server spells them.
    """
    wanted = sorted(set(tables))
    with _short_waits(connection):
        for begin in range(0, len(wanted), _BATCH):
            yield from _read(connection, facts, wanted[begin : begin + _BATCH])


def read_charsets(connection: Connection[Any]) -> dict[str, str]:
    """Return the default character set of every database."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT SCHEMA_NAME, DEFAULT_CHARACTER_SET_NAME FROM information_schema.SCHEMATA"
        )
        return {name: charset_name(charset.lower()) for name, charset in cursor.fetchall()}


@contextlib.contextmanager
def _short_waits(connection: Connection[Any]) -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@SESSION.lock_wait_timeout")
        (before,) = cursor.fetchone()
        cursor.execute(f"SET SESSION lock_wait_timeout = {_LOCK_SECONDS}")
        yield
        cursor.execute("SET SESSION lock_wait_timeout = %s", (before,))


def _read(
    connection: Connection[Any], facts: ServerFacts, batch: Sequence[TableId]
) -> list[tuple[TableShape, BinlogPosition]]:
    """Read a batch at once; where one table is in the way, each by itself."""
    try:
        with _locked(connection, batch):
            shapes = _shapes(connection, batch)
            position = log_end(connection, facts)
        return [(shape, position) for shape in shapes]
    except pymysql.err.MySQLError as error:
        if error.args[0] not in _SKIPPED:
            raise
    if len(batch) == 1:
        return []
    return [found for table in batch for found in _read(connection, facts, [table])]


@contextlib.contextmanager
def _locked(connection: Connection[Any], tables: Sequence[TableId]) -> Iterator[None]:
    """Hold the metadata locks of a SELECT on tables."""
    selects = [f"(SELECT 1 FROM {quote_table(table)} LIMIT 0)" for table in tables]  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute("START TRANSACTION READ ONLY")
        try:
            cursor.execute(" UNION ALL ".join(selects))
            yield
        finally:
            cursor.execute("ROLLBACK")


def _shapes(connection: Connection[Any], batch: Sequence[TableId]) -> list[TableShape]:
    tables = set(batch)
    schemas = read_schemas(connection, batch).schemas
    indexes: dict[TableId, dict[str, list[Any]]] = defaultdict(dict)
    for table, (not_unique, name, column, prefix) in rows_by_table(connection, _STATISTICS, tables):
        parts = indexes[table].setdefault(name, [not int(not_unique)])
        parts.append((column, int(prefix) if prefix and parts[0] else None))
    charsets = {table: row[0] for table, row in rows_by_table(connection, _CHARSETS, tables)}
    automatic = {t: name for t, (name,) in rows_by_table(connection, _AUTOMATIC, tables)}
    return [
        replace(
            _shape(connection, schema, charsets[table], indexes[table]),
            automatic=automatic.get(table, ""),
        )
        for table, schema in schemas.items()
        if table in charsets and not any(map(_has_doubtful_labels, schema.columns))
    ]


def _has_doubtful_labels(column: Column) -> bool:
    beyond = column.charset and has_characters(column.charset, _BEYOND)
    return bool(beyond) and any("?" in label for label in column.labels)


def _shape(
    connection: Connection[Any], schema: TableSchema, charset: str, found: dict[str, list[Any]]
) -> TableShape:
    indexes = [TableIndex(name, tuple(parts), unique) for name, (unique, *parts) in found.items()]
    if sum(index.unique for index in indexes) > 1:
        # Which of several is the key once the first is dropped goes by the server's own order.
        with connection.cursor() as cursor:
            cursor.execute(f"SHOW INDEX FROM {quote_table(schema.table)}")
            order = list(dict.fromkeys(row[2] for row in cursor.fetchall()))
        indexes.sort(key=lambda index: order.index(index.name))
    return TableShape(schema, charset_name(charset.lower()), tuple(indexes))
