"""DECIMAL as text: what Python's decimal makes of the same digits."""

from __future__ import annotations

from decimal import Context, Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.mysql.kernels.decimal_text import text_decimals
from resources.mysql.types import decimal_type
from tests.mysql.kernels.wire import bad_rows, cells, good

EXACT = Context(prec=80)
types = st.integers(1, 65).flatmap(
    lambda precision: st.builds(
        decimal_type, st.just(precision), st.integers(0, min(precision, 30))
    )
)


@st.composite
def columns_of_numbers(draw: st.DrawFn) -> tuple[pa.DataType, list[Decimal | None]]:
    """A type and numbers of it."""
    arrow = draw(types)
    largest = 10**arrow.precision - 1
    units = st.integers(-largest, largest) | st.sampled_from([0, 1, -1, largest, -largest])
    values = draw(st.lists(st.none() | units, max_size=20))
    scaled = [None if v is None else EXACT.scaleb(Decimal(v), -arrow.scale) for v in values]
    return arrow, scaled


@given(column=columns_of_numbers())
def test_numbers_are_read_exactly(column: tuple[pa.DataType, list[Decimal | None]]) -> None:
    arrow, values = column
    texts = [None if v is None else f"{v:f}".encode() for v in values]
    assert good(text_decimals(arrow)(cells(texts, 1)), arrow).to_pylist() == values


@given(column=columns_of_numbers(), zeros=st.integers(0, 70), cut=st.integers(0, 30))
def test_zeros_in_front_and_missing_ones_behind_change_nothing(
    column: tuple[pa.DataType, list[Decimal | None]], zeros: int, cut: int
) -> None:
    arrow, values = column
    texts: list[bytes | None] = []
    for value in values:
        text = f"{value or Decimal(0):f}"
        behind = text.partition(".")[2]
        spare = min(cut, len(behind) - len(behind.rstrip("0")))
        text = text[: len(text) - spare].lstrip("-")
        sign = "-" if value is not None and value < 0 else ""
        texts.append(None if value is None else f"{sign}{'0' * zeros}{text}".encode())
    assert good(text_decimals(arrow)(cells(texts, 1)), arrow).to_pylist() == values


@pytest.mark.parametrize(
    "text",
    ["", "-", ".", ".5", "-.5", "1.2.3", "1e5", "+1", " 1", "1 ", "0x1", "--1", "1-", "NULL", "١"],
)
def test_what_is_no_number_is_bad(text: str) -> None:
    converted = text_decimals(pa.decimal128(12, 2))(cells([b"1.00", text.encode(), b"-2.50"], 1))
    assert bad_rows(converted) == [1]
    assert converted.array.to_pylist() == [Decimal("1.00"), None, Decimal("-2.50")]


@given(arrow=types, digits=st.integers(1, 80), fraction=st.integers(0, 40))
def test_more_digits_than_the_type_has_are_bad(
    arrow: pa.DataType, digits: int, fraction: int
) -> None:
    text = "9" * digits + ("." + "9" * fraction if fraction else "")
    fits = digits <= arrow.precision - arrow.scale and fraction <= arrow.scale
    converted = text_decimals(arrow)(cells([text.encode()], 1))
    assert bad_rows(converted) == ([] if fits else [0])
    assert converted.array.to_pylist() == [Decimal(text) if fits else None]
