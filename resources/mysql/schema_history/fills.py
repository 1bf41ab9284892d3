"""The value that rows have in a column that a statement adds, where it is surely known.

In: the column's definition, and the column it makes. Out: the constant that MySQL and MariaDB give
to every row that is there, as an Arrow scalar; `CannotTellError` for all that is not known here to
be stored exactly as it is written.
Source: MySQL reference manual "Data Type Default Values", MariaDB "CREATE TABLE", and
`tests/mysql/schema_history/test_fills.py`, which measures it on servers.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pyarrow as pa

from resources.model.table import Column
from resources.mysql.binlog.sql_tokens import Token
from resources.mysql.schema_history.character_sets import has_characters
from resources.mysql.schema_history.definitions import ColumnDefinition
from resources.mysql.schema_history.words import CannotTellError

_BITS = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}
_TEXTS = frozenset({"char", "varchar", "tinytext", "text", "mediumtext", "longtext"})
_BYTES = frozenset({"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"})
_SIZE = re.compile(r"\w+\((\d+)(?:,(\d+))?\)")
_NUMBER = re.compile(r"[+-]?(\d{1,65})(?:\.(\d{1,65}))?")
_PLAIN = re.compile(r"[ !-\[\]-}]*(?<! )")
"""Characters that all servers, clients and character sets write alike, no blanks at the end."""
_DATE = re.compile(r"[1-9]\d{3}-\d\d-\d\d")
_MOMENT = re.compile(r"([1-9]\d{3}-\d\d-\d\d)(?: (\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?)?")
_TIME = re.compile(r"(-?)(\d{2,3}):([0-5]\d):([0-5]\d)(?:\.(\d{1,6}))?")
_MOST_HOURS = 838
_UNSIZED = 255
"""Characters that every text column without a length holds."""


@dataclass(frozen=True)
class _Literal:
    """What stands behind DEFAULT.

    Args:
        text: A string's characters, a number's digits and sign, or a keyword in capitals.
        form: `string`, `number`, `bits` or `word`.
    """

    text: str
    form: str


def fill_of(definition: ColumnDefinition, column: Column) -> pa.Scalar | None:
    """Return what every row that is there has in a new column; None for NULL.

    Args:
        definition: The column's, in an ALTER TABLE that adds it.
        column: What it makes.

    Raises:
        CannotTellError: Rows may have different values, or one that is not known here.
    """
    if definition.automatic or definition.generated or definition.indexes:
        raise _cannot(column)
    found = _literal(definition.default) if definition.default else None
    if found is None or found == _Literal("NULL", "word"):
        if column.nullable:
            return None
        value = _implicit(column)
    else:
        value = _explicit(column, found)
    if value is None or definition.type.name == "json":
        raise _cannot(column)
    return pa.scalar(value, column.type)


def _cannot(column: Column) -> CannotTellError:
    return CannotTellError(f"the value of rows in new column {column.name}")


def _literal(tokens: Sequence[Token]) -> _Literal:
    """Return what the tokens behind DEFAULT say; what is no plain literal is nothing known."""
    kinds = [token.kind for token in tokens]
    first, last = tokens[0], tokens[-1]
    if kinds == ["word"]:
        return _Literal(first.upper, "word")
    if kinds == ["literal"]:
        return _Literal(last.value, "string" if last.quoted else "number")
    if kinds == ["mark", "literal"] and not last.quoted and first.text in "+-":
        return _Literal(first.text + last.value, "number")
    if kinds == ["word", "literal"] and last.quoted and first.upper == "B":
        return _Literal(last.value, "bits")
    return _Literal("", "")


def _implicit(column: Column) -> Any:  # noqa: ANN401 - any Python value of an Arrow type
    """Return what a column that is NOT NULL has without a default, None if that is not known."""
    name, (size, _) = _type_name(column), _sizes(column)
    if column.kind == "enum":
        return column.labels[0]
    if name in _TEXTS or column.kind == "set":
        return ""
    if name in _BYTES:
        return b"\0" * size if name == "binary" else b""
    if name in _BITS or name in ("decimal", "float", "double", "bit"):
        return 0
    return dt.timedelta() if name == "time" else None


def _explicit(column: Column, given: _Literal) -> Any:  # noqa: ANN401 - as `_implicit`
    """Return the value of a literal, None if it is not stored exactly so."""
    name = _type_name(column)
    if name in _BITS:
        return _integer(column, given, _BITS[name], "unsigned" in column.source_type.lower())
    if column.kind in ("enum", "set"):
        return _labels(column, given)
    if name in _TEXTS:
        return _text(column, given)
    if name in _BYTES:  # written in the character set of the session
        return b"" if name != "binary" and given == _Literal("", "string") else None
    reader = _READERS.get(name)
    return reader(column, given) if reader else None


def _integer(column: Column, given: _Literal, bits: int, unsigned: bool) -> int | None:
    if given.form == "word":
        return {"TRUE": 1, "FALSE": 0}.get(given.text)
    match = _number(given)
    if match is None or match[2] is not None:
        return None
    value = int(given.text)
    low, high = (0, 2**bits - 1) if unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return value if low <= value <= high else None


def _decimal(column: Column, given: _Literal) -> Decimal | None:
    match, (precision, scale) = _number(given), _sizes(column)
    if match is None or len(match[2] or "") > scale:
        return None
    value = Decimal(given.text)
    refused = value < 0 and "unsigned" in column.source_type.lower()
    return None if refused or len(match[1].lstrip("0")) > precision - scale else value


def _bits(column: Column, given: _Literal) -> int | None:
    digits, base = (given.text, 2) if given.form == "bits" else ("", 10)
    if given.form == "number" and given.text.isdecimal():
        digits = given.text
    value = int(digits, base) if digits and (base == 10 or set(digits) <= {"0", "1"}) else None
    return value if value is not None and value < 1 << _sizes(column)[0] else None


def _year(column: Column, given: _Literal) -> int | None:
    known = given.form in ("string", "number") and re.fullmatch(r"\d{4}", given.text)
    return int(given.text) if known and 1901 <= int(given.text) <= 2155 else None


def _labels(column: Column, given: _Literal) -> str | None:
    chosen = [given.text] if column.kind == "enum" else given.text.split(",")
    if given.form != "string" or not _PLAIN.fullmatch(given.text):
        return None
    if column.kind == "set" and not given.text:
        return ""
    if not set(chosen) <= set(column.labels):
        return None
    ordered = sorted(set(chosen), key=column.labels.index)
    return given.text if ordered == chosen else None


def _text(column: Column, given: _Literal) -> str | None:
    text = given.text if given.form == "string" else "\\"
    fits = len(text) <= (_sizes(column)[0] or _UNSIZED)
    sure = _PLAIN.fullmatch(text) and has_characters(column.charset, text)
    return text if fits and sure and column.kind == "plain" else None


def _date(column: Column, given: _Literal) -> dt.date | None:
    if given.form != "string" or not _DATE.fullmatch(given.text):
        return None
    try:
        return dt.date.fromisoformat(given.text)
    except ValueError:
        return None


def _moment(column: Column, given: _Literal) -> dt.datetime | None:
    match = _MOMENT.fullmatch(given.text) if given.form == "string" else None
    if match is None or len(match[3] or "") > _sizes(column)[0]:
        return None
    try:
        moment = dt.datetime.fromisoformat(f"{match[1]} {match[2] or '00:00:00'}")
    except ValueError:
        return None
    return moment.replace(microsecond=_microseconds(match[3]))


def _time(column: Column, given: _Literal) -> dt.timedelta | None:
    match = _TIME.fullmatch(given.text) if given.form == "string" else None
    if match is None or len(match[5] or "") > _sizes(column)[0] or int(match[2]) > _MOST_HOURS:
        return None
    value = dt.timedelta(
        hours=int(match[2]),
        minutes=int(match[3]),
        seconds=int(match[4]),
        microseconds=_microseconds(match[5]),
    )
    if abs(value) > dt.timedelta(hours=_MOST_HOURS, minutes=59, seconds=59):
        return None
    return -value if match[1] else value


def _microseconds(digits: str | None) -> int:
    return int((digits or "").ljust(6, "0"))


def _number(given: _Literal) -> re.Match[str] | None:
    return _NUMBER.fullmatch(given.text) if given.form in ("string", "number") else None


def _type_name(column: Column) -> str:
    return re.split(r"\W", column.source_type.lower(), maxsplit=1)[0]


def _sizes(column: Column) -> tuple[int, int]:
    match = _SIZE.match(column.source_type.lower())
    return (int(match[1]), int(match[2] or 0)) if match else (0, 0)


_READERS: dict[str, Callable[[Column, _Literal], Any]] = {
    "decimal": _decimal,
    "bit": _bits,
    "year": _year,
    "date": _date,
    "datetime": _moment,
    "time": _time,
}
