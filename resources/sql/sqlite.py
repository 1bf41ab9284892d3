"""SQLite as a polled source.

In: a database file. Out: see `resources.sql.flavor.Flavor`.

A table needs `INTEGER PRIMARY KEY` (the rowid). SQLite has one writer at a time, who takes ids
upwards from the greatest there is while he holds the lock: whatever is absent below a committed
id stays absent, so gaps are final at once.

| declared type | Arrow | note |
|---|---|---|
| contains INT | int64 | |
| CHAR, CLOB, TEXT | string | invalid UTF-8 is a rejected row |
| BLOB, none | binary | |
| REAL, FLOA, DOUB | float64 | |
| BOOLEAN, BOOL | bool | stored 0 or 1 |
| DECIMAL(p,s), NUMERIC(p,s), p <= 15 | decimal128(p,s) | SQLite keeps 15 digits exactly |
| DATE | date32 | stored as ISO 8601 text |
| DATETIME, TIMESTAMP | timestamp[us] | stored as ISO 8601 text without zone |

A value that does not fit its declared type (SQLite allows that) is a rejected row; any other
declared type is refused.
"""

from __future__ import annotations

import functools
import re
import sqlite3
import time
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from resources.errors import ConfigError
from resources.model.position import ServerIdentity
from resources.model.source import Finding
from resources.model.table import Column, TableId, TableSchema
from resources.sql.connection import Database
from resources.sql.findings import (
    gap_grace,
    key_not_unique,
    no_auto_increment,
    unsupported_type,
)
from resources.sql.flavor import Page, PollTable, Where, select
from resources.sql.ledger import Survey
from resources.sql.result_set import Convert, of_type, page

_EXACT_DIGITS = 15
_COLUMNS = sa.text("""
SELECT x.name, x.type, x."notnull" AS required, x.pk, x.hidden, l.wr, l.type = 'view' AS is_view
FROM pragma_table_xinfo(:table) x, pragma_table_list(:table) l
WHERE x.hidden <> 1 AND l.schema = 'main' ORDER BY x.cid""")
_UNIQUE = sa.text("""
SELECT min(c.name) FROM pragma_index_list(:table) i, pragma_index_info(i.name) c
WHERE i."unique" AND NOT i.partial GROUP BY i.name HAVING count(*) = 1 AND count(c.name) = 1""")


def _decimals(values: Sequence[Any], target: pa.DataType) -> pa.Array:
    """Convert integers, and reals by their shortest decimal form."""
    if not frozenset((int, float, type(None))).issuperset(map(type, values)):
        raise ValueError("the value is not a number")
    exact = [None if v is None else Decimal(repr(v)) for v in values]
    return pa.array(exact, target)


def _iso(values: Sequence[Any], target: pa.DataType) -> pa.Array:
    text = of_type(str)(values, pa.string())
    moments = text.cast(pa.timestamp("us"))
    if pa.types.is_date(target):
        days = moments.cast(pa.date32(), safe=False)
        if pc.any(pc.not_equal(days.cast(pa.timestamp("us")), moments)).as_py():
            raise ValueError("the value has a time of day")
        return days
    return moments


def _flags(values: Sequence[Any], target: pa.DataType) -> pa.Array:
    if not frozenset((0, 1, None)).issuperset(values):
        raise ValueError("the value is neither 0 nor 1")
    return of_type(int)(values, pa.int64()).cast(target)


def arrow_type(declared: str) -> tuple[pa.DataType, Convert] | None:
    """Return the Arrow type of a declared type and its conversion; None if it is refused.

    Args:
        declared: The type as the CREATE TABLE statement has it.
    """
    words = declared.upper()
    name, _, arguments = words.partition("(")
    name = name.strip()
    if name in {"BOOLEAN", "BOOL"}:
        return pa.bool_(), _flags
    if name == "DATE":
        return pa.date32(), _iso
    if name in {"DATETIME", "TIMESTAMP"}:
        return pa.timestamp("us"), _iso
    if name in {"DECIMAL", "NUMERIC"}:
        numbers = [int(n) for n in re.findall(r"\d+", arguments)]
        precision, scale = [*numbers, 0][:2] if numbers else (0, 0)
        fits = 0 < precision <= _EXACT_DIGITS and scale <= precision
        return (pa.decimal128(precision, scale), _decimals) if fits else None
    # The order is that of https://www.sqlite.org/datatype3.html, 3.1.
    if "INT" in words:
        return pa.int64(), of_type(int)
    if any(part in words for part in ("CHAR", "CLOB", "TEXT")):
        return pa.string(), of_type(str)
    if not words or "BLOB" in words:
        return pa.binary(), of_type(bytes)
    if any(part in words for part in ("REAL", "FLOA", "DOUB")):
        return pa.float64(), of_type(float)
    return None


class SqliteFlavor:
    """SQLite, by the driver of the standard library."""

    def __init__(self, url: sa.URL, connect_args: Mapping[str, Any]) -> None:
        _demand_file(url)
        self.database = Database(url, connect_args, prepare=_prepare)

    def identity(self, connection: sa.Connection) -> ServerIdentity:
        """Return a constant: a SQLite file has no name of its own."""
        return ServerIdentity("sql", "sqlite")

    def list_tables(self, connection: sa.Connection) -> list[TableId]:
        """Return the tables of the main database."""
        return [TableId("main", name) for name in sa.inspect(connection).get_table_names()]

    def describe(
        self, connection: sa.Connection, tables: Sequence[TableId], keys: Mapping[TableId, str]
    ) -> tuple[list[PollTable], list[Finding]]:
        """Return what can be polled of `tables`, and why the others cannot."""
        found: list[PollTable] = []
        findings: list[Finding] = []
        for table in tables:
            rows = connection.execute(_COLUMNS, {"table": table.table}).all()
            if rows:
                columns, refused = _columns(table, rows)
                unique = set(connection.execute(_UNIQUE, {"table": table.table}).scalars())
                polled, said = _poll_table(table, rows, columns, keys.get(table, ""), unique)
                findings += refused + said
                found += [polled] if polled and not refused else []
        return found, findings

    def survey(self, connection: sa.Connection, tables: Sequence[PollTable]) -> Survey:
        """Return that nothing is open: a writer who has committed was the only one."""
        # The file is on this machine, and so is its clock.
        now = time.time_ns() // 1000
        return Survey(now, {t.id: () if t.proof == "serial" else None for t in tables})

    def read(
        self, connection: sa.Connection, table: PollTable, where: Where, limit: int | None
    ) -> Page:
        """Return rows in the order of the key."""
        rows = connection.execute(select(table, list(table.clause.c), where, limit)).all()
        converts = [_convert(column) for column in table.schema.columns]
        return page(table.schema, table.key, converts, rows)


def _demand_file(url: sa.URL) -> None:
    """Refuse a file that is not there, since SQLite would make an empty one."""
    if not url.database or url.database == ":memory:" or not Path(url.database).is_file():
        raise ConfigError(
            "the database file does not exist",
            where=f"sqlite:///{url.database or ''}",
            remedy="give the path of an existing file, sqlite:////absolute/path.db",
        )


def _prepare(connection: sqlite3.Connection) -> None:
    # Undecodable text must reach the row it is in, not end the whole page.
    connection.text_factory = functools.partial(str, encoding="utf-8", errors="surrogateescape")
    connection.execute("PRAGMA query_only = ON")


def _columns(table: TableId, rows: Sequence[sa.Row[Any]]) -> tuple[list[Column], list[Finding]]:
    columns: list[Column] = []
    refused: list[Finding] = []
    for row in rows:
        chosen = arrow_type(row.type)
        if chosen is None:
            refused.append(unsupported_type(table, row.name, row.type))
            continue
        columns.append(
            Column(
                row.name,
                chosen[0],
                source_type=row.type.lower(),
                nullable=not (row.required or row.pk),
                generated=row.hidden in {2, 3},
            )
        )
    return columns, refused


def _poll_table(
    table: TableId,
    rows: Sequence[sa.Row[Any]],
    columns: Sequence[Column],
    declared: str,
    unique: set[str],
) -> tuple[PollTable | None, list[Finding]]:
    primary = [row.name for row in sorted(rows, key=lambda row: row.pk) if row.pk]
    rowid = [r.name for r in rows if r.pk and r.type.upper() == "INTEGER" and not r.wr]
    counted = rowid[0] if len(primary) == 1 and rowid else ""
    key = declared or counted
    if key not in {c.name for c in columns if pa.types.is_integer(c.type)}:
        return None, [no_auto_increment(table, "an INTEGER PRIMARY KEY column")]
    schema = TableSchema(table, tuple(columns), tuple(primary) or (key,))
    if key == counted:
        return PollTable(schema, key, "serial"), []
    if primary != [key] and key not in unique and not rows[0].is_view:
        return None, [key_not_unique(table, key)]
    why = "its ids do not come from INTEGER PRIMARY KEY"
    remedy = "make `grace` longer than an application keeps an id before it writes it"
    return PollTable(schema, key, "grace"), [gap_grace(table, why, remedy)]


def _convert(column: Column) -> Convert:
    chosen = arrow_type(column.source_type)
    assert chosen is not None  # `describe` refused the table otherwise
    return chosen[1]
