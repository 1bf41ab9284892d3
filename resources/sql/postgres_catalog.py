"""What tables PostgreSQL has, what they look like, and what feeds their keys.

In: a connection. Out: polled tables or the reason why a table is none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from resources.model.source import Finding
from resources.model.table import Column, TableId, TableSchema
from resources.sql.findings import (
    gap_grace,
    key_not_unique,
    no_auto_increment,
    no_select,
    unsupported_type,
)
from resources.sql.flavor import PollTable, Proof
from resources.sql.postgres_types import postgres_type

_TABLES = sa.text("""
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
  AND n.nspname NOT IN ('information_schema', 'pg_catalog', 'pg_toast')""")
_WANTED = """
WITH wanted AS (
  SELECT c.oid, n.nspname, c.relname, c.relkind, c.relnamespace
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE (n.nspname, c.relname) IN (
    SELECT * FROM unnest(CAST(:schemas AS text[]), CAST(:names AS text[])))
)"""
_COLUMNS = sa.text(f"""{_WANTED}
SELECT w.nspname, w.relname, a.attname,
  CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, t.typtypmod)
       ELSE format_type(a.atttypid, a.atttypmod) END,
  ARRAY(SELECT enumlabel FROM pg_enum e WHERE e.enumtypid = t.oid ORDER BY e.enumsortorder),
  a.attnotnull, a.attgenerated <> '', col_description(w.oid, a.attnum),
  has_column_privilege(w.oid, a.attnum, 'SELECT')
FROM wanted w JOIN pg_attribute a ON a.attrelid = w.oid JOIN pg_type t ON t.oid = a.atttypid
WHERE a.attnum > 0 AND NOT a.attisdropped
ORDER BY w.nspname, w.relname, a.attnum""")  # noqa: S608 - both parts are constants
_INDEXES = sa.text(f"""{_WANTED}
SELECT w.nspname, w.relname, i.indisprimary,
  ARRAY(SELECT CAST(a.attname AS text) FROM unnest(i.indkey) WITH ORDINALITY k(n, place)
        JOIN pg_attribute a ON a.attrelid = w.oid AND a.attnum = k.n
        WHERE k.place <= i.indnkeyatts ORDER BY k.place)
FROM wanted w JOIN pg_index i ON i.indrelid = w.oid
WHERE i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL""")  # noqa: S608
_SEQUENCES = sa.text(f"""{_WANTED}, fed AS (
  SELECT w.nspname, w.relname, a.attname, d.refobjid AS sequence
  FROM wanted w JOIN pg_attrdef f ON f.adrelid = w.oid
  JOIN pg_attribute a ON a.attrelid = w.oid AND a.attnum = f.adnum
  JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid
    AND d.refclassid = 'pg_class'::regclass
  UNION
  SELECT w.nspname, w.relname, a.attname, d.objid
  FROM wanted w JOIN pg_attribute a ON a.attrelid = w.oid AND a.attidentity <> ''
  JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
    AND d.refobjid = w.oid AND d.refobjsubid = a.attnum AND d.deptype = 'i'
)
SELECT f.nspname, f.relname, f.attname, s.seqincrement, s.seqcache, s.seqcycle,
  format('%I.%I', n.nspname, c.relname), has_sequence_privilege(c.oid, 'SELECT')
FROM fed f JOIN pg_sequence s ON s.seqrelid = f.sequence
JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace""")  # noqa: S608
_SERVER = sa.text("""
SELECT pg_is_in_recovery(), EXISTS (SELECT FROM pg_stat_subscription WHERE pid IS NOT NULL),
  pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')""")
_LONGER = "make `grace` longer than the longest writing transaction"
_WANTED_KEY = "a primary key of GENERATED … AS IDENTITY or serial"


Rows = Mapping[TableId, list[tuple[Any, ...]]]


@dataclass(frozen=True)
class Server:
    """What decides how gaps become final, whatever the table.

    Args:
        replicated: Why rows may come from elsewhere, empty if they do not.
        sees_sessions: Whether we may see when each session began.
    """

    replicated: str
    sees_sessions: bool


def list_tables(connection: sa.Connection) -> list[TableId]:
    """Return the tables of users' schemas; partitions belong to their parent."""
    return [TableId(schema, name) for schema, name in connection.execute(_TABLES)]


def describe(
    connection: sa.Connection, tables: Sequence[TableId], keys: Mapping[TableId, str]
) -> tuple[list[PollTable], list[Finding]]:
    """Return what can be polled of `tables`, and why the others cannot."""
    columns = _grouped(connection, _COLUMNS, tables)
    unique = _grouped(connection, _INDEXES, tables)
    sequences = _grouped(connection, _SEQUENCES, tables)
    server = _server(connection)
    found: list[PollTable] = []
    findings: list[Finding] = []
    for table in tables:
        if table not in columns:
            continue
        schema = _schema(table, columns[table], unique.get(table, []), findings)
        if schema is None:
            continue
        indexes = [names for _, names in unique.get(table, [])]
        fed = {row[0]: row[1:] for row in sequences.get(table, [])}
        polled = _poll_table(schema, indexes, fed, keys.get(table, ""), server, findings)
        if polled is not None:
            found.append(polled)
    return found, findings


def _grouped(
    connection: sa.Connection, statement: sa.TextClause, tables: Sequence[TableId]
) -> Rows:
    names = {"schemas": [t.database for t in tables], "names": [t.table for t in tables]}
    found: dict[TableId, list[tuple[Any, ...]]] = defaultdict(list)
    for schema, name, *rest in connection.execute(statement, names):
        found[TableId(schema, name)].append(tuple(rest))
    return found


def _server(connection: sa.Connection) -> Server:
    standby, subscribed, sees = connection.execute(_SERVER).one()
    reason = ""
    if standby:
        reason = "the server is a standby, and the transactions are open on its primary"
    elif subscribed:
        reason = "a subscription brings rows whose ids another server gave out"
    return Server(reason, sees)


def _schema(
    table: TableId,
    rows: Sequence[tuple[Any, ...]],
    unique: Sequence[tuple[Any, ...]],
    findings: list[Finding],
) -> TableSchema | None:
    if not all(readable for *_, readable in rows):
        findings.append(no_select(table))
        return None
    columns: list[Column] = []
    for name, declared, labels, not_null, generated, comment, _ in rows:
        read = postgres_type(declared, enum=bool(labels))
        if isinstance(read, str):
            findings.append(unsupported_type(table, name, declared, read))
            continue
        columns.append(
            Column(
                name,
                read.arrow,
                source_type=declared,
                nullable=not not_null,
                kind=read.kind,
                labels=tuple(labels),
                generated=generated,
                comment=comment or "",
            )
        )
    if len(columns) < len(rows):
        return None
    required = {c.name for c in columns if not c.nullable}
    candidates = [(not p, len(n), tuple(n)) for p, n in unique if p or required.issuperset(n)]
    return TableSchema(table, tuple(columns), min(candidates)[2] if candidates else ())


def _poll_table(
    schema: TableSchema,
    unique: list[list[str]],
    fed: Mapping[str, tuple[Any, ...]],
    declared: str,
    server: Server,
    findings: list[Finding],
) -> PollTable | None:
    table = schema.table
    keyed = [name for name in fed if [name] in unique and not fed[name][2] and fed[name][0] > 0]
    key = declared or next(iter(keyed), "")
    integers = {c.name for c in schema.columns if pa.types.is_integer(c.type)}
    if key not in integers:
        findings.append(no_auto_increment(table, _WANTED_KEY))
        return None
    # A view has no index; whoever names it under `keys` vouches for it.
    if [key] not in unique and unique:
        findings.append(key_not_unique(table, key))
        return None
    if not schema.key:
        schema = schema.with_key((key,))
    if key not in fed:
        findings.append(gap_grace(table, "no sequence of its own feeds the key", _LONGER))
        return PollTable(schema, key, "grace")
    step, cache, _, sequence, readable = fed[key]
    proof, finding = _proof(table, step, cache, sequence, readable, server)
    findings += [finding] if finding else []
    return PollTable(schema, key, proof, step, sequence if readable else "")


def _proof(
    table: TableId, step: int, cache: int, sequence: str, readable: bool, server: Server
) -> tuple[Proof, Finding | None]:
    if server.replicated:
        return "grace", gap_grace(table, server.replicated, "poll the server that takes the writes")
    if not readable:
        grant = f"GRANT SELECT ON SEQUENCE {sequence} TO CURRENT_USER"
        return "grace", gap_grace(table, f"{sequence} cannot be read", grant)
    if step != 1:
        why = f"{sequence} counts in steps of {step}, so ids may be kept by applications"
        return "grace", gap_grace(table, why, _LONGER)
    if cache == 1:
        return "transactions", None
    if server.sees_sessions:
        return "sessions", None
    why = f"sessions cache {cache} ids of {sequence} each, and we may not see all sessions"
    return "grace", gap_grace(table, why, f"ALTER SEQUENCE {sequence} CACHE 1")
