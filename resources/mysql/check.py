"""The check before start: what a server, an account or a table lacks, and what mends it.

In: a connection, the tables selected and their schemas. Out: findings, each with a statement.
Settings of the log can also be changed by a single client session; the stream guards against
those event by event.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pymysql.connections import Connection

from resources.model.source import Finding
from resources.model.table import TableId, TableSchema
from resources.mysql.connection import MySQLSettings
from resources.mysql.grants import Grants, read_grants
from resources.mysql.identifiers import quote_table
from resources.mysql.server import (
    ServerFacts,
    connected_replicas,
    derive_server_id,
    log_filters,
    replicates,
    server_facts,
)

_DAY_SECONDS = 86_400
_CASCADE = re.compile(
    r"\s*CONSTRAINT `((?:[^`]|``)+)` FOREIGN KEY .*ON (?:DELETE|UPDATE) (?:CASCADE|SET NULL)"
)
_VARIABLES = (
    "binlog_checksum",
    "binlog_expire_logs_auto_purge",
    "binlog_expire_logs_seconds",
    "binlog_format",
    "binlog_row_image",
    "binlog_row_metadata",
    "binlog_row_value_options",
    "expire_logs_days",
    "gtid_mode",
    "log_replica_updates",
    "log_slave_updates",
)


@dataclass(frozen=True)
class _Server:
    """What the rules look at."""

    connection: Connection[Any]
    settings: MySQLSettings
    facts: ServerFacts
    variables: Mapping[str, str]
    grants: Grants
    tables: Sequence[TableId]
    pipeline: str

    @property
    def mariadb(self) -> bool:
        return self.facts.flavor == "mariadb"

    def set_global(self, name: str, value: str) -> str:
        """The statement that sets a variable so that it outlives a restart."""
        if self.mariadb or self.facts.version < (8, 0, 0):
            return f"SET GLOBAL {name} = {value}; and {name} = {value.strip(chr(39))} in my.cnf"
        return f"SET PERSIST {name} = {value}"


def check_server(
    connection: Connection[Any],
    settings: MySQLSettings,
    tables: Sequence[TableId],
    schemas: Mapping[TableId, TableSchema],
    *,
    pipeline: str = "",
) -> list[Finding]:
    """Return everything that would stop or endanger a start.

    Args:
        connection: As the account the pipeline will use.
        settings: Of that pipeline.
        tables: The tables it selects.
        schemas: Those of them whose columns are all readable.
        pipeline: Its name, for the replica id; no check of the id without it.
    """
    facts = server_facts(connection)
    server = _Server(
        connection=connection,
        settings=settings,
        facts=facts,
        variables=_global_variables(connection),
        grants=read_grants(connection),
        tables=tables,
        pipeline=pipeline,
    )
    findings = [*_check_connection(server), *_check_select(server)]
    if not facts.log_bin:
        findings.append(_no_log(server))
    else:
        for rule in _LOG_RULES:
            findings.extend(rule(server))
    for schema in schemas.values():
        findings.extend(check_key(schema))
    return findings


def _global_variables(connection: Connection[Any]) -> dict[str, str]:
    with connection.cursor() as cursor:
        cursor.execute("SHOW GLOBAL VARIABLES WHERE Variable_name IN %s", (_VARIABLES,))
        return {name.lower(): str(value) for name, value in cursor.fetchall()}


def _check_connection(server: _Server) -> Iterator[Finding]:
    named, found = server.settings.flavor, server.facts.flavor
    if named != found:
        message = f"the pipeline says the source is {named}, the server says it is {found}"
        yield Finding("warning", "flavor", message, f"set the source's flavor to {found}")
    if server.settings.socket is None and server.settings.tls != "verify":
        message = f"tls is `{server.settings.tls}`: the server's certificate is not verified"
        yield Finding("warning", "tls", message, "set tls to `verify` and give `ca`")


def _no_log(server: _Server) -> Finding:
    if server.facts.flavor == "oceanbase":
        message = "this OceanBase server offers no binary log; snapshot and polling work"
        remedy = "set up OceanBase Binlog Service and connect to it, or poll the tables"
    else:
        message = "the server writes no binary log"
        remedy = "start it with log_bin = binlog and server_id = 1 in its configuration file"
    return Finding("error", "log_bin", message, remedy)


def _check_format(server: _Server) -> Iterator[Finding]:
    demands = (
        ("binlog_format", "ROW", "other formats log statements instead of rows"),
        ("binlog_row_image", "FULL", "other images leave columns out"),
    )
    for name, value, reason in demands:
        found = server.variables.get(name, "(not there)")
        if found != value:
            message = f"{name} is {found}; {value} is needed: {reason}"
            yield Finding("error", name, message, server.set_global(name, f"'{value}'"))
    if "PARTIAL_JSON" in server.variables.get("binlog_row_value_options", ""):
        message = "binlog_row_value_options is PARTIAL_JSON: JSON columns are logged as differences"
        remedy = server.set_global("binlog_row_value_options", "''")
        yield Finding("error", "binlog_row_value_options", message, remedy)
    if server.variables.get("binlog_checksum") == "NONE":
        message = "binlog_checksum is NONE: damage to the log goes unnoticed"
        remedy = server.set_global("binlog_checksum", "'CRC32'")
        yield Finding("warning", "binlog_checksum", message, remedy)


def _check_metadata(server: _Server) -> Iterator[Finding]:
    name = "binlog_row_metadata"
    found = server.variables.get(name)
    if found is None:
        message = f"there is no {name}: MySQL 8.0.1 or MariaDB 10.5 is needed"
        yield Finding("error", name, message, "upgrade the server, or poll the tables")
    elif found != "FULL":
        message = (
            f"{name} is {found}: the log does not name its columns, so that names are kept by "
            "following DDL; a table whose DDL cannot be followed has to be read again"
        )
        yield Finding("warning", name, message, server.set_global(name, "'FULL'"))


def _check_retention(server: _Server) -> Iterator[Finding]:
    if server.variables.get("binlog_expire_logs_auto_purge") == "OFF":
        return
    seconds = int(float(server.variables.get("binlog_expire_logs_seconds", "0")))
    seconds = seconds or int(float(server.variables.get("expire_logs_days", "0")) * _DAY_SECONDS)
    if 0 < seconds < _DAY_SECONDS:
        name = "binlog_expire_logs_seconds"
        value = str(3 * _DAY_SECONDS)
        if name not in server.variables:
            name, value = "expire_logs_days", "3"
        message = f"logs are kept {seconds} s: a pipeline down for longer needs a new snapshot"
        yield Finding("warning", "retention", message, server.set_global(name, value))


def _check_gtid(server: _Server) -> Iterator[Finding]:
    if not server.facts.gtid:
        message = "gtid_mode is not ON: after a failover only a new snapshot helps"
        remedy = "enforce_gtid_consistency = ON, then gtid_mode step by step to ON"
        yield Finding("warning", "gtid_mode", message, remedy)


def _check_filters(server: _Server) -> Iterator[Finding]:
    if not server.grants.has(*_CLIENT_PRIVILEGES):
        return
    only, ignored = log_filters(server.connection, server.facts)
    for database in sorted({table.database for table in server.tables}):
        if database in ignored or (only and database not in only):
            message = f"the server does not log changes to database {database}"
            remedy = f"take {database} out of binlog_ignore_db or into binlog_do_db, and restart"
            yield Finding("error", "binlog_filter", message, remedy)


def _check_replica(server: _Server) -> Iterator[Finding]:
    variables = server.variables
    updates = variables.get("log_replica_updates", variables.get("log_slave_updates", "ON"))
    if updates == "OFF" and replicates(server.connection, server.facts):
        message = "the server is a replica that does not log what it replicates"
        remedy = "log_replica_updates = ON in its configuration file, and restart"
        yield Finding("error", "log_replica_updates", message, remedy)


_CLIENT_PRIVILEGES = ("REPLICATION CLIENT", "BINLOG MONITOR", "SUPER")


def _check_log_grants(server: _Server) -> Iterator[Finding]:
    client = "BINLOG MONITOR" if server.mariadb else "REPLICATION CLIENT"
    demands = (
        (("REPLICATION SLAVE",), "REPLICATION SLAVE", "reading the log"),
        (_CLIENT_PRIVILEGES, client, "asking for the log's position"),
    )
    for sufficient, name, purpose in demands:
        if not server.grants.has(*sufficient):
            message = f"{server.grants.account} lacks {name}, needed for {purpose}"
            remedy = f"GRANT {name} ON *.* TO {server.grants.account}"
            yield Finding("error", f"grant_{name.lower().replace(' ', '_')}", message, remedy)


def _check_select(server: _Server) -> Iterator[Finding]:
    for table in server.tables:
        if not server.grants.may_select(table):
            message = f"{server.grants.account} may not read {table} in full"
            remedy = f"GRANT SELECT ON {quote_table(table)} TO {server.grants.account}"
            yield Finding("error", "grant_select", message, remedy, table)


def _check_cascades(server: _Server) -> Iterator[Finding]:
    if not server.mariadb and server.facts.version >= (9, 6, 0):
        return
    for child in _children(server):
        constraints = _cascades(server.connection, child)
        if constraints:
            message = (
                f"foreign keys of {child} ({', '.join(constraints)}) change its rows when the "
                "parent changes, and this server does not log those changes"
            )
            remedy = (
                f"replace CASCADE and SET NULL by RESTRICT, or snapshot {child} again from time "
                "to time (MySQL 9.6 and later log such changes)"
            )
            yield Finding("warning", "foreign_key_cascade", message, remedy, child)


def _children(server: _Server) -> list[TableId]:
    """Return the selected tables that have foreign keys."""
    with server.connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT TABLE_SCHEMA, TABLE_NAME FROM information_schema.KEY_COLUMN_USAGE "
            "WHERE REFERENCED_TABLE_NAME IS NOT NULL"
        )
        found = {TableId(database, name) for database, name in cursor.fetchall()}
    return sorted(found.intersection(server.tables))


def _cascades(connection: Connection[Any], table: TableId) -> list[str]:
    """Return the foreign keys of a table that write to it.

    information_schema has their rules too, but MariaDB hides those from an account that may only
    read.
    """
    with connection.cursor() as cursor:
        cursor.execute(f"SHOW CREATE TABLE {quote_table(table)}")
        lines = str(cursor.fetchone()[1]).split("\n")
    return [match[1] for line in lines if (match := _CASCADE.match(line))]


def _check_server_id(server: _Server) -> Iterator[Finding]:
    own = server.settings.server_id
    if own is None:
        if not server.pipeline:
            return
        own = derive_server_id(server.pipeline, server.facts.identity)
    taken = connected_replicas(server.connection, server.facts) or set()
    if own == server.facts.server_id or own in taken:
        message = f"server_id {own} is in use by the server itself or by a connected replica"
        remedy = "set the source's server_id to a number nobody else uses"
        yield Finding("error", "server_id", message, remedy)


def check_key(schema: TableSchema) -> Iterator[Finding]:
    """Yield what stands in the way of merging a table by its key."""
    table = schema.table
    if not schema.key:
        message = f"{table} has neither a primary key nor a unique key without NULLs"
        remedy = f"ALTER TABLE {quote_table(table)} ADD PRIMARY KEY (…)"
        yield Finding("error", "no_key", message, remedy, table)
    for name in schema.key:
        if pa.types.is_floating(schema.column(name).type):
            message = f"{table}: key column {name} is a floating-point number; sinks may round it"
            remedy = f"ALTER TABLE {quote_table(table)} MODIFY `{name}` DECIMAL(…) NOT NULL"
            yield Finding("warning", "float_key", message, remedy, table)


_LOG_RULES: tuple[Callable[[_Server], Iterator[Finding]], ...] = (
    _check_format,
    _check_metadata,
    _check_retention,
    _check_gtid,
    _check_filters,
    _check_replica,
    _check_log_grants,
    _check_cascades,
    _check_server_id,
)
