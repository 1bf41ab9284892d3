"""ALTERs that give columns new definitions, and what became of the values: seen and told.

In: a server, definitions of columns before and after. Out: per conversion whether the server took
it, which values read otherwise, and whether the log's notice asks for the table to be read again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pymysql

from resources.model.table import TableId
from resources.mysql.connection import connect
from resources.mysql.identifiers import quote_table
from resources.mysql.result_set import select_arrow, select_list
from resources.mysql.source import MySQLSource
from tests.mysql.room import Room
from tests.mysql.schema_history.stage import kept_after

STRICT = "STRICT_TRANS_TABLES"
_NO_DATES = frozenset({"'0000-00-00'", "'2021-00-10'", "'2021-02-31 10:00:00'"})
_POOLS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "tinyint smallint mediumint int bigint decimal dec float double real bit bool",
        ("0", "1", "-1", "127", "-128", "255", "256", "32767", "65535", "65536", "8388607",
         "-8388609", "16777215", "16777217", "2147483647", "-2147483648", "4294967295",
         "9223372036854775807", "-9223372036854775808", "18446744073709551615", "0.1", "-0.5e0",
         "1.005", "123456.789", "99999999.99999999", "3.4028234e38", "1.1754944e-38", "1e-45",
         "1.7976931348623157e308", "5e-324", "-0e0", "1234567.891", "1e30"),
    ),
    (
        "date datetime timestamp year",
        ("'1970-01-01 00:00:01'", "'2038-01-19 03:14:07'", "'2021-10-31 00:30:00.123456'",
         "'2021-10-31 01:30:00.999999'", "'1000-01-01'", "'9999-12-31 23:59:59.999999'",
         "'2021-03-28 02:30:00'", "'0000-00-00'", "'2021-00-10'", "'2021-02-31 10:00:00'",
         "'2000'", "'1901'", "'0'"),
    ),
    (
        "time",
        ("'00:00:00'", "'-838:59:59'", "'838:59:59'", "'-00:00:00.000001'", "'12:34:56.789'",
         "'-01:00:00.5'", "'00:00:01.999999'"),
    ),
    (
        "char varchar text tinytext mediumtext longtext enum set binary varbinary blob tinyblob "
        "mediumblob longblob nchar nvarchar national character",
        ("''", "'a'", "'a  '", "'  a'", "'A'", "'b'", "'a,b'", "'b,a'", "'ä'", "'Straße'",
         "'日本語'", "'😀'",
         "'x\\0'", "'ﾊﾝ～'", "'~\\\\¥'", "' '", "'\t\n'", "'12'", "'2'", "0", "'c'",
         "'a,c'", "REPEAT('ä', 30)", "REPEAT('z', 300)", "REPEAT('ü', 70000)", "'nothing of it'"),
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Conversion:
    """Columns that one ALTER TABLE defines anew.

    Args:
        columns: Per column its definition before and after, as they stand behind its name.
        mode: The SQL mode of the ALTER.
        rest: More parts of the ALTER, with a comma before each.
        zone: The time zone of the ALTER.
        legal: Whether to store only dates that exist.
    """

    columns: tuple[tuple[str, str], ...]
    mode: str = STRICT
    rest: str = ""
    zone: str = "+00:00"
    legal: bool = False

    @property
    def names(self) -> list[str]:
        """The columns' names."""
        return [f"c{number}" for number in range(len(self.columns))]

    def create(self, table: str) -> str:
        """CREATE TABLE."""
        pairs = zip(self.names, self.columns, strict=True)
        columns = "".join(f", {name} {before}" for name, (before, _) in pairs)
        return f"CREATE TABLE {table} (id INT PRIMARY KEY{columns})"

    def fill(self, table: str) -> str:
        """INSERT of all values of all columns; those of shorter lists come again."""
        pools = [self._pool(before) for before, _ in self.columns]
        rows = [
            ", ".join([str(n), *(pool[n % len(pool)] for pool in pools)])
            for n in range(max(map(len, pools)))
        ]
        names = ", ".join(["id", *self.names])
        return f"INSERT IGNORE INTO {table} ({names}) VALUES ({'), ('.join(rows)})"

    def _pool(self, definition: str) -> list[str]:
        word = definition.split()[0].partition("(")[0].lower()
        pool = next((list(pool) for words, pool in _POOLS if word in words.split()), [])
        if self.legal:
            pool = [value for value in pool if value not in _NO_DATES]
        return pool if "NOT NULL" in definition else ["NULL", *pool]

    def alter(self, table: str) -> str:
        """The ALTER TABLE."""
        pairs = zip(self.names, self.columns, strict=True)
        parts = [f"MODIFY {name} {after}" for name, (_, after) in pairs if after]
        return f"ALTER TABLE {table} {', '.join(parts)}{self.rest}"


@dataclass(frozen=True)
class Outcome:
    """What became of a conversion.

    Args:
        conversion: It.
        refused: The server's error, empty if it took the statement.
        changed: Values that read otherwise after it, in words.
        reread: Whether the log's notice asks for the table to be read again.
    """

    conversion: Conversion
    refused: str
    changed: tuple[str, ...]
    reread: bool


def outcomes(room: Room, conversions: Sequence[Conversion]) -> list[Outcome]:
    """Run conversions, each on a table of its own, and read the log of all of them."""
    tables = [f"t{number}" for number in range(len(conversions))]
    room.execute(*(f"DROP TABLE IF EXISTS {table}" for table in tables))
    made = [_make(room, *pair) for pair in zip(tables, conversions, strict=True)]
    with closing(room.source()) as source:
        begin = source.current_position()
        kept = kept_after(list(source.stream_changes(begin, begin, bool, {})), {})
        seen = [
            (refused, ()) if refused else _alter(room, source, table, conversion)
            for table, conversion, refused in zip(tables, conversions, made, strict=True)
        ]
        slices = list(source.stream_changes(begin, source.current_position(), bool, kept))
    reread = {n.table.table for part in slices for n in part.notices if n.rewrites}
    return [
        Outcome(conversion, refused, changed, table in reread)
        for table, conversion, (refused, changed) in zip(tables, conversions, seen, strict=True)
    ]


def _make(room: Room, table: str, conversion: Conversion) -> str:
    mode = "ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO"
    statements = (conversion.create(table), conversion.fill(table))
    return next(filter(None, (_run(room, mode, "+00:00", sql) for sql in statements)), "")


def _run(room: Room, mode: str, zone: str, statement: str) -> str:
    connection = room.server.connect(database=room.database)
    with connection, connection.cursor() as cursor:
        cursor.execute("SET sql_mode = %s, time_zone = %s", (mode, zone))
        try:
            cursor.execute(statement)
        except pymysql.err.MySQLError as error:
            return str(error)
    return ""


def _alter(
    room: Room, source: MySQLSource, table: str, conversion: Conversion
) -> tuple[str, tuple[str, ...]]:
    before = _rows(source, room.table(table))
    refused = _run(room, conversion.mode, conversion.zone, conversion.alter(table))
    after = _rows(source, room.table(table))
    assert before, conversion
    changed = [
        f"{column[0]}: {before[n].get(name)!r:.60} -> {after.get(n, {}).get(name)!r:.60}"
        for n in before
        for name, column in zip(conversion.names, conversion.columns, strict=True)
        if not _equal(before[n].get(name), after.get(n, {}).get(name))
    ]
    return refused, (*changed, *(f"row {n} is new" for n in after.keys() - before.keys()))


def _equal(one: Any, two: Any) -> bool:
    """Equal as values, the sign of a zero included."""
    if isinstance(one, float) and isinstance(two, float) and one == 0:
        return two == 0 and math.copysign(1, one) == math.copysign(1, two)
    return bool(one == two) and isinstance(one, str) == isinstance(two, str)


def _rows(source: MySQLSource, table: TableId) -> dict[int, dict[str, Any]]:
    """Rows by `id` as they are decoded; those that cannot be are left out."""
    schema = source.read_schemas([table])[table]
    statement = f"SELECT {select_list(schema)} FROM {quote_table(table)}"
    with closing(connect(source.settings)) as reader:
        parts = select_arrow(reader, statement, (), schema, zero_dates="null", where="the test")
        return {row["id"]: row for part in parts for row in part.rows.to_pylist()}
