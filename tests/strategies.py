"""Hypothesis strategies for Arrow values, table schemas and change sequences.

Change sequences are any row kinds on a handful of keys, a superset of what a log can say: a key
may be inserted twice (a replay) or deleted before it was there (a snapshot's overlap).
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from resources.model.change import RowKind, change_schema
from resources.model.table import Column, TableId, TableSchema

GEOMETRY = pa.struct([("srid", pa.uint32()), ("wkb", pa.binary())])
VECTOR = pa.list_(pa.float32())
KEY_TYPES: tuple[pa.DataType, ...] = (
    *(pa.int8(), pa.int16(), pa.int32(), pa.int64()),
    *(pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
    *(pa.decimal128(5, 5), pa.decimal128(18, 3), pa.decimal128(38, 0), pa.decimal128(38, 30)),
    *(pa.float32(), pa.float64()),
    *(pa.date32(), pa.timestamp("us"), pa.timestamp("us", tz="UTC"), pa.duration("us")),
    *(pa.string(), pa.large_string(), pa.binary(), pa.large_binary()),
)
WIDE_DECIMALS: tuple[pa.DataType, ...] = (pa.decimal256(65, 30), pa.decimal256(65, 0))
COLUMN_TYPES: tuple[pa.DataType, ...] = (*KEY_TYPES, pa.bool_(), GEOMETRY, VECTOR)
"""Every Arrow type of docs/types.md but the decimals beyond 38 digits, which sinks may refuse."""
HOSTILE_NAMES = (
    *("select", "order", "from", "rowid", "live", "gone", "cdc_rows", "a b", "a.b", "%s", "?"),
    *('say "hi"', "it's", "semi;colon", "back`tick", "-- x", "/*x*/", "名前", "É", "é", "ſ"),
    *("😀", "line\nbreak", "back\\slash", "x" * 63),
)
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_LONGEST_TIME_US = (838 * 3600 + 59 * 60 + 59) * 10**6 + 999_999
_INT64 = 2**63


def arrow_values(column_type: pa.DataType, *, nul: bool = True) -> st.SearchStrategy[Any]:
    """Values `pa.array` takes for a type, its extremes among them, never None.

    Text has the character U+0000 only if `nul`.
    """
    t = pa.types
    if t.is_boolean(column_type):
        return st.booleans()
    if t.is_integer(column_type):
        bits, signed = column_type.bit_width, t.is_signed_integer(column_type)
        low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
        return st.integers(low, high) | st.sampled_from([low, high, 0])
    if t.is_decimal(column_type):
        top = 10**column_type.precision - 1
        units = st.integers(-top, top) | st.sampled_from([0, 1, -1, top, -top])
        return units.map(lambda n: _decimal(n, column_type.scale))
    if t.is_floating(column_type):
        return st.floats(width=column_type.bit_width)
    if t.is_date(column_type):
        return st.dates() | st.sampled_from([dt.date.min, dt.date.max])
    if t.is_timestamp(column_type):
        zone = None if column_type.tz is None else dt.UTC
        ends = [dt.datetime.min, dt.datetime.max, dt.datetime(1969, 12, 31, 23, 59, 59, 999_999)]
        values = st.datetimes() | st.sampled_from(ends)
        return values.map(lambda v: v.replace(tzinfo=zone))
    if t.is_duration(column_type):
        times = [-_LONGEST_TIME_US, _LONGEST_TIME_US, -250_000, 86_400_000_000, 0]
        return st.integers(-_LONGEST_TIME_US, _LONGEST_TIME_US) | st.sampled_from(times)
    values = _nested_or_bytes(column_type)
    if nul or not (t.is_string(column_type) or t.is_large_string(column_type)):
        return values
    return values.map(lambda text: text.replace("\0", ""))


def _nested_or_bytes(column_type: pa.DataType) -> st.SearchStrategy[Any]:
    t = pa.types
    if t.is_string(column_type) or t.is_large_string(column_type):
        plain = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
        return plain | st.sampled_from(["", "a", "A", "a ", "ä", "a\0b", "1", "01", "NULL"])
    if t.is_binary(column_type) or t.is_large_binary(column_type):
        return st.binary(max_size=12) | st.sampled_from([b"", b"\0", b"\0\0", b"\xff"])
    if t.is_struct(column_type):
        return st.fixed_dictionaries({f.name: arrow_values(f.type) for f in column_type})
    return st.lists(arrow_values(column_type.value_type), max_size=4)


def key_values(column_type: pa.DataType, *, nul: bool = True) -> st.SearchStrategy[Any]:
    """Values that can stand in a key: no NaN, which no server takes."""
    values = arrow_values(column_type, nul=nul)
    return values.filter(lambda v: v == v) if pa.types.is_floating(column_type) else values


@st.composite
def table_schemas(
    draw: st.DrawFn,
    types: tuple[pa.DataType, ...] = COLUMN_TYPES,
    key_types: tuple[pa.DataType, ...] = KEY_TYPES,
    hostile: tuple[str, ...] = HOSTILE_NAMES,
) -> TableSchema:
    """Tables of one to three key columns and up to four others, under hostile names."""
    keys = draw(st.lists(st.sampled_from(key_types), min_size=1, max_size=3))
    others = draw(st.lists(st.sampled_from(types), max_size=4))
    count = len(keys) + len(others)
    names = draw(
        st.lists(
            st.sampled_from(hostile) | st.text("abcdefg_", min_size=1, max_size=6),
            min_size=count,
            max_size=count,
            unique_by=str.lower,
        )
    )
    columns = [
        Column(n, t, nullable=i >= len(keys)) for i, (n, t) in _numbered(names, keys, others)
    ]
    order = draw(st.permutations(columns))
    return TableSchema(TableId("shop", "t"), tuple(order), tuple(names[: len(keys)]))


@dataclass(frozen=True)
class Changes:
    """A sequence of changes of one table.

    Args:
        schema: The table.
        rows: Row kind and the column values by name, in log order; `_cdc_seq` is first + index.
        first: `_cdc_seq` of the first row.
    """

    schema: TableSchema
    rows: list[tuple[RowKind, dict[str, Any]]]
    first: int = 1

    def part(self, start: int, stop: int) -> Changes:
        """The changes [start, stop), with the `_cdc_seq` they have here."""
        return Changes(self.schema, self.rows[start:stop], self.first + start)

    def batch(self) -> pa.RecordBatch:
        """One change batch of all rows."""
        arrow = change_schema(self.schema)
        seqs = range(self.first, self.first + len(self.rows))
        extra = [[int(k) for k, _ in self.rows], list(seqs), [_EPOCH] * len(self.rows)]
        columns = [
            *([row[n] for _, row in self.rows] for n in self.schema.names),
            *extra,
        ]
        arrays = [pa.array(c, f.type) for c, f in zip(columns, arrow, strict=True)]
        return pa.RecordBatch.from_arrays(arrays, schema=arrow)

    def batches(self, cuts: list[int]) -> list[pa.RecordBatch]:
        """The same rows cut into several batches."""
        edges = [0, *sorted(cuts), len(self.rows)]
        whole = self.batch()
        return [whole.slice(a, b - a) for a, b in itertools.pairwise(edges)]

    def apply(self, state: dict[tuple[Any, ...], dict[str, Any]]) -> None:
        """Apply the rows one by one to a plain dict: the oracle."""
        for kind, row in self.rows:
            key = tuple(row[k] for k in self.schema.key)
            if kind in (RowKind.INSERT, RowKind.UPDATE_AFTER):
                state[key] = row
            else:
                state.pop(key, None)


@st.composite
def change_sequences(
    draw: st.DrawFn,
    schemas: st.SearchStrategy[TableSchema],
    max_size: int = 24,
    *,
    nul: bool = True,
    fits: Callable[[pa.DataType, Any], bool] = lambda _type, _value: True,
) -> Changes:
    """Inserts, updates, key changes, swaps and deletes over at most five keys.

    `fits` says whether a sink holds a value of a type; the others are not drawn.
    """
    schema = draw(schemas)
    key_columns = [schema.column(k) for k in schema.key]

    def fitting(values: st.SearchStrategy[Any], type_: pa.DataType) -> st.SearchStrategy[Any]:
        return values.filter(lambda value: fits(type_, value))

    one_key = st.tuples(*(fitting(key_values(c.type, nul=nul), c.type) for c in key_columns))
    keys = draw(st.lists(one_key, min_size=1, max_size=5))
    values = {
        c.name: st.none() | fitting(arrow_values(c.type, nul=nul), c.type)
        for c in schema.columns
        if c.name not in schema.key
    }
    row_values = st.fixed_dictionaries(values)
    some_key = st.sampled_from(keys)

    def row(key: tuple[Any, ...]) -> dict[str, Any]:
        named = {**dict(zip(schema.key, key, strict=True)), **draw(row_values)}
        return {n: named[n] for n in schema.names}

    rows: list[tuple[RowKind, dict[str, Any]]] = []
    for action in draw(st.lists(st.sampled_from("iudks"), max_size=max_size)):
        key, other = draw(some_key), draw(some_key)
        if action == "i":
            rows.append((RowKind.INSERT, row(key)))
        elif action == "u":
            rows.append((RowKind.UPDATE_AFTER, row(key)))
        elif action == "d":
            rows.append((RowKind.DELETE, row(key)))
        else:  # a key change, or a swap of two keys by way of a third
            moves = [(key, other)] if action == "k" else _swap(key, other, draw(some_key))
            for old, new in moves:
                rows += [(RowKind.UPDATE_BEFORE, row(old)), (RowKind.UPDATE_AFTER, row(new))]
    return Changes(schema, rows, draw(st.sampled_from([1, (7 << 32) + 1])))


def comparable(table: pa.Table) -> list[str]:
    """Rows as sorted text that tells NaN, -0.0, NULL and the number of zeros apart."""
    columns = [c.cast(pa.int64()) if pa.types.is_duration(c.type) else c for c in table.columns]
    return sorted(map(repr, zip(*(c.to_pylist() for c in columns), strict=True)))


def state_table(schema: TableSchema, state: Mapping[Any, dict[str, Any]]) -> pa.Table:
    """The oracle's rows as an Arrow table of the schema."""
    arrays = [pa.array([r[c.name] for r in state.values()], c.type) for c in schema.columns]
    return pa.table(arrays, names=list(schema.names))


def _swap(a: Any, b: Any, spare: Any) -> list[tuple[Any, Any]]:
    return [(a, spare), (b, a), (spare, b)]


def _decimal(units: int, scale: int) -> Decimal:
    digits = tuple(int(d) for d in str(abs(units)))
    return Decimal((int(units < 0), digits, -scale))


def _numbered(
    names: list[str], keys: list[pa.DataType], others: list[pa.DataType]
) -> list[tuple[int, tuple[str, pa.DataType]]]:
    return list(enumerate(zip(names, [*keys, *others], strict=True)))
