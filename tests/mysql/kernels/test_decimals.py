"""Packed DECIMALs: the same numbers in Python's integers."""

from __future__ import annotations

import decimal
from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.mysql.binlog.decimal_value import decimal_bytes
from resources.mysql.kernels.decimals import decimals
from resources.mysql.types import decimal_type
from tests.mysql.kernels.wire import bad_rows, cells, good

BYTES = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4]
"""By the number of digits."""
forms = st.integers(1, 65).flatmap(
    lambda precision: st.tuples(st.just(precision), st.integers(0, min(30, precision)))
)


def packed(text: str, precision: int, scale: int) -> bytes:
    """Pack digits the way the manual describes it: nine to four bytes, from the point outwards."""
    digits = text.lstrip("-").rjust(precision, "0")
    whole, fraction = digits[: precision - scale], digits[precision - scale :]
    head = len(whole) % 9
    groups = [whole[:head]] + [whole[i : i + 9] for i in range(head, len(whole), 9)]
    groups += [fraction[i : i + 9] for i in range(0, len(fraction), 9)]
    out = bytearray(b"".join(int(g).to_bytes(BYTES[len(g)], "big") for g in groups if g))
    if text.startswith("-"):
        out = bytearray(octet ^ 0xFF for octet in out)
    out[0] ^= 0x80
    return bytes(out)


def unscaled(array: pa.Array, scale: int) -> list[int | None]:
    with decimal.localcontext(prec=80):
        return [None if v is None else int(v.scaleb(scale)) for v in array.to_pylist()]


@given(st.data(), forms)
def test_decimals_of_every_precision_and_scale(data: st.DataObject, form: tuple[int, int]) -> None:
    precision, scale = form
    most = 10**precision - 1
    numbers = st.sampled_from([0, 1, -1, most, -most]) | st.integers(-most, most)
    values = data.draw(st.lists(st.none() | numbers, max_size=20))
    column = [None if v is None else packed(str(v), precision, scale) for v in values]
    assert all(len(raw) == decimal_bytes(precision, scale) for raw in column if raw is not None)
    array = good(decimals(precision, scale)(cells(column)), decimal_type(precision, scale))
    assert unscaled(array, scale) == values


@pytest.mark.parametrize("form", [(1, 0), (9, 9), (18, 0), (19, 1), (38, 0), (39, 0), (65, 30)])
def test_extremes_of_decimals(form: tuple[int, int]) -> None:
    precision, scale = form
    values = [
        sign * n for sign in (1, -1) for n in (0, 1, 10**precision - 1, 10 ** (precision - 1))
    ]
    column = [packed(str(v), precision, scale) for v in values]
    array = good(decimals(precision, scale)(cells(column)), decimal_type(precision, scale))
    assert unscaled(array, scale) == values


def test_a_negative_zero_is_zero() -> None:
    array = good(decimals(5, 2)(cells([packed("-0", 5, 2)])), pa.decimal128(5, 2))
    assert unscaled(array, 2) == [0]


@given(st.lists(st.binary(min_size=18, max_size=18), min_size=1, max_size=20))
def test_groups_with_too_many_digits_are_bad_cells(column: list[bytes]) -> None:
    """DECIMAL(38,10) is groups of 1, 9, 9, 9, 9 and 1 digits."""
    converted = decimals(38, 10)(cells(column))
    bad = bad_rows(converted)
    for row, raw in enumerate(column):
        negative = raw[0] < 0x80
        plain = bytearray(octet ^ 0xFF for octet in raw) if negative else bytearray(raw)
        plain[0] &= 0x7F
        edges = [0, 1, 5, 9, 13, 17, 18]
        groups = [int.from_bytes(plain[a:b], "big") for a, b in pairwise(edges)]
        limits = [10**n for n in (1, 9, 9, 9, 9, 1)]
        fits = all(group < limit for group, limit in zip(groups, limits, strict=True))
        assert (row in bad) == (not fits)
