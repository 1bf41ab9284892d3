"""The judge of every test: what `SELECT` says on the source against what the sink holds.

Shares no code with the product's decoders: the source is read by PyMySQL or psycopg with
their own converters, the sink by DuckDB, and both are brought to plain Python values.
"""

from __future__ import annotations

import datetime as dt
import struct
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa

_COLUMNS = """
    SELECT column_name, data_type, column_type FROM information_schema.columns
    WHERE table_schema = %s AND table_name = %s ORDER BY ordinal_position"""


@dataclass(frozen=True)
class Difference:
    """How one table differs; empty lists mean it does not."""

    table: str
    rows: int
    missing: list[Any]
    extra: list[Any]

    def __bool__(self) -> bool:
        return bool(self.missing or self.extra)

    def __str__(self) -> str:
        return (
            f"{self.table}: {len(self.missing)} rows missing, {len(self.extra)} extra; "
            f"first missing {self.missing[:3]}, first extra {self.extra[:3]}"
        )


def mysql_rows(connection: Any, database: str, table: str) -> list[tuple[Any, ...]]:
    """Read a table of a MySQL-family server as plain values, floats exactly."""
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION time_zone = '+00:00'")
        cursor.execute(_COLUMNS, (database, table))
        columns = cursor.fetchall()
        names = [f"`{name}`" + ("+0e0" if kind == "float" else "") for name, kind, _ in columns]
        cursor.execute(f"SELECT {', '.join(names)} FROM `{database}`.`{table}`")
        kinds = [kind for _, kind, _ in columns]
        return [
            tuple(_from_mysql(v, k) for v, k in zip(row, kinds, strict=True))
            for row in cursor.fetchall()
        ]


def postgres_rows(connection: Any, schema: str, table: str) -> list[tuple[Any, ...]]:
    """Read a PostgreSQL table as plain values, floats exactly."""
    with connection.cursor(binary=True) as cursor:
        cursor.execute(f'SELECT * FROM "{schema}"."{table}"')
        return [tuple(_plain(v) for v in row) for row in cursor.fetchall()]


def duckdb_rows(path: str, namespace: str, table: str) -> list[tuple[Any, ...]]:
    """Read a DuckDB table as plain values."""
    with duckdb.connect(path, read_only=True) as connection:
        # A file and a schema of one name make `schema.table` ambiguous: name all three parts.
        ((catalog,),) = connection.sql("SELECT current_database()").fetchall()
        found: pa.Table = connection.sql(
            f'SELECT * FROM "{catalog}"."{namespace}"."{table}"'
        ).to_arrow_table()
    return plain_rows(found)


def plain_rows(rows: pa.Table) -> list[tuple[Any, ...]]:
    """Return the rows of an Arrow table as plain values."""
    columns = [[_plain(v) for v in column.to_pylist()] for column in rows.columns]
    return list(zip(*columns, strict=True))


def compare(table: str, source: list[tuple[Any, ...]], sink: list[tuple[Any, ...]]) -> Difference:
    """Compare two tables as multisets of rows."""
    left: dict[Any, int] = {}
    for row in source:
        left[row] = left.get(row, 0) + 1
    extra = []
    for row in sink:
        if left.get(row, 0) > 0:
            left[row] -= 1
        else:
            extra.append(row)
    missing = [row for row, count in left.items() for _ in range(count)]
    return Difference(table, len(source), missing, extra)


def _from_mysql(value: Any, kind: str) -> Any:
    if value is None:
        return None
    if kind == "bit":
        return int.from_bytes(value, "big")
    if kind == "float":
        return struct.unpack("f", struct.pack("f", value))[0]
    if kind == "set" and isinstance(value, set | frozenset):
        return ",".join(sorted(value))
    if kind in (
        "geometry",
        "point",
        "linestring",
        "polygon",
        "multipoint",
        "multilinestring",
        "multipolygon",
        "geomcollection",
        "geometrycollection",
    ):
        return (int.from_bytes(value[:4], "little"), value[4:])
    if kind == "vector":
        return struct.unpack(f"{len(value) // 4}f", value)
    return _plain(value)


def _plain(value: Any) -> Any:
    if isinstance(value, dt.datetime) and value.tzinfo is not None:
        return value.astimezone(dt.UTC).replace(tzinfo=None)
    if isinstance(value, pa.MonthDayNano):
        assert value.months == 0, "no source has months"
        return dt.timedelta(days=value.days, microseconds=value.nanoseconds // 1000)
    if isinstance(value, float) and value != value:
        return "NaN"
    if isinstance(value, dict):
        return tuple(value.values())
    if isinstance(value, list):
        return tuple(value)
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    return value
