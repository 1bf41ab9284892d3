"""ALTERs that give columns new definitions, and what became of the values: seen and told.

In: a server, definitions of a column before and after. Out: per conversion whether the server took
it, whether every value reads as before, and whether the log's notice asks for the table to be read
again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pymysql

from resources.model.change import LogSlice
from resources.mysql.connection import connect
from resources.mysql.identifiers import quote_table
from resources.mysql.result_set import select_arrow, select_list
from resources.mysql.source import MySQLSource
from tests.mysql.room import Room
from tests.mysql.schema_history.stage import kept_after

STRICT = "STRICT_TRANS_TABLES"
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
        ("''", "'a'", "'a  '", "'  a'", "'A'", "'b'", "'a,b'", "'b,a'", "'ä'", "'Straße'", "'日本語'",
         "'😀'", "'x\\0'", "'ﾊﾝ～'", "'~\\\\¥'", "' '", "'\t\n'", "'12'", "'2'", "0", "'c'", "'a,c'",
         "REPEAT('ä', 30)", "REPEAT('z', 300)", "REPEAT('ü', 70000)", "'nothing of it'"),
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Conversion:
    """A column's definitions.

    Args:
        before: Behind the name, in CREATE TABLE.
        after: Behind the name, in the ALTER TABLE; with `ALTER` at its start the whole part.
        mode: The SQL mode of the ALTER.
        values: SQL of values to store; those of its type if there are none.
        zone: The time zone of the ALTER.
    """

    before: str
    after: str
    mode: str = STRICT
    values: tuple[str, ...] = ()
    zone: str = "+00:00"

    @property
    def stored(self) -> tuple[str, ...]:
        """SQL of the values to store."""
        word = self.before.split()[0].partition("(")[0].lower()
        pool = next((pool for words, pool in _POOLS if word in words.split()), ())
        return self.values or pool


@dataclass(frozen=True)
class Outcome:
    """What became of a conversion.

    Args:
        conversion: It.
        refused: The server's error, empty if it took the statement.
        same: Whether every value reads as before.
        reread: Whether the notice asks for the table to be read again.
        shown: Values that changed, for failures of tests.
    """

    conversion: Conversion
    refused: str
    same: bool
    reread: bool
    shown: str


def outcomes(room: Room, conversions: Sequence[Conversion]) -> list[Outcome]:
    """Run conversions, each on a table of its own, and read the log of all of them."""
    tables = [f"c{number}" for number in range(len(conversions))]
    room.execute(*(f"DROP TABLE IF EXISTS {table}" for table in tables))
    made = [_fill(room, *pair) for pair in zip(tables, conversions, strict=True)]
    with closing(room.source()) as source:
        begin = source.current_position()
        kept = kept_after(list(source.stream_changes(begin, begin, bool, {})), {})
        seen = [
            _alter(room, source, table, conversion) if there else ("no such table", True, "")
            for table, conversion, there in zip(tables, conversions, made, strict=True)
        ]
        slices = list(source.stream_changes(begin, source.current_position(), bool, kept))
    reread = _reread(slices)
    return [
        Outcome(conversion, refused, same, table in reread, shown)
        for table, conversion, (refused, same, shown) in zip(tables, conversions, seen, strict=True)
    ]


def _fill(room: Room, table: str, conversion: Conversion) -> bool:
    connection = room.server.connect(database=room.database)
    with connection, connection.cursor() as cursor:
        cursor.execute("SET sql_mode = 'ALLOW_INVALID_DATES', time_zone = '+00:00'")
        try:
            cursor.execute(f"CREATE TABLE {table} (id INT PRIMARY KEY, c {conversion.before})")
        except pymysql.err.MySQLError:
            return False
        rows = ["(0, NULL)", *(f"({n}, {v})" for n, v in enumerate(conversion.stored, 1))]
        if "NOT NULL" in conversion.before:
            del rows[0]
        if "AS (" not in conversion.before:
            cursor.execute(f"INSERT IGNORE INTO {table} (id, c) VALUES {', '.join(rows)}")
    return True


def _alter(
    room: Room, source: MySQLSource, table: str, conversion: Conversion
) -> tuple[str, bool, str]:
    before = _values(source, room, table)
    connection = room.server.connect(database=room.database)
    with connection, connection.cursor() as cursor:
        cursor.execute("SET sql_mode = %s, time_zone = %s", (conversion.mode, conversion.zone))
        part = conversion.after
        part = part[6:] if part.startswith("ALTER ") else f"MODIFY c {part}"
        try:
            cursor.execute(f"ALTER TABLE {table} {part}")
        except pymysql.err.MySQLError as error:
            return str(error), True, ""
    after = _values(source, room, table)
    changed = [(n, str(before.get(n))[:40], str(after.get(n))[:40]) for n in {*before, *after}
               if not _equal(before.get(n, _GONE), after.get(n, _GONE))]  # fmt: skip
    return "", not changed, str(changed)


_GONE = object()


def _equal(one: Any, two: Any) -> bool:
    """Equal as values, and the sign of a zero included."""
    if isinstance(one, float) and isinstance(two, float) and one == 0:
        return two == 0 and math.copysign(1, one) == math.copysign(1, two)
    return bool(one == two) and isinstance(one, str) == isinstance(two, str)


def _values(source: MySQLSource, room: Room, table: str) -> dict[int, Any]:
    """The column's values as they are decoded; rows that cannot be are left out."""
    schema = source.read_schemas([room.table(table)])[room.table(table)]
    statement = f"SELECT {select_list(schema)} FROM {quote_table(schema.table)}"
    with closing(connect(source.settings)) as reader:
        parts = select_arrow(reader, statement, (), schema, zero_dates="null", where="the test")
        rows = [list(row.values()) for part in parts for row in part.rows.to_pylist()]
    names = list(schema.names)
    return {row[names.index("id")]: row[1 - names.index("id")] for row in rows}


def _reread(slices: Sequence[LogSlice]) -> set[str]:
    return {n.table.table for part in slices for n in part.notices if n.rewrites}
