"""Arrays made and read around pandas equal those made and read through it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from resources.model.arrays import from_mask, from_numbers, from_words, to_numbers

TYPES = (pa.int8(), pa.uint8(), pa.int32(), pa.int64(), pa.uint64())


@given(st.data())
def test_numbers_come_back_from_any_slice(data: st.DataObject) -> None:
    arrow = data.draw(st.sampled_from(TYPES))
    limits = np.iinfo(arrow.to_pandas_dtype())
    values = data.draw(st.lists(st.integers(int(limits.min), int(limits.max)), max_size=20))
    array = from_numbers(arrow, np.array(values, dtype=arrow.to_pandas_dtype()))
    array.validate(full=True)
    assert array.equals(pa.array(values, arrow))
    start, stop = sorted(data.draw(st.tuples(*[st.integers(0, len(values))] * 2)))
    part = array.slice(start, stop - start)
    assert to_numbers(part).tolist() == values[start:stop]
    assert to_numbers(part).dtype == arrow.to_pandas_dtype()


def test_numbers_of_no_rows_need_no_memory() -> None:
    for empty in (pa.array([], pa.uint64()), pa.nulls(0, pa.uint64())):
        assert to_numbers(empty).tolist() == []


@given(st.lists(st.booleans(), max_size=40))
def test_masks_keep_every_bit(mask: list[bool]) -> None:
    array = from_mask(np.array(mask, dtype=bool))
    array.validate(full=True)
    assert array.equals(pa.array(mask, pa.bool_()))


@given(st.lists(st.none() | st.text(max_size=5), max_size=20))
def test_words_keep_their_text_and_their_absence(words: list[str | None]) -> None:
    array = from_words(words)
    array.validate(full=True)
    assert array.equals(pa.array(words, pa.string()))


def test_none_of_it_imports_pandas() -> None:
    code = """
import sys
import numpy as np
import pyarrow as pa
from resources.model.arrays import from_mask, from_numbers, from_words, to_numbers
table = pa.table({"n": from_numbers(pa.int64(), np.arange(3)), "t": from_words(["a", None, "c"])})
kept = table.filter(from_mask(np.array([True, False, True])))
assert to_numbers(pa.concat_arrays(kept["n"].chunks)).tolist() == [0, 2]
assert "pandas" not in sys.modules
pa.array([1])
assert "pandas" in sys.modules, "pa.array does not import pandas any more: use it again"
"""
    subprocess.run([sys.executable, "-c", code], check=True)
