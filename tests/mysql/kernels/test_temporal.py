"""Dates and times: what Python's datetime makes of the same bytes."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.mysql.kernels import temporal
from resources.mysql.kernels.cells import Cells, Converter
from tests.mysql.kernels.wire import bad_rows, cells, columns, good

EPOCH = datetime(1970, 1, 1)
UNITS = [1_000_000, 10_000, 10_000, 100, 100, 1, 1]
"""Microseconds that the stored fraction counts in, by its digits."""
digits_of_a_fraction = st.integers(0, 6)


def fraction(micros: int, digits: int) -> bytes:
    return (micros // UNITS[digits]).to_bytes((digits + 1) // 2, "big")


def packed_date(year: int, month: int, day: int) -> bytes:
    return (year << 9 | month << 5 | day).to_bytes(3, "little")


def packed_datetime(value: datetime, digits: int) -> bytes:
    days = (value.year * 13 + value.month) << 5 | value.day
    clock = value.hour << 12 | value.minute << 6 | value.second
    whole = (days << 17 | clock) + (1 << 39)
    return whole.to_bytes(5, "big") + fraction(value.microsecond, digits)


def packed_time(us: int, digits: int) -> bytes:
    size = (digits + 1) // 2
    seconds, micros = divmod(abs(us), 1_000_000)
    clock = seconds // 3600 << 12 | seconds // 60 % 60 << 6 | seconds % 60
    whole = clock << 8 * size | micros // UNITS[digits] if size else clock
    return ((0x800000 << 8 * size) + (whole if us >= 0 else -whole)).to_bytes(3 + size, "big")


def cut(micros: int, digits: int) -> int:
    """Return microseconds as a fraction of so many digits stores them."""
    return micros - micros % UNITS[digits]


def test_every_three_bytes_of_a_date() -> None:
    """All 2**24 cells: those of numpy's calendar, and no others, are dates."""
    days = np.arange(date.min.toordinal(), date.max.toordinal() + 1) - EPOCH.toordinal()
    calendar = days.astype("datetime64[D]")
    years = calendar.astype("datetime64[Y]").astype(np.int64) + 1970
    months = calendar.astype("datetime64[M]").astype(np.int64) % 12 + 1
    dates = (calendar - calendar.astype("datetime64[M]")).astype(np.int64) + 1
    want = np.full(1 << 24, 1 << 30, np.int32)
    want[years << 9 | months << 5 | dates] = days
    step = 1 << 20
    for begin in range(0, 1 << 24, step):
        codes = np.arange(begin, begin + step, dtype="<u4")
        data = np.ascontiguousarray(codes.view(np.uint8).reshape(-1, 4)[:, :3]).reshape(-1)
        sizes = np.full(step, 3, np.int64)
        column = Cells(data, np.arange(step) * 3, sizes, np.zeros(step, np.bool_))
        converted = temporal.dates(reject=True)(column)
        bad = np.zeros(step, np.bool_) if converted.bad is None else converted.bad
        got = converted.array.view(pa.int32()).fill_null(1 << 30).to_numpy()
        assert (got == want[begin : begin + step]).all()
        assert (bad == (want[begin : begin + step] == 1 << 30)).all()


@given(st.lists(st.none() | st.datetimes(), max_size=20), digits_of_a_fraction)
def test_datetimes_with_every_fraction(values: list[datetime | None], digits: int) -> None:
    column = [None if v is None else packed_datetime(v, digits) for v in values]
    array = good(temporal.datetimes(digits, reject=True)(cells(column)), pa.timestamp("us"))
    want = [v and v.replace(microsecond=cut(v.microsecond, digits)) for v in values]
    assert array.equals(pa.array(want, pa.timestamp("us")))


@given(columns(st.binary(min_size=8, max_size=8)))
def test_any_bytes_of_a_datetime_are_a_date_or_none(column: list[bytes | None]) -> None:
    converted = temporal.datetimes(6, reject=True)(cells(column))
    want = [None if raw is None else read_datetime(raw) for raw in column]
    assert converted.array.equals(pa.array(want, pa.timestamp("us")))
    expected = [i for i, raw in enumerate(column) if raw is not None and want[i] is None]
    assert bad_rows(converted) == expected


def read_datetime(raw: bytes) -> datetime | None:
    packed = int.from_bytes(raw[:5], "big") - (1 << 39)
    year, month = divmod(packed >> 22, 13)
    try:
        return datetime(
            year, month, packed >> 17 & 31, packed >> 12 & 31, packed >> 6 & 63, packed & 63,
            int.from_bytes(raw[5:], "big"),
        )  # fmt: skip
    except ValueError:
        return None


seconds_and_micros = st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 999_999))


@given(st.lists(st.none() | seconds_and_micros, max_size=20), digits_of_a_fraction)
def test_timestamps_are_utc_and_zero_is_none(
    values: list[tuple[int, int] | None], digits: int
) -> None:
    column = [v and v[0].to_bytes(4, "big") + fraction(v[1], digits) for v in values]
    arrow = pa.timestamp("us", tz="UTC")
    converted = temporal.timestamps(digits, reject=True)(cells(column))
    instants = [v and (v[0], cut(v[1], digits)) for v in values]
    start = EPOCH.replace(tzinfo=UTC)
    want = [
        start + timedelta(seconds=v[0], microseconds=v[1]) if v and any(v) else None
        for v in instants
    ]
    assert converted.array.equals(pa.array(want, arrow))
    assert bad_rows(converted) == [i for i, v in enumerate(instants) if v == (0, 0)]


LONGEST_US = (838 * 3600 + 59 * 60 + 59) * 10**6 + 999_999


@given(
    st.lists(st.none() | st.integers(-LONGEST_US, LONGEST_US), max_size=20), digits_of_a_fraction
)
def test_times_of_either_sign_with_every_fraction(values: list[int | None], digits: int) -> None:
    kept = [None if v is None else (1 if v >= 0 else -1) * cut(abs(v), digits) for v in values]
    column = [None if v is None else packed_time(v, digits) for v in kept]
    array = good(temporal.times(digits)(cells(column)), pa.duration("us"))
    assert array.equals(pa.array(kept, pa.int64()).view(pa.duration("us")))


@pytest.mark.parametrize(
    ("convert", "raw", "reason"),
    [
        (temporal.dates, packed_date(0, 0, 0), "zero or impossible date"),
        (temporal.dates, packed_date(2021, 2, 29), "zero or impossible date"),
        (temporal.dates, packed_date(0, 3, 1), "zero or impossible date"),
        (lambda reject: temporal.datetimes(0, reject), bytes.fromhex("8000000000"), "zero or"),
        (lambda reject: temporal.timestamps(3, reject), bytes(6), "zero or impossible timestamp"),
    ],
)
def test_dates_that_do_not_exist_are_null_or_bad_as_asked(
    convert: object, raw: bytes, reason: str
) -> None:
    make: Converter = convert(False)  # type: ignore[operator]
    column = [None, raw]
    assert make(cells(column)).array.null_count == 2
    assert bad_rows(make(cells(column))) == []
    rejecting: Converter = convert(True)  # type: ignore[operator]
    converted = rejecting(cells(column))
    assert bad_rows(converted) == [1]
    assert converted.reason.startswith(reason)


def test_a_time_beyond_the_clock_is_a_bad_cell() -> None:
    beyond = (0x800000 | 1 << 12 | 60 << 6).to_bytes(3, "big")
    converted = temporal.times(0)(cells([packed_time(0, 0), beyond]))
    assert bad_rows(converted) == [1]
    assert converted.array.to_pylist() == [timedelta(0), None]
