"""Functions of dates, timestamps and TIME, as MySQL's unless Flink alone has the name.

In: calls. Out: typed SQL. Timestamps with a zone are read in UTC. A text that is no date is a
failed row, where MySQL gives NULL and a warning.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pyarrow as pa

from cdc_assets.engine.transforms.arithmetic import whole
from cdc_assets.engine.transforms.functions import Builder, Call, function
from cdc_assets.engine.transforms.time_formats import time_format
from cdc_assets.engine.transforms.typed import (
    DATE,
    DATE_TEXT,
    INT32,
    INT64,
    STAMP,
    STAMP_TEXT,
    TEXT,
    TIME,
    Refused,
    Typed,
    derive,
    is_time,
    quote_text,
    words,
)

UNITS = ("MICROSECOND", "SECOND", "MINUTE", "HOUR", "DAY", "WEEK", "MONTH", "QUARTER", "YEAR")
_MICROS = {
    "MICROSECOND": 1,
    "SECOND": 1_000_000,
    "MINUTE": 60_000_000,
    "HOUR": 3_600_000_000,
    "DAY": 86_400_000_000,
    "WEEK": 604_800_000_000,
}
_MONTHS = {"MONTH": 1, "QUARTER": 3, "YEAR": 12}
_PARTS = {
    "YEAR": "year({0})",
    "QUARTER": "quarter({0})",
    "MONTH": "month({0})",
    "DAY": "day({0})",
    "DAYOFMONTH": "day({0})",
    "DAYOFYEAR": "dayofyear({0})",
    "DAYOFWEEK": "dayofweek({0}) + 1",
    "WEEKDAY": "isodow({0}) - 1",
    "WEEKOFYEAR": "weekofyear({0})",
    "HOUR": "hour({0})",
    "MINUTE": "minute({0})",
    "SECOND": "second({0})",
    "MICROSECOND": "microsecond({0}) % 1000000",
}
_OF_TIME = {
    "HOUR": "abs({0}) // 3600000000",
    "MINUTE": "abs({0}) // 60000000 % 60",
    "SECOND": "abs({0}) // 1000000 % 60",
    "MICROSECOND": "abs({0}) % 1000000",
}


def part(name: str, value: Typed) -> Typed:
    """Return a part of a date, timestamp or TIME: `YEAR` … `MICROSECOND`."""
    if value.type == TIME:
        if name not in _OF_TIME:
            raise Refused(f"{name} of a TIME, which has no date")
        return derive(f"CAST({_OF_TIME[name].format(value.sql)} AS INTEGER)", INT32, value)
    stamp = as_stamp(value)
    return derive(f"CAST({_PARTS[name].format(stamp.sql)} AS INTEGER)", INT32, value)


def _part(name: str) -> Builder:
    def build(call: Call) -> Typed:
        value = call.args[0]
        return part(name, value if value.type == TIME else call.moment(0))

    return build


for _name in _PARTS:
    function(_name, args=(1, 1))(_part(_name))


@function("WEEK", args=(2, 2))
def _week(call: Call) -> Typed:
    if call.digits(1) != 3:
        raise Refused("WEEK is there in mode 3 (ISO 8601) only", "WEEK(x, 3)")
    return part("WEEKOFYEAR", call.moment(0))


def as_stamp(value: Typed) -> Typed:
    """Return a date or timestamp as timestamp."""
    if value.type == DATE:
        return derive(f"CAST({value.sql} AS TIMESTAMP)", STAMP, value)
    return replace(value, type=STAMP, column=None)


def as_date(value: Typed) -> Typed:
    """Return the day of a date or timestamp."""
    return value if value.type == DATE else derive(f"CAST({value.sql} AS DATE)", DATE, value)


def _of_moment(type_: pa.DataType, sql: str, prepare: Callable[[Typed], Typed]) -> Builder:
    def build(call: Call) -> Typed:
        value = call.moment(0)
        return derive(sql.format(prepare(value).sql), type_, value)

    return build


function("DATE", args=(1, 1))(_of_moment(DATE, "{0}", as_date))
function("LAST_DAY", args=(1, 1))(_of_moment(DATE, "CAST(last_day({0}) AS DATE)", as_date))
function("DAYNAME", args=(1, 1))(_of_moment(TEXT, "dayname({0})", as_date))
function("MONTHNAME", args=(1, 1))(_of_moment(TEXT, "monthname({0})", as_date))
function("UNIX_TIMESTAMP", args=(1, 1))(
    _of_moment(
        INT64,
        "(epoch_us({0}) // 1000000 - CASE WHEN epoch_us({0}) % 1000000 < 0 THEN 1 ELSE 0 END)",
        as_stamp,
    )
)
function("TO_DAYS", args=(1, 1))(_of_moment(INT64, "({0} - DATE '1970-01-01' + 719528)", as_date))


@function("DATE_FORMAT", args=(2, 2))
def _date_format(call: Call) -> Typed:
    value = call.moment(0)
    pattern = quote_text(time_format(call.words(1)))
    return derive(f"strftime({as_stamp(value).sql}, {pattern})", TEXT, value)


@function("STR_TO_DATE", args=(2, 2))
def _str_to_date(call: Call) -> Typed:
    text, pattern = call.text(0), time_format(call.words(1))
    parsed = f"strptime({text.sql}, {quote_text(pattern)})"
    if any(code in pattern for code in ("%H", "%I", "%M", "%S", "%f", "%-H", "%-I", "%p")):
        return derive(f"CAST({parsed} AS TIMESTAMP)", STAMP, text)
    return derive(f"CAST({parsed} AS DATE)", DATE, text)


@function("TO_DATE", args=(1, 2))
def _to_date(call: Call) -> Typed:
    if len(call.args) == 1:
        return text_to_time(call.text(0), DATE)
    pattern = quote_text(time_format(call.words(1)))
    text = call.text(0)
    return derive(f"CAST(strptime({text.sql}, {pattern}) AS DATE)", DATE, text)


@function("TO_TIMESTAMP", args=(1, 2))
def _to_timestamp(call: Call) -> Typed:
    if len(call.args) == 1:
        return text_to_time(call.text(0), STAMP)
    pattern = quote_text(time_format(call.words(1)))
    text = call.text(0)
    return derive(f"CAST(strptime({text.sql}, {pattern}) AS TIMESTAMP)", STAMP, text)


@function("FROM_UNIXTIME", args=(1, 2))
def _from_unixtime(call: Call) -> Typed:
    seconds = call.whole(0)
    made = f"make_timestamp({seconds.sql} * 1000000)"
    stamp = derive(_within_calendar(made, STAMP), STAMP, seconds)
    if len(call.args) == 1:
        return stamp
    pattern = quote_text(time_format(call.words(1)))
    return derive(f"strftime({stamp.sql}, {pattern})", TEXT, stamp)


@function("DATEDIFF", args=(2, 2))
def _datediff(call: Call) -> Typed:
    a, b = as_date(call.moment(0)), as_date(call.moment(1))
    return derive(f"CAST({a.sql} - {b.sql} AS BIGINT)", INT64, a, b)


@function("TIME_TO_SEC", args=(1, 1))
def _time_to_sec(call: Call) -> Typed:
    value = call.args[0]
    if value.type != TIME:
        raise call.refused(0, "a TIME", "UNIX_TIMESTAMP and TIMESTAMPDIFF count seconds of dates")
    return derive(f"({value.sql} // 1000000)", INT64, value)


def unit_of(name: str) -> str:
    """Return a unit of time in capitals, with Flink's `SQL_TSI_` cut.

    Raises:
        Refused: There is no such unit.
    """
    unit = name.upper().removeprefix("SQL_TSI_").removesuffix("S")
    if unit not in UNITS:
        raise Refused(f"{name} is no unit of time", "one of " + ", ".join(UNITS))
    return unit


def add(moment: Typed, amount: Typed, name: str, *, minus: bool = False) -> Typed:
    """Return a date or timestamp moved by a number of units, by MySQL's rules.

    A date stays a date by units of days and longer. A day that a month has not is its last one.
    """
    unit = unit_of(name)
    if not is_time(moment.type):
        raise Refused(f"an INTERVAL is added to dates and timestamps, not to {words(moment.type)}")
    if not pa.types.is_integer(amount.type) or amount.type == pa.uint64():
        raise Refused(f"INTERVAL takes whole numbers, not {words(amount.type)}", "ROUND or CAST it")
    count = f"CAST({'-' if minus else ''}({whole(amount).sql}) AS "
    if unit in _MONTHS:
        step = f"to_months(CAST({count}BIGINT) * {_MONTHS[unit]} AS INTEGER))"
    elif unit in ("DAY", "WEEK"):
        step = f"to_days(CAST({count}BIGINT) * {7 if unit == 'WEEK' else 1} AS INTEGER))"
    else:
        step = f"to_microseconds({count}BIGINT) * {_MICROS[unit]})"
    type_ = DATE if moment.type == DATE and (unit in _MONTHS or unit in ("DAY", "WEEK")) else STAMP
    stamp = as_stamp(moment)
    return derive(_within_calendar(f"({stamp.sql} + {step})", type_), type_, moment, amount)


def _within_calendar(stamp: str, type_: pa.DataType) -> str:
    """Return a timestamp as a type; a year that MySQL has not fails its row."""
    inside = f"year({stamp}) BETWEEN 1 AND 9999 OR {stamp} IS NULL"
    failing = f"CAST('out of range ' || CAST({stamp} AS VARCHAR) AS TIMESTAMP)"
    return f"CAST(CASE WHEN {inside} THEN {stamp} ELSE {failing} END AS {type_name(type_)})"


def type_name(type_: pa.DataType) -> str:
    """Return `DATE` or `TIMESTAMP`."""
    return "DATE" if type_ == DATE else "TIMESTAMP"


def difference(name: str, start: Typed, end: Typed) -> Typed:
    """Return how many whole units lie between two moments (TIMESTAMPDIFF)."""
    unit = unit_of(name)
    a, b = as_stamp(start).sql, as_stamp(end).sql
    if unit in _MICROS:
        sql = f"((epoch_us({b}) - epoch_us({a})) // {_MICROS[unit]})"
        return derive(sql, INT64, start, end)
    low, high = f"least({a}, {b})", f"greatest({a}, {b})"
    months = f"(year({high}) * 12 + month({high}) - year({low}) * 12 - month({low}))"
    # The last month counts once its day and time of day are reached.
    within = "epoch_us({0} - date_trunc('month', {0}))"
    early = f"CASE WHEN {within.format(high)} < {within.format(low)} THEN 1 ELSE 0 END"
    whole_units = f"(({months} - {early}) // {_MONTHS[unit]})"
    sql = f"CASE WHEN {b} < {a} THEN -{whole_units} ELSE {whole_units} END"
    known = f"{a} IS NOT NULL AND {b} IS NOT NULL"  # least and greatest pass NULL over
    return derive(f"CASE WHEN {known} THEN CAST({sql} AS BIGINT) END", INT64, start, end)


def text_to_time(text: Typed, type_: pa.DataType) -> Typed:
    """Return text written as a date or timestamp; any other text fails its row."""
    form = DATE_TEXT if type_ == DATE else STAMP_TEXT
    # DuckDB's own cast drops zones and digits it does not know; text that is not of this form
    # becomes one that no cast takes.
    good = f"regexp_full_match({text.sql}, {quote_text(form)})"
    checked = f"CASE WHEN {good} THEN {text.sql} ELSE 'no date: ' || {text.sql} END"
    return derive(f"CAST({checked} AS {type_name(type_)})", type_, text)
