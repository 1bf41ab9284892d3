"""ENUM and SET: numbers to the labels they stand for.

In: little-endian indexes or bit sets. Out: string arrays; numbers beyond the labels are marked.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from resources.model.arrays import from_words
from resources.mysql.kernels.cells import Cells, Converted, Converter, gather
from resources.mysql.kernels.direct import LABEL, Direct
from resources.mysql.kernels.intrinsics import BLOCK
from resources.mysql.kernels.numbers import fixed_array, little_endian

_OFFSET = 4


def enums(width: int, labels: tuple[str, ...]) -> Converter:
    """Return the converter of an ENUM column, to string.

    Args:
        width: Bytes of each cell, 1 or 2.
        labels: In index order from 1; the index 0 stands for invalid input and reads as ''.
    """
    words = [label.encode() for label in ("", *labels)]
    # A copy: a read-only array would be another type to compile for.
    padded = np.frombuffer(b"".join([*words, bytes(BLOCK)]), np.uint8).copy()
    sizes = np.array([len(word) for word in words], np.int64)
    begins = np.cumsum(sizes) - sizes

    def convert(cells: Cells) -> Converted:
        index = little_endian(cells, width)
        bad = index >= len(sizes)
        absent = cells.null | bad
        index[absent] = 0
        array = gather(Cells(padded, begins[index], sizes[index], absent), pa.string())
        return Converted(array, bad if bad.any() else None, "an ENUM index beyond its labels")

    pairs = tuple(zip(begins.tolist(), sizes.tolist(), strict=True))
    longest = int(sizes.max())
    text = b"".join(words)
    return Direct(convert, LABEL, pa.string(), _OFFSET, longest, numbers=pairs, text=text)


def sets(width: int, labels: tuple[str, ...]) -> Converter:
    """Return the converter of a SET column, to its labels joined by commas.

    Args:
        width: Bytes of each cell, 1 to 8.
        labels: In bit order, at most 64.
    """

    def word(bits: int) -> str | None:
        if bits >> len(labels):
            return None
        return ",".join(label for i, label in enumerate(labels) if bits >> i & 1)

    def convert(cells: Cells) -> Converted:
        bits = fixed_array(pa.uint64(), little_endian(cells, width), cells.null)
        distinct = bits.dictionary_encode()
        words = from_words([word(n) for n in distinct.dictionary.to_pylist()])
        array = words.take(distinct.indices)
        bad = None
        if words.null_count:
            bad = np.asarray(array.is_null()) & ~cells.null
        return Converted(array, bad, "a SET bit beyond its labels")

    return convert
