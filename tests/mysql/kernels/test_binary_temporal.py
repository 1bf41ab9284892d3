"""Dates and times of the binary protocol: what Python's datetime makes of the same numbers."""

from __future__ import annotations

import struct
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.mysql.kernels.binary_temporal import binary_dates, binary_datetimes, binary_times
from tests.mysql.kernels.wire import bad_rows, cells, columns, good

ZONES = [pa.timestamp("us"), pa.timestamp("us", tz="UTC")]
LONGEST = timedelta(hours=838, minutes=59, seconds=59)
fields = st.tuples(st.integers(0, 70), st.integers(0, 70), st.integers(0, 70))


def sent_date(value: date) -> bytes:
    return struct.pack("<HBB", value.year, value.month, value.day)


def sent_datetime(value: datetime) -> bytes:
    """As servers send it: without a fraction of 0, without midnight."""
    clock = bytes([value.hour, value.minute, value.second])
    if value.microsecond:
        return sent_date(value) + clock + struct.pack("<I", value.microsecond)
    return sent_date(value) + (clock if any(clock) else b"")


def sent_time(value: timedelta) -> bytes:
    size = abs(value)
    if not size:
        return b""
    minutes, seconds = divmod(size.seconds, 60)
    head = struct.pack("<BIBBB", value < timedelta(), size.days, *divmod(minutes, 60), seconds)
    return head + (struct.pack("<I", size.microseconds) if size.microseconds else b"")


@given(values=st.lists(st.none() | st.dates(), max_size=30))
def test_dates_are_read_exactly(values: list[date | None]) -> None:
    column = cells([v and sent_date(v) for v in values], 1)
    assert good(binary_dates(False)(column), pa.date32()).to_pylist() == values


@pytest.mark.parametrize("arrow", ZONES, ids=str)
@given(values=st.lists(st.none() | st.datetimes(), max_size=30))
def test_datetimes_are_read_exactly(arrow: pa.DataType, values: list[datetime | None]) -> None:
    column = cells([v and sent_datetime(v) for v in values], 1)
    got = good(binary_datetimes(arrow, False)(column), arrow).to_pylist()
    zone = UTC if arrow.tz else None
    assert got == [v and v.replace(tzinfo=zone) for v in values]


@given(values=st.lists(st.none() | st.timedeltas(-LONGEST, LONGEST), max_size=30))
def test_times_are_read_exactly(values: list[timedelta | None]) -> None:
    column = cells([None if v is None else sent_time(v) for v in values], 1)
    got = good(binary_times(column), pa.duration("us")).cast(pa.int64()).to_pylist()
    assert got == [None if v is None else v // timedelta(microseconds=1) for v in values]


@given(year=st.integers(0, 0xFFFF), month=st.integers(0, 255), day=st.integers(0, 255))
def test_a_date_of_no_calendar_is_null_or_bad(year: int, month: int, day: int) -> None:
    cell = struct.pack("<HBB", year, month, day)
    want: date | None = None
    if year:
        try:
            want = date(year, month, day)
        except ValueError:
            want = None
    column = cells([cell, b""], 1)
    for converted in (binary_dates(True)(column), binary_datetimes(ZONES[0], True)(column)):
        assert bad_rows(converted) == ([1] if want else [0, 1])
    assert good(binary_dates(False)(column), pa.date32()).to_pylist() == [want, None]
    moments = good(binary_datetimes(ZONES[0], False)(column), ZONES[0])
    assert moments.cast(pa.date32()).to_pylist() == [want, None]


@given(clock=fields, micros=st.integers(0, 2**32 - 1), days=st.integers(0, 2**32 - 1))
def test_a_time_of_no_clock_is_bad(clock: tuple[int, int, int], micros: int, days: int) -> None:
    hour, minute, second = clock
    fits = hour < 24 and minute < 60 and second < 60 and micros < 1_000_000
    moment = sent_date(date(2024, 2, 29)) + bytes(clock) + struct.pack("<I", micros)
    assert bad_rows(binary_datetimes(ZONES[0], True)(cells([moment], 1))) == ([] if fits else [0])
    span = struct.pack("<BI", 1, days) + bytes(clock) + struct.pack("<I", micros)
    fits = fits and days <= LONGEST.days
    assert bad_rows(binary_times(cells([span], 1))) == ([] if fits else [0])


@given(columns(st.sampled_from([0, 4, 7, 11]).flatmap(lambda n: st.binary(min_size=n, max_size=n))))
def test_any_bytes_of_a_length_that_passes_the_walk_are_a_value_or_bad(
    values: list[bytes | None],
) -> None:
    column = cells(values, 1)
    converted = binary_datetimes(ZONES[0], True)(column)
    bad = set(bad_rows(converted))
    valid = np.asarray(converted.array.is_valid())
    assert all(valid[i] != (v is None or i in bad) for i, v in enumerate(values))
