"""Chunks of a table: ranges of its full key, compared by the server in its own order.

In: a connection and a schema with a key. Out: `Chunk` values whose bounds are SQL literals, and
the condition that selects a chunk's rows. Source: DBLog (Andreakis, Papapanagiotou 2020), §4.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pymysql.connections import Connection

from resources.errors import ConfigError
from resources.model.chunk import Chunk, KeyBound
from resources.model.table import Column, TableSchema
from resources.mysql.identifiers import quote_identifier, quote_table

_DENSEST, _SPARSEST = 0.05, 100.0
"""Range of an integer key over row count between which cutting by arithmetic is fair."""


@dataclass(frozen=True)
class _KeyPart:
    """How one key column is read as text, compared, and written as a literal.

    Args:
        order: What ORDER BY and the index are about.
        compare: What stands left of the comparison.
        read: Expression whose text is the value.
        prefix: Put before that text.
        suffix: Put after it.
    """

    order: str
    compare: str
    read: str
    prefix: str = ""
    suffix: str = ""

    def literal(self, text: str) -> str:
        """Return the SQL literal of a value read as text."""
        return f"{self.prefix}{text}{self.suffix}"


def _key_part(column: Column) -> _KeyPart:
    name = quote_identifier(column.name)
    arrow = column.type
    if column.kind in ("enum", "set"):
        # They sort by number but compare with text by label, and with numbers as doubles.
        number = f"CAST({name} AS UNSIGNED)"
        return _KeyPart(name, number, number)
    if column.kind == "bit":
        return _KeyPart(name, name, f"CAST({name} AS UNSIGNED)")
    if column.kind in ("uuid", "inet") or pa.types.is_temporal(arrow):
        return _KeyPart(name, name, name, "'", "'")
    if pa.types.is_string(arrow) or pa.types.is_large_string(arrow):
        # The column's own bytes under its own character set: its collation decides and no
        # conversion keeps the index out.
        return _KeyPart(name, name, f"HEX({name})", f"_{column.charset} x'", "'")
    if pa.types.is_binary(arrow) or pa.types.is_large_binary(arrow):
        return _KeyPart(name, name, f"HEX({name})", "x'", "'")
    if pa.types.is_floating(arrow):
        return _KeyPart(name, name, f"{name} * 1e0")
    if pa.types.is_integer(arrow):
        # As a number, so that ZEROFILL does not show.
        return _KeyPart(name, name, f"{name} + 0")
    return _KeyPart(name, name, name)


def _key_parts(schema: TableSchema) -> list[_KeyPart]:
    if not schema.key:
        raise ConfigError(
            "the table has no key to cut chunks on",
            where=str(schema.table),
            remedy=f"ALTER TABLE {quote_table(schema.table)} ADD PRIMARY KEY (…)",
        )
    return [_key_part(schema.column(name)) for name in schema.key]


def plan_chunks(
    connection: Connection[Any],
    schema: TableSchema,
    chunk_rows: int,
    estimate: int,
    resume_after: Chunk | None = None,
) -> Iterator[Chunk]:
    """Yield chunks in key order: the first open at its bottom, the last open at its top.

    A single integer key that is neither sparse nor surprisingly full is cut by arithmetic on its
    least and greatest value; every other key by stepping along its index.

    Args:
        connection: Used between yields; nothing else may run on it meanwhile.
        schema: Must have a key.
        chunk_rows: Rows a chunk should hold.
        estimate: The server's own row estimate.
        resume_after: The last chunk already planned.

    Raises:
        ConfigError: The table has no key.
    """
    parts = _key_parts(schema)
    if resume_after is not None and resume_after.upto is None:
        return
    limits = _integer_limits(connection, schema, parts)
    if limits is not None:
        low, high = limits
        spread = (high - low + 1) / max(estimate, 1)
        if _DENSEST <= spread <= _SPARSEST:
            width = max(1, chunk_rows * (high - low + 1) // max(estimate, 1))
            yield from _cut(low, high, width, chunk_rows, resume_after)
            return
    yield from _step(connection, schema, parts, chunk_rows, resume_after)


def _integer_limits(
    connection: Connection[Any], schema: TableSchema, parts: list[_KeyPart]
) -> tuple[int, int] | None:
    """Least and greatest key of a single integer column, None for other keys and empty tables."""
    column = schema.column(schema.key[0])
    if len(parts) != 1 or column.kind != "plain" or not pa.types.is_integer(column.type):
        return None
    name = parts[0].order
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT MIN({name}), MAX({name}) FROM {quote_table(schema.table)}")  # noqa: S608
        low, high = cursor.fetchone()
    return None if low is None else (int(low), int(high))


def _cut(
    low: int, high: int, width: int, chunk_rows: int, resume_after: Chunk | None
) -> Iterator[Chunk]:
    number, after, last = 1, None, low - 1
    if resume_after is not None and resume_after.upto is not None:
        number, after, last = resume_after.number + 1, resume_after.upto, int(resume_after.upto[0])
    while last + width < high:
        last += width
        upto = (str(last),)
        yield Chunk(number, after, upto, chunk_rows)
        number, after = number + 1, upto
    yield Chunk(number, after, None, chunk_rows)


def _step(
    connection: Connection[Any],
    schema: TableSchema,
    parts: list[_KeyPart],
    chunk_rows: int,
    resume_after: Chunk | None,
) -> Iterator[Chunk]:
    number, after = 1, None
    if resume_after is not None:
        number, after = resume_after.number + 1, resume_after.upto
    while True:
        upto = _next_bound(connection, schema, parts, after, chunk_rows)
        yield Chunk(number, after, upto, chunk_rows)
        if upto is None:
            return
        number, after = number + 1, upto


def _next_bound(
    connection: Connection[Any],
    schema: TableSchema,
    parts: list[_KeyPart],
    after: KeyBound | None,
    chunk_rows: int,
) -> KeyBound | None:
    read = ", ".join(f"CAST({part.read} AS CHAR)" for part in parts)
    order = ", ".join(part.order for part in parts)
    condition = f" WHERE {_above(parts, after)}" if after is not None else ""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {read} FROM {quote_table(schema.table)}{condition} "  # noqa: S608
            f"ORDER BY {order} LIMIT 1 OFFSET {int(chunk_rows) - 1}"
        )
        row = cursor.fetchone()
    if row is None:
        return None
    return tuple(part.literal(text) for part, text in zip(parts, row, strict=True))


def chunk_condition(schema: TableSchema, chunk: Chunk) -> str:
    """Return the SQL condition of a chunk's rows, `1 = 1` for a whole table.

    Row constructors are written out: servers use an index for `a > 1 OR (a = 1 AND b > 2)`, not
    for `(a, b) > (1, 2)`.
    """
    parts = _key_parts(schema)
    after, upto = chunk.after, chunk.upto
    terms: list[str] = []
    if after is not None and upto is not None:
        # Columns equal in both bounds become plain equalities, or each chunk within one value of
        # the leading column would read all of that value's rows.
        shared = 0
        while shared < len(parts) - 1 and after[shared] == upto[shared]:
            terms.append(f"{parts[shared].compare} = {after[shared]}")
            shared += 1
        parts, after, upto = parts[shared:], after[shared:], upto[shared:]
    if after is not None:
        terms.append(_above(parts, after))
    if upto is not None:
        terms.append(_upto(parts, upto))
    return " AND ".join(terms) or "1 = 1"


def _above(parts: list[_KeyPart], bound: KeyBound) -> str:
    first = f"{parts[0].compare} >= {bound[0]} AND " if len(parts) > 1 else ""
    return f"{first}({_beyond(parts, bound, '>', '>')})"


def _upto(parts: list[_KeyPart], bound: KeyBound) -> str:
    first = f"{parts[0].compare} <= {bound[0]} AND " if len(parts) > 1 else ""
    return f"{first}({_beyond(parts, bound, '<', '<=')})"


def _beyond(parts: list[_KeyPart], bound: KeyBound, sign: str, last_sign: str) -> str:
    column, value = parts[0].compare, bound[0]
    if len(parts) == 1:
        return f"{column} {last_sign} {value}"
    rest = _beyond(parts[1:], bound[1:], sign, last_sign)
    return f"{column} {sign} {value} OR ({column} = {value} AND ({rest}))"
