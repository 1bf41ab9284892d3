"""Whether a statement that defines columns anew leaves every decoded value as it was.

In: a table's shapes before and after, and the statement with the modes it ran in. Out: yes only
where both servers were measured to keep the values; what is not known here may change them.

The servers convert stored rows without row events. In strict mode they refuse a statement that
would lose a value; else they convert as well as they can.
Source: MySQL reference manual "ALTER TABLE Statement", "Server SQL Modes"; measured on MySQL 9.7
and MariaDB 10.11 by `tests/mysql/schema_history/test_values.py`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from resources.model.table import Column
from resources.mysql.binlog.bodies import Query
from resources.mysql.binlog.sql_tokens import ServerKind
from resources.mysql.schema_history.changes import TableChange
from resources.mysql.schema_history.character_sets import character_bytes
from resources.mysql.schema_history.column_types import BLOBS, TEXTS
from resources.mysql.schema_history.shape import TableShape

_STRICT = 1 << 21 | 1 << 22
_PADDED = 1 << 31
_TYPE = re.compile(r"(\w+)(?:\((\d+)(?:,(\d+))?\))?")
_INTEGERS = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}
_REALS = {"float": 24, "double": 53}
_FRACTIONAL = frozenset({"time", "datetime", "timestamp"})
_OFFSET = re.compile(r"[+-]\d{1,2}:\d{2}|UTC|")
"""Time zones, none named included, in which no hour comes twice a year."""
_LONG_BITS = (8, 16, 24, 32)
_LONG = {
    name: bits for names in (TEXTS, BLOBS) for name, bits in zip(names, _LONG_BITS, strict=True)
}
_WIDEST = "utf8mb4"
_WHOLE = frozenset({"latin1", "utf8mb3"})
"""Character sets in which everything a column can hold is a character."""
_SIZED = frozenset({"char", "varchar", "varbinary"})


def keeps_values(change: TableChange, query: Query, server: ServerKind) -> bool:
    """Return whether every column that a statement kept decodes to the values it had.

    Args:
        change: What the statement did to the table's shape.
        query: The statement.
        server: Whose it is.
    """
    if change.before is None or change.after is None:
        return False
    if not _keeps_numbers(change.before, change.after, change.origins):
        return False
    old = {column.name: column for column in change.before.schema.columns}
    columns = zip(change.origins, change.after.schema.columns, strict=True)
    pairs = [(old[origin], column) for origin, column in columns if origin]
    if change.redefined and any(was.generated or now.generated for was, now in pairs):
        return False  # computed anew, of columns with another definition
    local = server.flavor == "mysql" and not _OFFSET.fullmatch(query.time_zone)
    if local and any(_name(was) == "timestamp" for was, _ in pairs):
        return False  # MySQL copies each by its local time, which may mean two
    return all(_keeps(was, now, was.name in change.redefined, query.sql_mode) for was, now in pairs)


def _keeps_numbers(before: TableShape, after: TableShape, origins: Sequence[str]) -> bool:
    """Return whether no column that was kept became AUTO_INCREMENT, which numbers its zeros."""
    origin = dict(zip(after.schema.names, origins, strict=True)).get(after.automatic or "", "")
    return not origin or origin == before.automatic


def _keeps(was: Column, now: Column, redefined: bool, sql_mode: int) -> bool:
    strict = bool(sql_mode & _STRICT)
    if was.nullable and not now.nullable and (not strict or _name(now) == "timestamp"):
        return False  # NULL becomes a zero, an empty text, or the time of the statement
    if was.kind != now.kind:
        return False
    if was.charset != now.charset and not _keeps_characters(was, now, strict):
        return False
    if was.kind in ("enum", "set"):
        return not redefined or (strict and _keeps_labels(was, now))
    if (was.source_type, was.charset) == (now.source_type, now.charset):
        return True
    return was.kind == "plain" and _holds(was, now, sql_mode)


def _keeps_characters(was: Column, now: Column, strict: bool) -> bool:
    """Return whether texts stay: bytes without a character are refused in strict mode alone."""
    sure = was.charset in _WHOLE or (strict and bool(was.charset))
    return sure and now.charset == _WIDEST


def _keeps_labels(was: Column, now: Column) -> bool:
    """Return whether values keep their labels.

    They are copied by label; two that the collation takes for one are refused in strict mode
    alone. A SET reads in its labels' order.
    """
    if was.kind == "enum":
        return set(was.labels) <= set(now.labels)
    return now.labels[: len(was.labels)] == was.labels


def _holds(was: Column, now: Column, sql_mode: int) -> bool:
    """Return whether a plain type holds every value of another one as it is."""
    name, size, scale = _parts(was)
    to_name, to_size, to_scale = _parts(now)
    if name in _INTEGERS and to_name in _INTEGERS:
        return _holds_integers(was, now)
    if name == to_name == "decimal":
        return _signs(was, now) and to_scale >= scale and to_size - to_scale >= size - scale
    if name in _REALS and to_name in _REALS:
        exact = not to_size and _REALS[to_name] >= _REALS[name]
        return exact and _signs(was, now)
    if name == to_name and name in _FRACTIONAL:
        return to_size >= size
    return _holds_text(was, now, sql_mode)


def _holds_integers(was: Column, now: Column) -> bool:
    bits, to_bits = _INTEGERS[_name(was)], _INTEGERS[_name(now)]
    if _unsigned(was) == _unsigned(now):
        return to_bits >= bits
    return _unsigned(was) and to_bits > bits


def _holds_text(was: Column, now: Column, sql_mode: int) -> bool:
    """Return whether a text or binary type is as long; `BINARY` would pad its values."""
    name, size, _ = _parts(was)
    to_name, to_size, _ = _parts(now)
    if bool(was.charset) != bool(now.charset) or to_name == "char" != name:
        return False
    if name == "char" != to_name and sql_mode & _PADDED:
        return False
    if to_name in _SIZED:
        return name in _SIZED and to_size >= size
    if to_name not in _LONG or not (name in _SIZED or name in _LONG):
        return False
    return _largest(was, now) < 1 << _LONG[to_name] or to_name in (TEXTS[-1], BLOBS[-1])


def _largest(was: Column, now: Column) -> int:
    """Return the most bytes a value can take in another character set."""
    name, size, _ = _parts(was)
    if name in _SIZED:
        return size * character_bytes(now.charset)
    longest = (1 << _LONG[name]) - 1
    if was.charset in (now.charset, "utf8mb3"):
        return longest
    return longest * character_bytes(now.charset)


def _parts(column: Column) -> tuple[str, int, int]:
    match = _TYPE.match(column.source_type.lower())
    if match is None:
        return "", 0, 0
    return match[1], int(match[2] or 0), int(match[3] or 0)


def _name(column: Column) -> str:
    return _parts(column)[0]


def _unsigned(column: Column) -> bool:
    return "unsigned" in column.source_type.lower()


def _signs(was: Column, now: Column) -> bool:
    return _unsigned(was) or not _unsigned(now)
