"""Rows brought to a target's columns: exact values, named rows, no work where nothing differs."""

from __future__ import annotations

import datetime as dt
import itertools
import math
from collections.abc import Callable
from decimal import Context, Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdc_assets.engine.casts import can_cast, cast
from cdc_assets.engine.conform import BadRow, conform
from resources.model.change import CHANGE_FIELDS, OP, SEQ, TS
from resources.model.table import Column
from resources.model.widening import widest
from tests.strategies import COLUMN_TYPES, WIDE_DECIMALS, arrow_values, comparable

TYPES = [
    *COLUMN_TYPES,
    *WIDE_DECIMALS,
    *(pa.decimal128(3, 0), pa.decimal128(12, 4), pa.decimal256(76, 0), pa.decimal256(76, 76)),
]
PAIRS = list(itertools.product(TYPES, repeat=2))
EXACT = Context(prec=200)
CASTS = [(a, b) for a, b in PAIRS if can_cast(a, b) and a != b]


def joined(a: pa.DataType, b: pa.DataType) -> pa.DataType | None:
    wide = widest(Column("c", a), Column("c", b))
    return None if wide is None else wide.type


WIDENINGS = [(a, wide) for a, b in PAIRS if (wide := joined(a, b)) is not None and wide != a]


@st.composite
def arrays_of(draw: st.DrawFn, pairs: list[tuple[pa.DataType, pa.DataType]]) -> Any:
    """An array with NULLs that begins somewhere in its buffers, and a type to cast it to."""
    given_type, wanted = draw(st.sampled_from(pairs))
    values = st.none() | arrow_values(given_type)
    if pa.types.is_floating(given_type) or pa.types.is_decimal(given_type):
        values |= st.integers(-5, 300).map(lambda n: _number(n, given_type))
    if pa.types.is_timestamp(given_type):
        values |= st.dates().map(lambda d: dt.datetime(d.year, d.month, d.day))
    items = draw(st.lists(values, max_size=6))
    skip = draw(st.integers(0, len(items)))
    return pa.array(items, given_type)[skip:], wanted


def _number(n: int, arrow: pa.DataType) -> Any:
    if pa.types.is_floating(arrow):
        return float(n)
    return Decimal(n) if arrow.precision - arrow.scale >= 3 else Decimal(0)


@settings(max_examples=300)
@given(arrays_of(WIDENINGS))
def test_the_widest_type_holds_every_value(drawn: tuple[pa.Array, pa.DataType]) -> None:
    values, wanted = drawn
    made, unfit = cast(values, wanted)
    assert (made.type, unfit) == (wanted, None)
    made.validate(full=True)
    back, lost = cast(made, values.type)
    assert lost is None
    assert comparable(pa.table([back], ["c"])) == comparable(pa.table([values], ["c"]))


@settings(max_examples=500)
@given(arrays_of(CASTS))
def test_a_cast_keeps_the_value_or_names_it(drawn: tuple[pa.Array, pa.DataType]) -> None:
    values, wanted = drawn
    made, unfit = cast(values, wanted)
    made.validate(full=True)
    assert made.type == wanted
    fits = [is_of(value, wanted) for value in values.to_pylist()]
    assert (np.ones(len(values), bool) if unfit is None else ~unfit).tolist() == fits
    assert unfit is None or unfit.any()
    for before, after, fit in zip(values.to_pylist(), made.to_pylist(), fits, strict=True):
        assert same_value(before, after) if fit else after is None


def same_value(before: Any, after: Any) -> bool:
    if isinstance(before, float) and math.isnan(before):
        return isinstance(after, float) and math.isnan(after)
    if isinstance(before, dt.date) and isinstance(after, dt.date):
        return as_moment(before) == as_moment(after)
    return bool(before == after) and (before is None) == (after is None)


def as_moment(value: dt.date) -> dt.datetime:
    return value if isinstance(value, dt.datetime) else dt.datetime(*value.timetuple()[:3])


def is_of(value: Any, arrow: pa.DataType) -> bool:
    """Whether a value is exactly one of a type, by Python's own numbers."""
    if value is None:
        return True
    if pa.types.is_date32(arrow) and isinstance(value, dt.datetime):
        return value.time() == dt.time()
    if pa.types.is_floating(arrow):
        return is_float(value, arrow)
    if isinstance(value, float) and not math.isfinite(value):
        return False
    if pa.types.is_integer(arrow):
        signed = pa.types.is_signed_integer(arrow)
        low, high = (-(2 ** (arrow.bit_width - 1)), 2 ** (arrow.bit_width - 1) - 1)
        low, high = (low, high) if signed else (0, 2**arrow.bit_width - 1)
        return value == int(value) and low <= value <= high
    if pa.types.is_decimal(arrow):
        number = Decimal(value)
        scaled = number.scaleb(arrow.scale, EXACT)
        return scaled == int(scaled) and abs(int(scaled)) < 10**arrow.precision
    return True


def is_float(value: Any, arrow: pa.DataType) -> bool:
    if isinstance(value, float) and not math.isfinite(value):
        return True
    try:
        number = float(value)
    except OverflowError:
        return False
    if arrow.bit_width == 32:
        with np.errstate(over="ignore"):
            number = float(np.float32(value))
    return math.isfinite(number) and number == value


def test_a_decimal_that_wraps_in_arrow_is_named() -> None:
    large = pa.array([Decimal("9" * 65), Decimal(0)], pa.decimal256(65, 0))
    wrapped = large.cast(pa.decimal256(76, 76)).to_pylist()[0]
    assert wrapped != large[0].as_py()  # should Arrow refuse it one day, its cast will do
    made, unfit = cast(large, pa.decimal256(76, 76))
    assert made.to_pylist() == [None, Decimal(0)]
    assert unfit is not None
    assert unfit.tolist() == [True, False]


@pytest.mark.parametrize(
    ("given_unit", "wanted_unit", "ticks", "result"),
    [
        ("s", "us", 2**62, None),
        ("s", "us", 9_223_372_036_854, 9_223_372_036_854_000_000),
        ("us", "s", 5_000_000, 5),
        ("us", "s", 5_000_001, None),
        ("us", "s", -5_000_001, None),
        ("us", "ns", -(2**63), None),
    ],
)
@pytest.mark.parametrize("kind", [pa.timestamp, pa.duration])
def test_units_are_exact_or_refused(
    kind: Callable[[str], pa.DataType], given_unit: str, wanted_unit: str, ticks: int, result: Any
) -> None:
    values = pa.array([ticks], pa.int64()).view(kind(given_unit))
    made, unfit = cast(values, kind(wanted_unit))
    assert made.view(pa.int64()).to_pylist() == [result]
    assert (unfit is None) == (result is not None)


def test_days_past_the_range_of_times_are_named() -> None:
    days = pa.array([0, 2**31 - 1, None, -(2**31)], pa.int32()).view(pa.date32())
    made, unfit = cast(days, pa.timestamp("us"))
    assert made.view(pa.int64()).to_pylist() == [0, None, None, None]
    assert unfit is not None
    assert unfit.tolist() == [False, True, False, True]
    seconds = pa.array([2**62 // 86_400 * 86_400], pa.int64()).view(pa.timestamp("s"))
    assert cast(seconds, pa.date32())[1].tolist() == [True]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (pa.int64(), pa.string()),
        (pa.float64(), pa.decimal128(10, 2)),
        (pa.decimal128(10, 2), pa.float64()),
        (pa.bool_(), pa.int8()),
        (pa.timestamp("us"), pa.timestamp("us", "UTC")),
        (pa.date32(), pa.timestamp("us", "UTC")),
        (pa.string(), pa.binary()),
        (pa.duration("us"), pa.int64()),
    ],
)
def test_no_value_changes_what_it_is(a: pa.DataType, b: pa.DataType) -> None:
    assert not can_cast(a, b)
    assert not can_cast(b, a)


ROWS = pa.table(
    {
        "id": pa.array([1, 2, 3, 4], pa.int64()),
        "price": pa.array([10, None, 2**40, -(2**40)], pa.int64()),
        "note": pa.array(["a", "b", None, None], pa.string()),
        OP: pa.array([0, 0, 0, 0], pa.uint8()),
        SEQ: pa.array([1, 2, 3, 4], pa.uint64()),
        TS: pa.array([0, 0, 0, 0], CHANGE_FIELDS[2].type),
    }
)
CHANGE_COLUMNS = [OP, SEQ, TS]
ID, PRICE = Column("id", pa.int64()), Column("price", pa.int64())
NOTE = Column("note", pa.string())


def test_rows_that_fit_are_handed_back_untouched() -> None:
    for rows in (ROWS, ROWS.to_batches()[0], ROWS.drop_columns(CHANGE_COLUMNS)):
        conformed = conform(rows, [ID, PRICE, NOTE])
        assert conformed.rows is rows
        assert (conformed.bad, conformed.keep) == ([], None)


def test_unchanged_columns_keep_their_memory() -> None:
    rows = conform(ROWS, [NOTE, ID, PRICE]).rows
    assert rows.schema.names == ["note", "id", "price", *CHANGE_COLUMNS]
    assert rows.column("id").chunk(0).buffers()[1].address == (
        ROWS.column("id").chunk(0).buffers()[1].address
    )


def test_a_narrower_target_takes_what_fits_and_names_the_rest() -> None:
    for rows in (ROWS, ROWS.to_batches()[0], pa.concat_tables([ROWS[:2], ROWS[2:]])):
        conformed = conform(rows, [ID, Column("price", pa.int32()), NOTE])
        assert type(conformed.rows) is type(rows)
        assert conformed.rows.column("price").to_pylist() == [10, None]
        assert conformed.rows.column(SEQ).to_pylist() == [1, 2]
        message = "the value, of type int64, is not exactly one of the target's int32"
        assert conformed.bad == [BadRow(2, "price", message), BadRow(3, "price", message)]
        assert conformed.keep is not None
        assert conformed.keep.to_pylist() == [True, True, False, False]


def test_a_type_without_a_way_takes_nulls_only() -> None:
    conformed = conform(ROWS, [ID, Column("price", pa.string()), NOTE])
    assert conformed.rows.column("price").to_pylist() == [None]
    assert [bad.row for bad in conformed.bad] == [0, 2, 3]
    assert conformed.bad[0].message == "values of type int64 cannot be string without loss"


def test_columns_the_target_lacks_are_dropped_by_decision_only() -> None:
    conformed = conform(ROWS, [ID, PRICE])
    assert conformed.rows.column("id").to_pylist() == [3, 4]
    message = "column note is not in the target"
    assert conformed.bad == [BadRow(0, "note", message), BadRow(1, "note", message)]
    conformed = conform(ROWS, [ID, PRICE], ignored=["note"])
    assert conformed.bad == []
    assert conformed.rows.schema.names == ["id", "price", *CHANGE_COLUMNS]
    empty = ROWS.set_column(2, "note", pa.nulls(4, pa.string()))
    assert conform(empty, [ID, PRICE]).rows.num_rows == 4


def test_columns_the_rows_lack_are_null() -> None:
    added = Column("added", pa.decimal256(50, 2))
    rows = conform(ROWS.to_batches()[0], [ID, added, PRICE, NOTE]).rows
    assert rows.schema.field("added").type == added.type
    assert rows.column("added").to_pylist() == [None] * 4
    assert conform(ROWS[:0], [ID, added]).rows.num_rows == 0


def test_one_message_a_row_names_its_first_column() -> None:
    conformed = conform(ROWS, [Column("id", pa.bool_()), Column("price", pa.int8())])
    assert [(bad.row, bad.column) for bad in conformed.bad] == [(n, "id") for n in range(4)]


def test_names_compare_as_the_target_compares_them() -> None:
    columns = [Column("ID", pa.int64()), PRICE, NOTE]
    assert conform(ROWS, columns, fold=str.lower).rows.schema.names[:1] == ["ID"]
    assert len(conform(ROWS, columns).bad) == 4
