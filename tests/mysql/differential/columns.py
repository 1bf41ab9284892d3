"""Numbers, dates and times: how to declare, fill and print a column, and what Arrow must hold.

In: a server's kind. Out: strategies of `ColumnCase`. Nothing here is taken from the product: the
Arrow types are written out again from docs/types.md and texts are parsed by rules of their own.
"""

from __future__ import annotations

import datetime as dt
import functools
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Context, Decimal
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

Literals = st.SearchStrategy[str]
EPOCH = dt.date(1970, 1, 1)


@dataclass(frozen=True)
class NoSuchDate:
    """What a zero or impossible date is: no value, whatever its text."""

    text: str


@dataclass(frozen=True)
class ColumnCase:
    """One column of a table to be tried.

    Attributes:
        ddl: Its type, as in CREATE TABLE.
        arrow: What Arrow must hold it as.
        literals: SQL expressions of values for it.
        edges: Such expressions that always have their turn.
        printed: Expression whose print is exact, with `{c}` for the column.
        parse: From that print to the plain value (see `readings.plain_values`).
        family: Word by which `library.FAULTS` knows it.
    """

    ddl: str
    arrow: pa.DataType
    literals: Literals = field(repr=False, compare=False)
    edges: tuple[str, ...] = field(repr=False)
    printed: str = field(repr=False)
    parse: Callable[[Any], Any] = field(repr=False, compare=False)
    family: str


INTEGERS = {
    "TINYINT": (8, pa.int8(), pa.uint8()),
    "SMALLINT": (16, pa.int16(), pa.uint16()),
    "MEDIUMINT": (24, pa.int32(), pa.uint32()),
    "INT": (32, pa.int32(), pa.uint32()),
    "BIGINT": (64, pa.int64(), pa.uint64()),
}
_WIDE = Context(prec=70)
AS_TEXT = "CAST({c} AS CHAR)"
# MySQL's CAST of a DOUBLE to CHAR is off by one bit for many powers of two; a result set is not.
AS_DOUBLE = "CAST({c} AS DOUBLE)"


def integer(word: str, sign: str) -> ColumnCase:
    bits, signed, unsigned = INTEGERS[word]
    low, high = (0, 2**bits - 1) if sign else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    edges = (low, high, 0, 1, high // 2 + 1)
    return ColumnCase(
        ddl=f"{word} {sign}".strip(),
        arrow=unsigned if sign else signed,
        literals=(st.integers(low, high) | st.sampled_from(edges)).map(str),
        edges=tuple(map(str, edges)),
        printed=AS_TEXT,
        parse=int,
        family="integer",
    )


integers = st.builds(
    integer,
    st.sampled_from(tuple(INTEGERS)),
    st.sampled_from(("", "UNSIGNED", "UNSIGNED ZEROFILL")),
)


def decimal(precision: int, scale: int, sign: str = "") -> ColumnCase:
    top = 10**precision - 1
    low = 0 if sign else -top
    edges = [low, top, 0, 1, low // 3, 10 ** (precision // 2), top // 7]
    units = st.integers(low, top) | st.sampled_from(edges) | st.integers(max(low, -999), 999)

    def literal(value: int) -> str:
        return f"'{Decimal(value).scaleb(-scale, _WIDE):f}'"

    return ColumnCase(
        ddl=f"DECIMAL({precision},{scale}) {sign}".strip(),
        arrow=(pa.decimal128 if precision <= 38 else pa.decimal256)(precision, scale),
        literals=units.map(lambda value: literal(min(value, top))),
        edges=tuple(map(literal, edges)),
        printed=AS_TEXT,
        parse=Decimal,
        family="decimal",
    )


@st.composite
def decimals(draw: st.DrawFn) -> ColumnCase:
    precision = draw(st.integers(1, 65) | st.sampled_from((1, 9, 10, 18, 19, 38, 39, 65)))
    scale = draw(st.integers(0, min(30, precision)))
    return decimal(precision, scale, draw(st.sampled_from(("", "", "UNSIGNED"))))


def float_bits(form: str) -> Callable[[float], str]:
    """From a double to the bits of the column's own width."""
    return lambda value: struct.pack(form, value).hex()


def floating(word: str, digits: str = "") -> ColumnCase:
    single = word == "FLOAT"
    width = 32 if single else 64
    edges: tuple[float, ...] = (0.0, 1.5, -0.1, 16777217.0, 123456.789, 1e-30)
    edges += (3.4028234663852886e38, 1e-45, 1.1754942e-38) if single else ()
    edges += () if single else (1.7976931348623157e308, 5e-324, 2.2250738585072014e-308, 1e22)
    any_float = st.floats(width=width, allow_nan=False, allow_infinity=False)
    if digits:
        any_float, edges = st.floats(-9999, 9999, width=width), (0.0, 1.125, -9999.0, 0.1)
    return ColumnCase(
        ddl=word + digits,
        arrow=pa.float32() if single else pa.float64(),
        literals=any_float.map(lambda value: f"'{value!r}'"),
        edges=(*(repr(value) for value in edges), "'-0.0'"),
        printed=AS_DOUBLE,
        parse=float_bits("<f" if single else "<d"),
        family="float",
    )


floats = st.builds(
    floating, st.sampled_from(("FLOAT", "DOUBLE")), st.sampled_from(("", "", "(12,3)"))
)


def bit(size: int) -> ColumnCase:
    edges = tuple(f"{value}" for value in (0, 1, 2**size - 1, 2 ** (size - 1)))
    return ColumnCase(
        ddl=f"BIT({size})",
        arrow=pa.uint64(),
        literals=st.integers(0, 2**size - 1).map(str),
        edges=edges,
        printed="HEX({c})",
        parse=lambda text: int(text, 16),
        family="bit",
    )


bits = (st.integers(1, 64) | st.sampled_from((1, 8, 9, 63, 64))).map(bit)


def year() -> ColumnCase:
    return ColumnCase(
        ddl="YEAR",
        arrow=pa.int16(),
        literals=st.integers(1901, 2155).map(str),
        edges=("1901", "2155", "'0000'", "1970"),
        printed="CAST({c}+0 AS CHAR)",
        parse=int,
        family="year",
    )


_ZERO_DATES = ("0000-00-00", "2021-00-10", "2021-01-00", "2021-02-31", "1900-02-29", "0000-01-01")
_DATES = ("1000-01-01", "0001-01-01", "9999-12-31", "2000-02-29", "1969-12-31", "1970-01-01")
_MOMENT = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?: (\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?)?")


def days_or_nothing(text: str) -> int | NoSuchDate:
    try:
        return (dt.date.fromisoformat(text[:10]) - EPOCH).days
    except ValueError:
        return NoSuchDate(text)


def moment(text: str) -> int | NoSuchDate:
    """Microseconds since the epoch, by the calendar alone."""
    match = _MOMENT.fullmatch(text)
    assert match, text
    days = days_or_nothing(text)
    if isinstance(days, NoSuchDate):
        return days
    hour, minute, second = (int(match[i]) for i in (4, 5, 6))
    seconds = days * 86_400 + hour * 3600 + minute * 60 + second
    return seconds * 10**6 + int((match[7] or "").ljust(6, "0"))


def date() -> ColumnCase:
    texts = st.dates().map(str) | st.sampled_from(_ZERO_DATES)
    return ColumnCase(
        ddl="DATE",
        arrow=pa.date32(),
        literals=texts.map(lambda text: f"'{text}'"),
        edges=tuple(f"'{text}'" for text in (*_DATES, *_ZERO_DATES)),
        printed=AS_TEXT,
        parse=days_or_nothing,
        family="date",
    )


def datetime(digits: int) -> ColumnCase:
    # Rounding up the last fraction of the last year would leave the calendar.
    last = dt.datetime(9999, 12, 31, 23, 59, 59)
    texts = st.datetimes(max_value=last).map(lambda value: value.isoformat(" "))
    zero = tuple(f"{day} 01:02:03.5" for day in _ZERO_DATES)
    edges = (*(f"{day} 23:59:59" for day in _DATES), *(f"{day} 00:00:00.111111" for day in _DATES))
    return ColumnCase(
        ddl=f"DATETIME({digits})",
        arrow=pa.timestamp("us"),
        literals=(texts | st.sampled_from(zero)).map(lambda text: f"'{text}'"),
        edges=tuple(f"'{text}'" for text in (*edges, *zero, "0000-00-00 00:00:00")),
        printed=AS_TEXT,
        parse=moment,
        family="datetime",
    )


def timestamp(digits: int) -> ColumnCase:
    low, high = dt.datetime(1970, 1, 1, 0, 0, 1), dt.datetime(2038, 1, 19, 3, 14, 6)
    texts = st.datetimes(low, high).map(lambda value: value.isoformat(" "))
    edges = ("1970-01-01 00:00:01", "2038-01-19 03:14:07", "2021-12-31 23:59:59.999999")
    zero = "0000-00-00 00:00:00"
    return ColumnCase(
        ddl=f"TIMESTAMP({digits})",
        arrow=pa.timestamp("us", tz="UTC"),
        literals=(texts | st.just(zero)).map(lambda text: f"'{text}'"),
        edges=tuple(f"'{text}'" for text in (*edges, zero)),
        printed=AS_TEXT,
        parse=moment,
        family="timestamp",
    )


_LONGEST = (838 * 3600 + 59 * 60 + 59) * 10**6


def duration_text(us: int) -> str:
    whole, fraction = divmod(abs(us), 10**6)
    sign = "-" if us < 0 else ""
    return f"{sign}{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}.{fraction:06}"


def duration(text: str) -> int:
    """Microseconds of a TIME's text."""
    sign = -1 if text.startswith("-") else 1
    hours, minutes, seconds = text.lstrip("-").split(":")
    whole, _, fraction = seconds.partition(".")
    us = int(fraction.ljust(6, "0") or 0)
    return sign * ((int(hours) * 3600 + int(minutes) * 60 + int(whole)) * 10**6 + us)


def time(digits: int) -> ColumnCase:
    edges = (0, _LONGEST, -_LONGEST, -250_000, -1, 1, 86_400 * 10**6, -3_599_000_001, 999_999)
    values = st.integers(-_LONGEST, _LONGEST) | st.integers(-2 * 10**6, 2 * 10**6)
    return ColumnCase(
        ddl=f"TIME({digits})",
        arrow=pa.duration("us"),
        literals=values.map(lambda us: f"'{duration_text(us)}'"),
        edges=tuple(f"'{duration_text(us)}'" for us in edges),
        printed=AS_TEXT,
        parse=duration,
        family="time",
    )


_DIGITS = st.integers(0, 6)
temporal = (
    st.just(date())
    | st.just(year())
    | st.builds(datetime, _DIGITS)
    | st.builds(timestamp, _DIGITS)
    | st.builds(time, _DIGITS)
)


@functools.cache
def fixed_cases() -> list[ColumnCase]:
    """Columns for the table of all edges: every type and width once."""
    return [
        *(integer(word, sign) for word in INTEGERS for sign in ("", "UNSIGNED")),
        integer("INT", "UNSIGNED ZEROFILL"),
        *(decimal(p, s) for p, s in ((1, 0), (1, 1), (10, 2), (18, 9), (38, 30), (39, 0))),
        *(decimal(65, s) for s in (0, 30)),
        decimal(30, 30, "UNSIGNED"),
        *(floating(word, digits) for word in ("FLOAT", "DOUBLE") for digits in ("", "(12,3)")),
        *(bit(size) for size in (1, 7, 8, 9, 32, 63, 64)),
        *(make(digits) for make in (datetime, timestamp, time) for digits in range(7)),
        date(),
        year(),
    ]
