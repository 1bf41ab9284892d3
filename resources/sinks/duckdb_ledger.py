"""The sink's own tables in a DuckDB file, made when it is opened, or brought up from version 1.

In: a connection. Out: `_cdc.watermarks`, `tables`, `loads` and `loaded_chunks` as this version
reads them.

Version 1 had watermarks by pipeline and target and one load per target. The source table was
named like the target then, so nothing is lost; a load's pipeline was not kept and is told from
the target's watermark, else by the first that goes on with the load.
"""

from __future__ import annotations

from contextlib import suppress

import duckdb

from resources.sinks.shape import RESERVED_NAMESPACE

_TABLES = (
    """CREATE TABLE IF NOT EXISTS {ledger}.watermarks(
        pipeline VARCHAR, source_database VARCHAR, source_table VARCHAR, namespace VARCHAR,
        target VARCHAR, seq UBIGINT NOT NULL, consistent_from UBIGINT NOT NULL,
        token UBIGINT NOT NULL, updated_at TIMESTAMPTZ NOT NULL,
        PRIMARY KEY (pipeline, source_database, source_table, namespace, target))""",
    """CREATE TABLE IF NOT EXISTS {ledger}.tables(
        namespace VARCHAR, target VARCHAR, arrow BLOB NOT NULL, PRIMARY KEY (namespace, target))""",
    """CREATE TABLE IF NOT EXISTS {ledger}.loads(
        namespace VARCHAR, target VARCHAR, load_id VARCHAR, pipeline VARCHAR NOT NULL,
        source_database VARCHAR NOT NULL, source_table VARCHAR NOT NULL, shadow VARCHAR NOT NULL,
        rows BIGINT, PRIMARY KEY (namespace, target, load_id))""",
    """CREATE TABLE IF NOT EXISTS {ledger}.loaded_chunks(
        namespace VARCHAR, target VARCHAR, load_id VARCHAR, chunk BIGINT, rows BIGINT NOT NULL,
        PRIMARY KEY (namespace, target, load_id, chunk))""",
)
_SET_ASIDE = (
    "ALTER TABLE {ledger}.watermarks RENAME TO watermarks_v1",
    "ALTER TABLE {ledger}.loads RENAME TO loads_v1",
)
_TAKE_OVER = (
    """INSERT INTO {ledger}.watermarks
        SELECT pipeline, namespace, target, namespace, target, seq, consistent_from, token,
            updated_at FROM {ledger}.watermarks_v1""",
    """INSERT INTO {ledger}.loads
        SELECT l.namespace, l.target, l.load_id, coalesce(one.pipeline, ''), l.namespace, l.target,
            l.shadow, CASE WHEN l.finished THEN coalesce(done.rows, 0) END
        FROM {ledger}.loads_v1 AS l
        LEFT JOIN (SELECT namespace, target, min(pipeline) AS pipeline
            FROM {ledger}.watermarks_v1 GROUP BY ALL HAVING count(*) = 1) AS one
        USING (namespace, target)
        LEFT JOIN (SELECT namespace, target, load_id, sum(rows) AS rows
            FROM {ledger}.loaded_chunks GROUP BY ALL) AS done
        USING (namespace, target, load_id)""",
    "DROP TABLE {ledger}.watermarks_v1",
    "DROP TABLE {ledger}.loads_v1",
)
_PROBE = """SELECT l.pipeline FROM {ledger}.watermarks, {ledger}.tables, {ledger}.loads AS l,
    {ledger}.loaded_chunks LIMIT 0"""
"""Fails where a table is missing or old; looking into DuckDB's catalog takes it 25 ms."""
_IS_OLD = """SELECT count(*) FROM duckdb_columns() WHERE database_name = current_database()
    AND schema_name = ? AND table_name = 'loads' AND column_name = 'finished'"""


def open_ledger(connection: duckdb.DuckDBPyConnection, ledger: str) -> None:
    """Create what is missing and bring up what is old, in one transaction.

    Args:
        connection: The open file.
        ledger: Quoted name of the sink's own schema, the database's name in front.
    """
    with suppress(duckdb.CatalogException, duckdb.BinderException):
        connection.execute(_PROBE.format(ledger=ledger))
        return
    connection.execute("BEGIN")
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {ledger}")
    is_old = connection.execute(_IS_OLD, [RESERVED_NAMESPACE]).fetchall()[0][0]
    old_first, old_last = (_SET_ASIDE, _TAKE_OVER) if is_old else ((), ())
    for statement in (*old_first, *_TABLES, *old_last):
        connection.execute(statement.format(ledger=ledger))
    connection.execute("COMMIT")
