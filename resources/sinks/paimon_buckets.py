"""Which bucket of its partition a key goes to, as every engine of Paimon computes it.

In: key columns in stored types. Out: a bucket number per row: the key as one of Paimon's binary
rows, its 32-bit Murmur3 hash with the seed 42, modulo the number of buckets. Whole numbers and
dates are hashed a column at a time; other keys row by row, by pypaimon's own code.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.types as t
from pypaimon.schema.data_types import DataField
from pypaimon.table.row.generic_row import GenericRow, GenericRowSerializer
from pypaimon.table.row.internal_row import RowKind
from pypaimon.write.row_key_extractor import _bucket_from_hash, _hash_bytes_by_words

Numbers = npt.NDArray[np.int64]
_Words = npt.NDArray[np.uint32]
_SEED = 42
_HEADER_BYTES = 8
_MOST_COLUMNS = 56
"""More key columns have a longer header."""


def buckets_of(keys: pa.Table, fields: Sequence[DataField], count: int) -> Numbers:
    """Return the bucket of each row.

    Args:
        keys: The key columns without those of the partition, none of them NULL.
        fields: Their fields in Paimon's schema.
        count: How many buckets a partition has.
    """
    if count == 1 or not keys.num_rows:
        return np.zeros(keys.num_rows, np.int64)
    if len(fields) <= _MOST_COLUMNS and all(_is_plain(c.type) for c in keys.columns):
        hashes = _murmur(_words(keys)).view(np.int32).astype(np.int64)
        return np.abs(np.fmod(hashes, count))
    rows = zip(*(c.to_pylist() for c in keys.columns), strict=True)
    found = (_bucket_from_hash(_hash(row, fields), count) for row in rows)
    return np.fromiter(found, np.int64, keys.num_rows)


def _hash(row: Sequence[object], fields: Sequence[DataField]) -> int:
    whole = GenericRowSerializer.to_bytes(GenericRow(list(row), list(fields), RowKind.INSERT))
    return int(_hash_bytes_by_words(whole[4:]))


def _is_plain(type_: pa.DataType) -> bool:
    return bool(t.is_signed_integer(type_) or t.is_date32(type_))


def _words(keys: pa.Table) -> _Words:
    """Return the binary rows as 32-bit words: a header of zeros, then 8 bytes per column."""
    words = np.zeros((keys.num_rows, _HEADER_BYTES // 4 + 2 * keys.num_columns), np.uint32)
    for number, column in enumerate(keys.columns):
        width = column.type.bit_width
        plain = column.cast(pa.int32()) if t.is_date32(column.type) else column
        bits = plain.cast(pa.int64()).to_numpy().view(np.uint64)
        if width < 64:
            bits = bits & np.uint64(2**width - 1)
        words[:, 2 + 2 * number] = bits & np.uint64(0xFFFFFFFF)
        words[:, 3 + 2 * number] = bits >> np.uint64(32)
    return words


def _murmur(words: _Words) -> _Words:
    """Return the Murmur3 hash of each row of words."""
    hashes = np.full(len(words), _SEED, np.uint32)
    for number in range(words.shape[1]):
        mixed = words[:, number] * np.uint32(0xCC9E2D51)
        mixed = _turned(mixed, 15) * np.uint32(0x1B873593)
        hashes = _turned(hashes ^ mixed, 13) * np.uint32(5) + np.uint32(0xE6546B64)
    hashes ^= np.uint32(4 * words.shape[1])
    hashes ^= hashes >> np.uint32(16)
    hashes *= np.uint32(0x85EBCA6B)
    hashes ^= hashes >> np.uint32(13)
    hashes *= np.uint32(0xC2B2AE35)
    return hashes ^ (hashes >> np.uint32(16))


def _turned(words: _Words, bits: int) -> _Words:
    return (words << np.uint32(bits)) | (words >> np.uint32(32 - bits))
