"""DuckDB over Arrow: one query computes all expressions of a batch, and rows that fail are found.

In: arrays and SQL. Out: arrays in the Arrow types asked for. One in-memory database per process,
one connection per thread; nothing is kept between batches.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cdc_assets.engine.transforms.typed import TIME, storage_type
from resources.errors import TerminalError
from resources.model.arrays import from_numbers, pack_bits
from resources.sinks.bisect import Refusal, bisect_rejected

_SAFE: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
}
_SETTINGS = ("SET error_on_division_by_zero = false", "SET TimeZone = 'UTC'")
_ROW_ERRORS = (
    duckdb.ConversionException,
    duckdb.InvalidInputException,
    duckdb.OutOfRangeException,
    duckdb.SyntaxException,  # a pattern of LIKE that ends in its escape character
)
Indices = npt.NDArray[np.int64]
NONE: Indices = np.empty(0, np.int64)


# A subexpression that occurs twice would be computed outside of the TRY that should catch it, and
# constants folded into each other (`y * big * 1000000`) may overflow where no row does.
_CAUTIOUS = (
    *_SETTINGS,
    "SET disabled_optimizers = 'common_subexpressions,expression_rewriter'",
)


class _Local(threading.local):
    def __init__(self) -> None:
        self.connections: dict[tuple[str, ...], duckdb.DuckDBPyConnection] = {}


_LOCAL = _Local()


@dataclass(frozen=True)
class Column:
    """One column of a query.

    Args:
        sql: Its SQL over the query's inputs.
        type: The Arrow type it has.
    """

    sql: str
    type: pa.DataType


@dataclass(frozen=True)
class Selected:
    """One column of a query's answer.

    Args:
        values: An array of the type asked for; NULL where the SQL failed.
        failed: Indices of the rows it failed on, ascending.
    """

    values: pa.Array
    failed: Indices


def select(inputs: Mapping[str, pa.Array], rows: int, columns: Sequence[Column]) -> list[Selected]:
    """Compute columns row by row, in the order of the rows.

    Args:
        inputs: Arrays by the plain names the SQL uses.
        rows: Their length.
        columns: What to compute.

    Raises:
        TerminalError: DuckDB cannot run the query at all.
    """
    if not columns:
        return []
    table = _table(inputs, rows)
    try:
        found = _query(table, [c.sql for c in columns])
    except _ROW_ERRORS:
        return _one_by_one(table, columns)
    return [Selected(_from_storage(found.column(i), c.type), NONE) for i, c in enumerate(columns)]


def check_types(types: Mapping[str, pa.DataType], columns: Sequence[Column]) -> str | None:
    """Bind a query without running it; return what DuckDB says against it, None if nothing.

    Args:
        types: Arrow types of the inputs.
        columns: What would be computed.

    Raises:
        TerminalError: A column would have another type than the compiler said (a defect).
    """
    table = _table({name: pa.nulls(0, type_) for name, type_ in types.items()}, 0)
    try:
        relation = _connection().from_arrow(table).project(_text([c.sql for c in columns]))
        found = [str(t) for t in relation.types]
    except duckdb.Error as error:
        return str(error).splitlines()[0]
    for column, type_ in zip(columns, found, strict=True):
        wanted = storage_type(column.type)
        if type_ != wanted and column.type != pa.null():
            raise TerminalError(
                f"DuckDB computes {type_} where {wanted} was expected: {column.sql}",
                remedy="this is a defect of cdc-assets; please report the expression",
            )
    return None


def bits_of(values: pa.BooleanArray) -> npt.NDArray[np.bool_]:
    """Return booleans without NULLs as numpy has them."""
    if not len(values):
        return np.empty(0, bool)
    packed = np.frombuffer(values.buffers()[1], np.uint8)
    bits = np.unpackbits(packed, bitorder="little", count=values.offset + len(values))
    return bits[values.offset :].view(np.bool_)


def _one_by_one(table: pa.Table, columns: Sequence[Column]) -> list[Selected]:
    """Compute with every failure caught: NULL itself is told from failing by a struct around it."""
    try:
        found = _query(table, [f"TRY({{'v': {c.sql}}})" for c in columns], _CAUTIOUS)
    except _ROW_ERRORS:  # some errors pass through TRY
        if len(columns) > 1:
            return [one for c in columns for one in _one_by_one(table, [c])]
        return [_by_halves(table, columns[0])]
    selected = []
    for i, column in enumerate(columns):
        structs = found.column(i).combine_chunks()
        failed = np.flatnonzero(bits_of(structs.is_null()))
        values = pc.struct_field(structs, [0])
        selected.append(Selected(_from_storage(pa.chunked_array([values]), column.type), failed))
    return selected


def _by_halves(table: pa.Table, column: Column) -> Selected:
    """Compute a column, and find the rows it fails on by trying parts of the table."""

    def trial(rows: Indices) -> Refusal | None:
        try:
            _query(table.take(from_numbers(pa.int64(), rows)), [column.sql])
        except _ROW_ERRORS as error:
            return Refusal("", type(error).__name__)
        return None

    refused = bisect_rejected(table.num_rows, trial)
    failed = np.array([r.index for r in refused], np.int64)
    good = np.setdiff1d(np.arange(table.num_rows, dtype=np.int64), failed)
    found = _query(table.take(from_numbers(pa.int64(), good)), [column.sql])
    return Selected(spread(_from_storage(found.column(0), column.type), good, len(table)), failed)


def spread(values: pa.Array, places: Indices, rows: int) -> pa.Array:
    """Return an array of so many rows with the values at their places and NULL elsewhere."""
    sources = np.full(rows, -1, np.int64)
    sources[places] = np.arange(len(places))
    known = sources >= 0
    buffers = [pack_bits(known), pa.py_buffer(sources)]
    return values.take(pa.Array.from_buffers(pa.int64(), rows, buffers))


def _table(inputs: Mapping[str, pa.Array], rows: int) -> pa.Table:
    if not inputs:  # DuckDB counts the rows of a column
        return pa.table({"nothing": pa.nulls(rows, pa.bool_())})
    return pa.table([_to_storage(a) for a in inputs.values()], names=list(inputs))


def _query(
    table: pa.Table, columns: Sequence[str], settings: tuple[str, ...] = _SETTINGS
) -> pa.Table:
    try:
        return _connection(settings).from_arrow(table).project(_text(columns)).to_arrow_table()
    except _ROW_ERRORS:
        raise
    except duckdb.Error as error:
        _LOCAL.connections.clear()  # a fatal error leaves a database that answers nothing more
        raise _cannot(error) from None


def _text(columns: Sequence[str]) -> str:
    return ", ".join(f"{sql} AS o{i}" for i, sql in enumerate(columns))


def _connection(settings: tuple[str, ...] = _SETTINGS) -> duckdb.DuckDBPyConnection:
    found = _LOCAL.connections.get(settings)
    if found is None:
        found = duckdb.connect(":memory:", config=_SAFE)
        for setting in settings:
            found.execute(setting)
        _LOCAL.connections[settings] = found
    return found


def _to_storage(values: pa.Array) -> pa.Array:
    """Return values as expressions see them (see `typed`), in the memory they are in."""
    if pa.types.is_timestamp(values.type) and values.type.tz:
        return values.view(pa.timestamp("us"))
    return values.view(pa.int64()) if values.type == TIME else values


def _from_storage(values: pa.ChunkedArray, type_: pa.DataType) -> pa.Array:
    whole = values.chunk(0) if values.num_chunks == 1 else values.combine_chunks()
    if whole.type == type_:
        return whole
    if pa.types.is_timestamp(type_) or type_ == TIME:
        return whole.view(type_)
    return whole.cast(type_)


def _cannot(error: duckdb.Error) -> TerminalError:
    return TerminalError(
        f"DuckDB cannot evaluate the expressions ({type(error).__name__})",
        remedy="lower the batch's rows if memory is short; else report the expressions",
    )
