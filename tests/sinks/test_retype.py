"""Types that hold the values of others, and what is left of lists of column changes."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.errors import SchemaMismatch
from resources.sinks.contract import TargetId
from resources.sinks.memory_tables import converted
from resources.sinks.retype import convertible, widens
from tests.strategies import COLUMN_TYPES, WIDE_DECIMALS, arrow_values

TYPES = (*COLUMN_TYPES, *WIDE_DECIMALS, pa.timestamp("s"), pa.timestamp("ns"))
PAIRS = [(a, b) for a in TYPES for b in TYPES]
WIDER = [(a, b) for a, b in PAIRS if a != b and widens(a, b)]
ID = TargetId("shop", "t")


@settings(max_examples=100, deadline=None, database=None)
@given(data=st.data())
def test_a_wider_type_holds_every_value(data: st.DataObject) -> None:
    old, new = data.draw(st.sampled_from(WIDER))
    values = data.draw(st.lists(st.none() | arrow_values(old), max_size=4))
    column = pa.chunked_array([pa.array(values, old)], old)
    assert converted(ID, "v", column, new).type == new


def test_exact_types_that_do_not_widen_have_a_value_that_does_not_fit() -> None:
    exact = [t for t in TYPES if pa.types.is_integer(t) or pa.types.is_decimal(t)]
    tried = 0
    for old in exact:
        for new in (t for t in exact if not widens(old, t)):
            column = pa.chunked_array([pa.array(_ends(old), old)])
            with pytest.raises(SchemaMismatch):
                converted(ID, "v", column, new)
            tried += 1
    assert tried > 50


def test_what_widens_is_convertible_and_order_is_kept() -> None:
    for a, b in PAIRS:
        assert convertible(a, b) or not widens(a, b)
        for c in TYPES:
            assert not (widens(a, b) and widens(b, c) and convertible(a, c)) or widens(a, c)


def _ends(type_: pa.DataType) -> list[object]:
    """The smallest and greatest value, and the smallest step."""
    if pa.types.is_decimal(type_):
        nines = pa.scalar(f"{'9' * type_.precision}E{-type_.scale}").cast(type_).as_py()
        return [nines, nines.copy_negate(), pa.scalar(f"1E{-type_.scale}").cast(type_).as_py()]
    bits, signed = type_.bit_width, pa.types.is_signed_integer(type_)
    return [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] if signed else [0, 2**bits - 1]
