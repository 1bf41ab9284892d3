"""ENUM and SET: labels by index and by bit."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from resources.mysql.kernels import labels
from tests.mysql.kernels.wire import bad_rows, cells

words = st.lists(st.text(max_size=5), min_size=1, max_size=64).map(tuple)


@given(words, st.lists(st.none() | st.integers(0, 80), max_size=30), st.sampled_from([1, 2]))
def test_enums_read_as_their_labels(
    words: tuple[str, ...], indexes: list[int | None], width: int
) -> None:
    column = [None if i is None else i.to_bytes(width, "little") for i in indexes]
    converted = labels.enums(width, words)(cells(column))
    known = dict(enumerate(("", *words)))
    want = [None if i is None else known.get(i) for i in indexes]
    assert converted.array.equals(pa.array(want, pa.string()))
    beyond = [row for row, i in enumerate(indexes) if i is not None and i > len(words)]
    assert bad_rows(converted) == beyond


@given(st.data(), words)
def test_sets_read_as_their_labels_joined(data: st.DataObject, words: tuple[str, ...]) -> None:
    width = next(n for n in (1, 2, 3, 4, 8) if len(words) <= 8 * n)
    bits = st.sets(st.integers(0, len(words) - 1)) | st.sets(st.integers(0, 8 * width - 1))
    chosen = data.draw(st.lists(st.none() | bits, max_size=20))
    column = [
        None if s is None else sum(1 << bit for bit in s).to_bytes(width, "little") for s in chosen
    ]
    beyond = [r for r, s in enumerate(chosen) if s and max(s) >= len(words)]
    want = [
        None if s is None or row in beyond else ",".join(words[bit] for bit in sorted(s))
        for row, s in enumerate(chosen)
    ]
    converted = labels.sets(width, words)(cells(column))
    assert converted.array.equals(pa.array(want, pa.string()))
    assert bad_rows(converted) == beyond
