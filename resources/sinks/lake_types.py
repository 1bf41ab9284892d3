"""Arrow types in a lake format: how each is stored, and the very same type back.

In: Arrow types and tables as a target has them. Out: tables of the types a format stores, back
without loss. A format states the types it has; what it has not is held by the next wider one.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.types as t

from resources.sinks.decimal_text import decimal_text

_UNSIGNED = {
    pa.uint8(): pa.int16(),
    pa.uint16(): pa.int32(),
    pa.uint32(): pa.int64(),
    pa.uint64(): pa.decimal128(20, 0),
}
_NARROW = {pa.int8(): pa.int32(), pa.int16(): pa.int32()}
_SAME = frozenset(
    {
        *(pa.bool_(), pa.int32(), pa.int64(), pa.float32(), pa.float64(), pa.date32()),
        *(pa.timestamp("us"), pa.timestamp("us", tz="UTC"), pa.string(), pa.binary()),
    }
)
_LARGE = {pa.large_string(): pa.string(), pa.large_binary(): pa.binary()}
_MOST_DIGITS = 38


@dataclass(frozen=True)
class LakeTypes:
    """The types of one format.

    Args:
        narrow_integers: It has whole numbers of 8 and 16 bits; else they are held by 32.
        text_decimals: DECIMAL beyond 38 digits is kept as text; else it is refused.
    """

    narrow_integers: bool
    text_decimals: bool = False

    def stored(self, type_: pa.DataType) -> pa.DataType | None:
        """Return the Arrow type of a column's files, None where there is no exact one.

        Durations are whole numbers of microseconds: no format has such a type for more than a day.
        """
        if type_ in _UNSIGNED:
            return self.stored(_UNSIGNED[type_])
        if type_ in _NARROW:
            return type_ if self.narrow_integers else _NARROW[type_]
        if type_ in _SAME:
            return type_
        if type_ in _LARGE:
            return _LARGE[type_]
        if type_ == pa.duration("us"):
            return pa.int64()
        if t.is_decimal(type_):
            if type_.precision <= _MOST_DIGITS:
                return pa.decimal128(type_.precision, type_.scale)
            return pa.string() if self.text_decimals else None
        return self._nested(type_)

    def stored_schema(self, schema: pa.Schema) -> pa.Schema:
        """Return the schema of the files of a target whose types were checked."""
        return pa.schema([pa.field(f.name, self.stored(f.type)) for f in schema])

    def _nested(self, type_: pa.DataType) -> pa.DataType | None:
        if t.is_struct(type_):
            inner = [(f.name, self.stored(f.type)) for f in type_]
            return None if any(i is None for _, i in inner) else pa.struct(inner)
        if t.is_list(type_):
            item = self.stored(type_.value_type)
            return None if item is None else pa.list_(item)
        return None


def to_storage(rows: pa.Table, types: LakeTypes) -> pa.Table:
    """Return rows of a target in the types of its files."""
    schema = types.stored_schema(rows.schema)
    columns = [_stored(c, f.type) for c, f in zip(rows.columns, schema, strict=True)]
    return pa.table(columns, schema=schema)


def from_storage(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return rows of files in the types of the target.

    Args:
        rows: Columns by name, in any order.
        schema: The target's, or a part of it.
    """
    columns = [rows[f.name].cast(f.type) for f in schema]
    return pa.table(columns, schema=schema)


def write_type(type_: pa.DataType) -> str:
    """Return an Arrow type as text for a column's metadata."""
    return base64.b64encode(pa.schema([("", type_)]).serialize().to_pybytes()).decode()


def read_type(text: str) -> pa.DataType:
    """Read what `write_type` wrote."""
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text))).field(0).type


def _stored(column: pa.ChunkedArray, wanted: pa.DataType) -> pa.ChunkedArray:
    if t.is_decimal(column.type) and t.is_string(wanted):
        return pa.chunked_array([decimal_text(c) for c in column.chunks], type=wanted)
    return column if column.type == wanted else column.cast(wanted)
