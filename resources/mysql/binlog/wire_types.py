"""Numbers of the column types a table map uses.

Source: mysql-server include/field_types.h; MariaDB sql/field.h for the compressed ones.
"""

from __future__ import annotations

from enum import IntEnum


class WireType(IntEnum):
    """A column's type in row events."""

    DECIMAL = 0
    TINY = 1
    SHORT = 2
    LONG = 3
    FLOAT = 4
    DOUBLE = 5
    NULL = 6
    TIMESTAMP = 7
    LONGLONG = 8
    INT24 = 9
    DATE = 10
    TIME = 11
    DATETIME = 12
    YEAR = 13
    NEWDATE = 14
    VARCHAR = 15
    BIT = 16
    TIMESTAMP2 = 17
    DATETIME2 = 18
    TIME2 = 19
    TYPED_ARRAY = 20
    BLOB_COMPRESSED = 140
    VARCHAR_COMPRESSED = 141
    VECTOR = 242
    JSON = 245
    NEWDECIMAL = 246
    ENUM = 247
    SET = 248
    TINY_BLOB = 249
    MEDIUM_BLOB = 250
    LONG_BLOB = 251
    BLOB = 252
    VAR_STRING = 253
    STRING = 254
    GEOMETRY = 255


INTEGER_BYTES = {
    WireType.TINY: 1,
    WireType.SHORT: 2,
    WireType.INT24: 3,
    WireType.LONG: 4,
    WireType.LONGLONG: 8,
}
NUMERIC_TYPES = frozenset(
    {*INTEGER_BYTES, WireType.FLOAT, WireType.DOUBLE, WireType.NEWDECIMAL, WireType.YEAR}
)
"""Types that have a bit in the table map's signs."""
CHARACTER_TYPES = frozenset(
    {WireType.STRING, WireType.VAR_STRING, WireType.VARCHAR, WireType.BLOB, WireType.VECTOR}
)
"""Types that have an entry in the table map's collations (ENUM and SET have their own)."""
MARIADB_CHARACTER_TYPES = CHARACTER_TYPES | {WireType.GEOMETRY}
"""The same in MariaDB, where a geometry is a kind of BLOB."""
