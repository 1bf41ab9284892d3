"""JSON columns: MySQL's binary JSON as the text the server prints.

In: cells of one column. Out: a large_string array, each value as `CAST(column AS CHAR)` gives it;
cells that are no binary JSON are marked. Equal to `json_value.json_text` for any bytes.
Source: mysql-server sql-common/json_binary.h.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from resources.mysql.binlog.json_value import (
    HONEST_GROWTH,
    HONEST_START,
    MAX_DEPTH,
    BadJson,
    json_text,
)
from resources.mysql.kernels.cells import (
    Bytes,
    Cells,
    Converted,
    Converter,
    Ints,
    Mask,
    pack_validity,
)
from resources.mysql.kernels.integers import uint
from resources.mysql.kernels.jit import inline, kernel
from resources.mysql.kernels.json_numbers import Powers, powers_of_ten
from resources.mysql.kernels.json_values import (
    BAD,
    INT32,
    LITERAL,
    PYTHON,
    ROOM,
    SPACE,
    UINT16,
    UINT32,
    put_null,
    put_scalar,
    put_string,
)

_DONE = 0
_LARGE_OBJECT, _SMALL_ARRAY, _LARGE_ARRAY = 1, 2, 3
_BASE, _WIDTH, _KEY, _ENTRY, _COUNT, _LEFT, _FIELDS = range(7)
"""A container that is open: where it begins, bytes of its sizes, its next key (-1 in arrays) and
next value, how many values it has, and how many of them are still to be written."""
_MORE = 1 << 16


def json_converter() -> Converter:
    """Return the converter of a JSON column, to large_string."""
    return _convert


def _convert(cells: Cells) -> Converted:
    out = np.empty(int(cells.size.sum()) * 3 // 2 + _MORE, np.uint8)
    offsets, bad = np.zeros(len(cells) + 1, np.int64), np.zeros(len(cells), np.bool_)
    data, start, size, null = cells.data, cells.start, cells.size, cells.null
    row, powers = 0, powers_of_ten()
    while row < len(cells):
        row, ending = _write(data, start, size, null, row, out, offsets, bad, powers)
        if ending == SPACE:
            out = _grown(out, int(offsets[row]), len(out))
        elif ending == PYTHON:
            out = _by_python(cells, row, out, offsets, bad)
            row += 1
    content = pa.py_buffer(out[: offsets[-1]])
    buffers = [pack_validity(null | bad), pa.py_buffer(offsets), content]
    array = pa.Array.from_buffers(pa.large_string(), len(cells), buffers)
    return Converted(array, bad, "not binary JSON") if bad.any() else Converted(array)


def _grown(out: Bytes, used: int, more: int) -> Bytes:
    larger = np.empty(len(out) + more + _MORE, np.uint8)
    larger[:used] = out[:used]
    return larger


def _by_python(cells: Cells, row: int, out: Bytes, offsets: Ints, bad: Mask) -> Bytes:
    """Write a cell the kernel leaves to Python; return the text, moved if it had to grow."""
    begin, at = int(cells.start[row]), int(offsets[row])
    offsets[row + 1] = at
    try:
        text = json_text(cells.data[begin : begin + int(cells.size[row])].tobytes()).encode()
    except BadJson:
        bad[row] = True
        return out
    if at + len(text) > len(out):
        out = _grown(out, at, len(text))
    out[at : at + len(text)] = np.frombuffer(text, np.uint8)
    offsets[row + 1] = at + len(text)
    return out


@kernel
def _write(
    data: Bytes,
    start: Ints,
    size: Ints,
    null: Mask,
    row: int,
    out: Bytes,
    offsets: Ints,
    bad: Mask,
    powers: Powers,
) -> tuple[int, int]:
    """Write rows from `row` on; return the row that could not be written, and why."""
    stack = np.empty((MAX_DEPTH + 1, _FIELDS), np.int64)
    while row < len(start):
        pos = offsets[row]
        if not null[row]:
            pos = _write_cell(data, start[row], start[row] + size[row], out, pos, powers, stack)
        if pos == BAD:
            bad[row] = True
            pos = offsets[row]
        if pos < 0:
            return row, pos
        row += 1
        offsets[row] = pos
    return row, _DONE


@inline
def _write_cell(
    data: Bytes, at: int, end: int, out: Bytes, pos: int, powers: Powers, stack: Ints
) -> int:
    limit = pos + HONEST_GROWTH * (end - at) + HONEST_START
    if at == end:
        return put_null(out, pos) if len(out) - pos >= ROOM else SPACE
    kind, depth = uint(data, at, 1), 0
    at += 1
    while True:
        if depth > MAX_DEPTH:
            return BAD
        if len(out) - pos < ROOM:
            return SPACE
        if kind <= _LARGE_ARRAY:
            pos = _open(kind, data, at, end, out, pos, stack[depth])
            depth += 1
        else:
            pos = put_scalar(kind, data, at, end, out, pos, powers)
        if pos < 0:
            return pos
        while depth > 0 and stack[depth - 1, _LEFT] == 0:
            depth -= 1
            out[pos] = ord("]") if stack[depth, _KEY] < 0 else ord("}")
            pos += 1
        if pos > limit:
            return BAD
        if depth == 0:
            return pos
        pos, kind, at = _next(data, end, out, pos, stack[depth - 1])
        if pos < 0:
            return pos


@inline
def _open(kind: int, data: Bytes, at: int, end: int, out: Bytes, pos: int, frame: Ints) -> int:
    """Begin an object or array and fill its frame."""
    width = 4 if kind in (_LARGE_OBJECT, _LARGE_ARRAY) else 2
    is_object = kind < _SMALL_ARRAY
    if at + 2 * width > end:
        return BAD
    count, size = uint(data, at, width), uint(data, at + width, width)
    keys = at + 2 * width
    entries = keys + (count * (width + 2) if is_object else 0)
    if at + size > end or entries + count * (width + 1) > at + size:
        return BAD
    frame[_BASE], frame[_WIDTH] = at, width
    frame[_KEY], frame[_ENTRY] = keys if is_object else -1, entries
    frame[_COUNT], frame[_LEFT] = count, count
    out[pos] = ord("{") if is_object else ord("[")
    return pos + 1


@inline
def _next(data: Bytes, end: int, out: Bytes, pos: int, frame: Ints) -> tuple[int, int, int]:
    """Write what stands before a container's next value; return also its type and place."""
    base, width, entry = frame[_BASE], frame[_WIDTH], frame[_ENTRY]
    if frame[_LEFT] < frame[_COUNT]:
        out[pos], out[pos + 1] = ord(","), ord(" ")
        pos += 2
    if frame[_KEY] >= 0:
        key = frame[_KEY]
        begin = base + uint(data, key, width)
        stop = begin + uint(data, key + width, 2)
        pos = put_string(data, begin, stop, out, pos) if stop <= end else BAD
        if pos < 0:
            return pos, 0, 0
        out[pos], out[pos + 1] = ord(":"), ord(" ")
        pos += 2
        frame[_KEY] = key + width + 2
    kind = uint(data, entry, 1)
    frame[_ENTRY], frame[_LEFT] = entry + width + 1, frame[_LEFT] - 1
    if LITERAL <= kind <= UINT16 or (width == 4 and INT32 <= kind <= UINT32):
        return pos, kind, entry + 1
    offset = uint(data, entry + 1, width)
    if offset < 2 * width:  # a value inside the container's own head: a loop
        return BAD, 0, 0
    return pos, kind, base + offset
