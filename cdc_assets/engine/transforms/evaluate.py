"""DuckDB over Arrow: one query computes all expressions of a batch, and rows that fail are found.

In: arrays and SQL. Out: arrays in the Arrow types asked for. One in-memory database per process,
one connection per thread; nothing is kept between batches.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cdc_assets.engine.transforms.typed import TIME, storage_type
from resources.errors import TerminalError

_SAFE: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
}
_SETTINGS = ("SET error_on_division_by_zero = false", "SET TimeZone = 'UTC'")
_ROW_ERRORS = (duckdb.ConversionException, duckdb.InvalidInputException, duckdb.OutOfRangeException)
Indices = npt.NDArray[np.int64]
NONE: Indices = np.empty(0, np.int64)


class _Local(threading.local):
    connection: duckdb.DuckDBPyConnection | None = None


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
    connection = _connection()
    connection.register("input_rows", table)
    try:
        relation = connection.sql(_text([c.sql for c in columns]))
        found = [str(t) for t in relation.types]
        relation.to_arrow_table()  # constants that fail whatever the row
    except duckdb.Error as error:
        return str(error).splitlines()[0]
    finally:
        connection.unregister("input_rows")
    for column, type_ in zip(columns, found, strict=True):
        wanted = storage_type(column.type)
        if type_ != wanted and column.type != pa.null():
            raise TerminalError(
                f"DuckDB computes {type_} where {wanted} was expected: {column.sql}",
                remedy="this is a defect of cdc-assets; please report the expression",
            )
    return None


def _one_by_one(table: pa.Table, columns: Sequence[Column]) -> list[Selected]:
    """Compute with every failure caught: NULL itself is told from failing by a struct around it."""
    try:
        found = _query(table, [f"TRY({{'v': {c.sql}}})" for c in columns])
    except _ROW_ERRORS as error:
        raise _cannot(error) from None
    selected = []
    for i, column in enumerate(columns):
        structs = pa.concat_arrays(found.column(i).chunks) if table.num_rows else None
        if structs is None:
            selected.append(Selected(pa.nulls(0, column.type), NONE))
            continue
        failed = np.flatnonzero(np.asarray(structs.is_null().to_numpy(zero_copy_only=False)))
        values = pc.struct_field(structs, [0])
        selected.append(Selected(_from_storage(pa.chunked_array([values]), column.type), failed))
    return selected


def _table(inputs: Mapping[str, pa.Array], rows: int) -> pa.Table:
    if not inputs:  # DuckDB counts the rows of a column
        return pa.table({"nothing": pa.nulls(rows, pa.bool_())})
    return pa.table([_to_storage(a) for a in inputs.values()], names=list(inputs))


def _query(table: pa.Table, columns: Sequence[str]) -> pa.Table:
    connection = _connection()
    connection.register("input_rows", table)
    try:
        return connection.sql(_text(columns)).to_arrow_table()
    except _ROW_ERRORS:
        raise
    except duckdb.Error as error:
        _LOCAL.connection = None  # a fatal error leaves a database that answers nothing more
        raise _cannot(error) from None
    finally:
        with suppress(duckdb.Error):
            connection.unregister("input_rows")


def _text(columns: Sequence[str]) -> str:
    listed = ", ".join(f"{sql} AS o{i}" for i, sql in enumerate(columns))
    return f"SELECT {listed} FROM input_rows"  # noqa: S608 - compiled, no text of users in it


def _connection() -> duckdb.DuckDBPyConnection:
    if _LOCAL.connection is None:
        connection = duckdb.connect(":memory:", config=_SAFE)
        for setting in _SETTINGS:
            connection.execute(setting)
        _LOCAL.connection = connection
    return _LOCAL.connection


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
