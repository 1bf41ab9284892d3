"""What tables there are and what they look like, from information_schema.

In: a connection and patterns. Out: table ids and schemas, in a number of queries that does not
grow with the number of tables (one set per 2,000).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from pymysql.connections import Connection

from resources.errors import ConfigError
from resources.model.patterns import selects
from resources.model.source import Finding
from resources.model.table import Column, TableId, TableSchema
from resources.mysql.identifiers import quote_table
from resources.mysql.result_set import select_values
from resources.mysql.types import ColumnFacts, Unsupported, column_from_facts
from resources.mysql.working_copies import is_working_copy

SYSTEM_SCHEMAS = frozenset(
    {
        "mysql",
        "sys",
        "information_schema",
        "performance_schema",
        "ndbinfo",
        "mysql_innodb_cluster_metadata",
    }
    | {"oceanbase", "__recyclebin", "__public", "lbacsys", "oraauditor"}
)
_BATCH = 2000
_COLUMNS = """
SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, COLUMN_TYPE, NUMERIC_PRECISION, NUMERIC_SCALE,
       CHARACTER_SET_NAME, IS_NULLABLE, EXTRA, COLUMN_COMMENT
FROM information_schema.COLUMNS
WHERE TABLE_SCHEMA IN %s AND TABLE_NAME IN %s
ORDER BY TABLE_SCHEMA, TABLE_NAME, ORDINAL_POSITION"""
_UNIQUE = """
SELECT TABLE_SCHEMA, TABLE_NAME, INDEX_NAME, COLUMN_NAME, SUB_PART
FROM information_schema.STATISTICS
WHERE NON_UNIQUE = 0 AND TABLE_SCHEMA IN %s AND TABLE_NAME IN %s
ORDER BY TABLE_SCHEMA, TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX"""
_TABLES = """
SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_COMMENT
FROM information_schema.TABLES
WHERE TABLE_TYPE = 'BASE TABLE' AND TABLE_SCHEMA IN %s AND TABLE_NAME IN %s"""


@dataclass(frozen=True)
class TablePatterns:
    """Which tables a pipeline selects.

    The tables that schema change tools work with are selected only by a pattern that names them
    without wildcards: `shop.*` does not mean `shop._orders_gho`.

    Args:
        include: fnmatch patterns `database.table`; the first dot divides.
        exclude: Patterns that win over `include`.
        fold_case: Whether the server ignores case in names (`lower_case_table_names` not 0).
    """

    include: tuple[str, ...]
    exclude: tuple[str, ...] = ()
    fold_case: bool = False

    def __post_init__(self) -> None:
        """Refuse patterns without a dot, which would match nothing in silence."""
        for pattern in (*self.include, *self.exclude):
            if "." not in pattern:
                raise ConfigError(
                    f"table pattern {pattern!r} names no database",
                    remedy="write it as `database.table`, e.g. `shop.*`",
                )

    def match(self, table: TableId) -> bool:
        """Return whether a table is selected; tables of the server's own schemas never are."""
        if table.database.lower() in SYSTEM_SCHEMAS:
            return False
        include = self.include
        if is_working_copy(table.table):
            include = tuple(p for p in include if self._is_name(p.partition(".")[2], table.table))
        return selects(include, self.exclude, table, self.fold_case)

    def _is_name(self, pattern: str, name: str) -> bool:
        """Return whether the part of a pattern after its first dot is just a table's name."""
        return pattern.lower() == name.lower() if self.fold_case else pattern == name


@dataclass(frozen=True)
class CatalogRead:
    """What a look into the catalog gave.

    Args:
        schemas: Readable tables.
        findings: One error per table that holds columns without exact counterpart.
    """

    schemas: dict[TableId, TableSchema] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


def folds_case(connection: Connection[Any]) -> bool:
    """Return whether the server ignores case in database and table names."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@lower_case_table_names")
        return int(cursor.fetchone()[0]) != 0


def list_tables(connection: Connection[Any], patterns: TablePatterns) -> list[TableId]:
    """Return the base tables the patterns select, sorted; views and system schemas never."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES "
            "WHERE TABLE_TYPE = 'BASE TABLE'"
        )
        found = (TableId(database, table) for database, table in cursor.fetchall())
        return sorted(table for table in found if patterns.match(table))


def read_schemas(connection: Connection[Any], tables: Sequence[TableId]) -> CatalogRead:
    """Return the schemas of tables as the server has them now; tables that are gone are left out.

    The key is the primary key, else the first defined unique index without NULLs, prefixes and
    expressions: the one the server itself logs as the key.

    Args:
        connection: Of `connection.connect`.
        tables: Spelled as the server spells them.
    """
    result = CatalogRead()
    wanted = sorted(set(tables))
    for begin in range(0, len(wanted), _BATCH):
        batch = set(wanted[begin : begin + _BATCH])
        comments = {t: row[0] for t, row in rows_by_table(connection, _TABLES, batch)}
        indexes = _unique_indexes(rows_by_table(connection, _UNIQUE, batch))
        for table, facts in _columns(rows_by_table(connection, _COLUMNS, batch)).items():
            if table in comments:
                unique = _as_defined(connection, table, indexes.get(table, {}))
                _add(result, table, facts, unique, comments[table])
    return result


def rows_by_table(
    connection: Connection[Any], statement: str, batch: set[TableId]
) -> Iterator[tuple[TableId, tuple[Any, ...]]]:
    """Yield what a query of information_schema says of tables: the table, then its other columns.

    Args:
        connection: Of `connection.connect`.
        statement: Selects database and name first; takes the databases and the names as lists.
        batch: The tables.
    """
    # Databases and names are matched apart, so that thousands of shards stay one query; the
    # cross product's surplus is dropped here.
    databases = sorted({t.database for t in batch})
    names = sorted({t.table for t in batch})
    rows = list(select_values(connection, statement, (databases, names), "information_schema"))
    for database, name, *rest in rows:
        table = TableId(database, name)
        if table in batch:
            yield table, tuple(rest)


def _columns(
    rows: Iterable[tuple[TableId, tuple[Any, ...]]],
) -> dict[TableId, list[ColumnFacts]]:
    found: dict[TableId, list[ColumnFacts]] = defaultdict(list)
    for table, (name, column_type, precision, scale, charset, nullable, extra, comment) in rows:
        facts = ColumnFacts(
            name=name,
            column_type=column_type,
            precision=precision,
            scale=scale,
            charset=charset or "",
            nullable=nullable == "YES",
            extra=extra or "",
            comment=comment or "",
        )
        found[table].append(facts)
    return found


_Index = list[tuple[str | None, int | None]]


def _unique_indexes(
    rows: Iterable[tuple[TableId, tuple[Any, ...]]],
) -> dict[TableId, dict[str, _Index]]:
    found: dict[TableId, dict[str, _Index]] = defaultdict(lambda: defaultdict(list))
    for table, (index, column, prefix) in rows:
        found[table][index].append((column, prefix))
    return found


def _as_defined(
    connection: Connection[Any], table: TableId, indexes: dict[str, _Index]
) -> dict[str, _Index]:
    """Put unique indexes in the order of their definition, which information_schema lacks."""
    if "PRIMARY" in indexes or len(indexes) < 2:
        return indexes
    with connection.cursor() as cursor:
        cursor.execute(f"SHOW INDEX FROM {quote_table(table)}")
        order = {row[2]: number for number, row in reversed(list(enumerate(cursor.fetchall())))}
    return dict(sorted(indexes.items(), key=lambda item: order.get(item[0], len(order))))


def _add(
    result: CatalogRead,
    table: TableId,
    facts: list[ColumnFacts],
    indexes: dict[str, _Index],
    comment: str,
) -> None:
    columns: list[Column] = []
    for column in map(column_from_facts, facts):
        if isinstance(column, Unsupported):
            message = f"{table}: column {column.column}: {column.reason}"
            result.findings.append(
                Finding("error", "unsupported_type", message, column.remedy, table)
            )
        else:
            columns.append(column)
    if len(columns) == len(facts):
        key = choose_key({c.name: c.nullable for c in columns}, indexes)
        result.schemas[table] = TableSchema(table, tuple(columns), key, comment or "")


def choose_key(nullable: dict[str, bool], indexes: dict[str, _Index]) -> tuple[str, ...]:
    """Return the columns that identify a row, empty if none do.

    Args:
        nullable: Whether each column allows NULL, by name.
        indexes: Unique indexes by name, in the order they were defined: per part the column
            (None for an expression) and the prefix length (None for the whole column).
    """
    if primary := indexes.get("PRIMARY"):
        # A unique prefix makes the whole value unique too.
        return tuple(column for column, _ in primary if column is not None)
    for parts in indexes.values():
        columns = tuple(c for c, prefix in parts if c is not None and prefix is None)
        if len(columns) == len(parts) and not any(nullable[c] for c in columns):
            return columns
    return ()


def estimate_rows(connection: Connection[Any], table: TableId) -> int:
    """Return the server's row estimate, 0 if the table is gone."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT TABLE_ROWS FROM information_schema.TABLES "
            "WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s",
            (table.database, table.table),
        )
        row = cursor.fetchone()
    return int(row[0] or 0) if row else 0
