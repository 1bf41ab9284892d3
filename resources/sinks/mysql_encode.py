"""Arrow tables as the files of LOAD DATA and as the lists of VALUES and IN.

In: rows of a target's schema. Out: bytes, some thousand rows at a time, and the rows that cannot
be written. docs/decisions/0011-mysql-load-data.md says what was measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from resources.errors import DirtyRowError
from resources.sinks.contract import RejectedWrite
from resources.sinks.mysql_cells import Form, form_of, misfits_of, texts_of
from resources.sinks.mysql_session import Server

LOAD_FORMAT = (
    "CHARACTER SET binary FIELDS TERMINATED BY '\\t' ESCAPED BY '\\\\' LINES TERMINATED BY '\\n'"
)
SLICE_BYTES = 4 << 20
"""Arrow bytes that are encoded together, so that what is in flight stays small."""
SLICE_ROWS = 32_768
_BYTES = pa.large_binary()
_LOAD_ESCAPES = ((b"\\", b"\\\\"), (b"\t", b"\\\t"), (b"\n", b"\\\n"))
_QUOTE_ESCAPES = ((b"\\", b"\\\\"), (b"'", b"\\'"), (b"\0", b"\\0"))
_BEFORE: dict[Form, bytes] = {
    **dict.fromkeys(("decimal", "float", "date", "time", "timestamp", "text"), b"'"),
    "bytes": b"_binary'",
}
_TYPED: dict[Form, bytes] = {
    "date": b"DATE'",
    "time": b"TIME'",
    "timestamp": b"TIMESTAMP'",
    "decimal": b"CAST('",
    "text": b"'",
    "bytes": b"_binary'",
}
"""What comes before a value that is compared: a plain string would be compared as a double."""


def load_buffers(rows: pa.Table, where: str, server: Server) -> Iterator[pa.Buffer]:
    """Yield a table's rows as a file of LOAD DATA in `LOAD_FORMAT`.

    Args:
        rows: Columns of types `mysql_types` takes.
        where: The table concerned, for errors.
        server: What it can hold.

    Raises:
        DirtyRowError: A value has no form; names its column.
    """
    for batch in _slices(rows, SLICE_BYTES):
        require_fit(batch, where, server)
        lines = _joined([_load_cell(c) for c in batch.columns], b"\t")
        whole = pc.binary_join_element_wise(lines, _scalar(b""), _scalar(b"\n"))
        yield _content(whole)


def value_lists(
    rows: pa.Table, where: str, server: Server, *, typed: bool = False, limit: int = SLICE_ROWS
) -> Iterator[bytes]:
    """Yield a table's rows as `(1,'a'),(2,'b')`, short enough for one statement each.

    Args:
        rows: Columns of types `mysql_types` takes.
        where: The table concerned, for errors.
        server: What it can hold, and how long a statement may be.
        typed: Write values as they have to be for a comparison.
        limit: The most rows of one list.

    Raises:
        DirtyRowError: A value has no form, or a row is longer than a statement may be.
    """
    most = server.max_packet - (64 << 10)
    for batch in _slices(rows, min(SLICE_BYTES, most // 4), limit):
        require_fit(batch, where, server)
        lines = _joined([_value_cell(c, typed) for c in batch.columns], b",")
        lines = pc.binary_join_element_wise(_scalar(b"("), lines, _scalar(b")"), _scalar(b""))
        lengths = pc.binary_length(lines).to_numpy(zero_copy_only=False) + 1
        if lengths.max() > most:
            raise DirtyRowError("a row longer than `max_allowed_packet` of the server", where=where)
        for start, stop in _cuts(np.cumsum(lengths), most):
            parts = lines.slice(start, stop - start)
            whole = pc.binary_join_element_wise(parts, _scalar(b""), _scalar(b","))
            yield _content(whole).to_pybytes()[:-1]


def require_fit(rows: pa.Table | pa.RecordBatch, where: str, server: Server) -> None:
    """Refuse rows with a value the server has no form for.

    Raises:
        DirtyRowError: Names the column.
    """
    for name, column in zip(rows.schema.names, rows.columns, strict=True):
        misfit = misfits_of(column, server.longest_time)
        if misfit is not None:
            raise DirtyRowError(misfit.reason, field=name, where=where)


def require_keys(rows: pa.Table, keys: Sequence[str], where: str) -> None:
    """Refuse rows with a NULL in their key.

    Raises:
        DirtyRowError: Names the column.
    """
    for key in keys:
        if rows[key].null_count:
            raise DirtyRowError("NULL in a column of the key", field=key, where=where)


def find_unwritable(rows: pa.Table, keys: Sequence[str], server: Server) -> list[RejectedWrite]:
    """Return every row with a value that the server has no form for, in order."""
    found: dict[int, RejectedWrite] = {}
    start = 0
    for batch in _slices(rows, SLICE_BYTES):
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            misfit = misfits_of(column, server.longest_time)
            bad = (
                [] if misfit is None else [(r, misfit.reason) for r in np.flatnonzero(misfit.rows)]
            )
            if name in keys and column.null_count:
                nulls = np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))
                bad += [(r, "NULL in a column of the key") for r in nulls]
            for row, reason in bad:
                index = start + int(row)
                found.setdefault(index, RejectedWrite(index, name, reason))
        start += batch.num_rows
    return [found[index] for index in sorted(found)]


def _slices(rows: pa.Table, most: int, limit: int = SLICE_ROWS) -> Iterator[pa.RecordBatch]:
    for batch in rows.to_batches():
        size = most * batch.num_rows // max(batch.nbytes, 1)
        step = min(max(size, 1), limit)
        for start in range(0, batch.num_rows, step):
            yield batch.slice(start, step)


def _load_cell(values: pa.Array) -> pa.Array:
    texts = texts_of(values)
    if form_of(values.type) in ("text", "bytes"):
        texts = _escaped(texts, _LOAD_ESCAPES)
    return texts.fill_null(_scalar(b"\\N"))


def _value_cell(values: pa.Array, typed: bool) -> pa.Array:
    form = form_of(values.type)
    texts = texts_of(values)
    if form in ("text", "bytes"):
        texts = _escaped(texts, _QUOTE_ESCAPES)
    before = (_TYPED if typed else _BEFORE).get(form, b"")
    if before:
        after = b"'"
        if before.endswith(b"CAST('"):
            after = f"' AS DECIMAL({values.type.precision},{values.type.scale}))".encode()
        texts = pc.binary_join_element_wise(_scalar(before), texts, _scalar(after), _scalar(b""))
    return texts.fill_null(_scalar(b"NULL"))


def _escaped(texts: pa.Array, escapes: tuple[tuple[bytes, bytes], ...]) -> pa.Array:
    for plain, escaped in escapes:
        if plain in memoryview(_content(texts)).tobytes():
            texts = pc.replace_substring(texts, plain, escaped)
    return texts


def _joined(cells: list[pa.Array], separator: bytes) -> pa.Array:
    if len(cells) == 1:
        return cells[0]
    return pc.binary_join_element_wise(*cells, _scalar(separator))


def _content(texts: pa.Array) -> pa.Buffer:
    """Return the bytes of all values, one behind the other."""
    _, offsets, data = texts.buffers()
    if data is None or not len(texts):
        return pa.py_buffer(b"")
    ends = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    return data.slice(int(ends[0]), int(ends[-1] - ends[0]))


def _cuts(ends: np.typing.NDArray[np.int64], most: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of rows whose lengths, summed up in `ends`, are at most `most` together."""
    start = 0
    while start < len(ends):
        done = int(ends[start - 1]) if start else 0
        stop = max(int(np.searchsorted(ends, done + most, side="right")), start + 1)
        yield start, stop
        start = stop


def _scalar(value: bytes) -> pa.Scalar:
    return pa.scalar(value, _BYTES)
