"""Text columns: bytes in a server's character set as Arrow's UTF-8.

In: cells of one column, the name of its character set. Out: a string array with exactly the
characters the server itself converts the bytes to; cells that are no text of that character set,
or hold a code without a character, are marked.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from resources.mysql.kernels.cells import (
    Bytes,
    Cells,
    Converted,
    Converter,
    Ints,
    Mask,
    gather,
    pack_validity,
)
from resources.mysql.kernels.charset_tables import (
    NO_CHARACTER,
    Points,
    code_points,
    has_table,
    longer_code,
)
from resources.mysql.kernels.direct import TEXT, Direct
from resources.mysql.kernels.jit import inline, kernel
from resources.mysql.kernels.utf8 import put, sequence

_UTF8 = {"ascii": 1, "utf8": 3, "utf8mb3": 3, "utf8mb4": 4}
"""Character sets that are UTF-8, with the bytes of their longest character."""
_WIDE = {
    "ucs2": (2, False, False),
    "utf16": (2, False, True),
    "utf16le": (2, True, True),
    "utf32": (4, False, False),
}
"""Bytes of a unit, whether the lower comes first, whether surrogates make pairs."""
_BLOCK, _OFFSET = 16, 4
_TOP_BITS = np.uint64(0x8080808080808080)
_MOST = 2**31 - 1
_longer_code = inline(longer_code)


def text_converter(charset: str, arrow: pa.DataType) -> Converter | None:
    """Return the converter of a text column, None if the character set is unknown.

    Args:
        charset: The server's name of it.
        arrow: string or large_string.

    Returns:
        A converter whose cells are bad where `charsets.text_decoder` raises.
    """
    reason = f"not {charset} text"
    if charset in _UTF8:
        longest = _UTF8[charset]
        convert = partial(_checked, longest=longest, arrow=arrow, reason=reason)
        large = pa.types.is_large_string(arrow)
        return convert if large else Direct(convert, TEXT, arrow, _OFFSET, form=longest)
    if charset in _WIDE:
        return partial(_from_units, form=_WIDE[charset], arrow=arrow, reason=reason)
    if has_table(charset):
        return partial(_from_codes, charset=charset, arrow=arrow, reason=reason)
    return None


def _checked(cells: Cells, longest: int, arrow: pa.DataType, reason: str) -> Converted:
    array = gather(cells, arrow)
    content = np.frombuffer(array.buffers()[2], np.uint8)
    words = content[: len(content) // 8 * 8].view(np.uint64)
    bad = np.zeros(len(cells), np.bool_)
    if not _find_bad(content, words, cells.size, longest, bad):
        return Converted(array)
    good = Cells(cells.data, cells.start, np.where(bad, 0, cells.size), cells.null | bad)
    return Converted(gather(good, arrow), bad, reason)


@kernel
def _find_bad(
    content: Bytes, words: npt.NDArray[np.uint64], size: Ints, longest: int, bad: Mask
) -> bool:
    """Mark the rows whose part of `content` is no text; most of it is ASCII in most columns."""
    found = False
    row, row_end, at = -1, 0, 0
    while at < len(content):
        if at % 8 == 0:
            word = at >> 3
            while word < len(words) and words[word] & _TOP_BITS == 0:
                word += 1
            at = word << 3
            if at == len(content):
                break
        if content[at] < 0x80:
            at += 1
            continue
        while row_end <= at:
            row += 1
            row_end += size[row]
        length = sequence(content, at, row_end)
        if length == 0 or length > longest:
            bad[row], found = True, True
            at = row_end
        else:
            at += length
    return found


def _from_codes(cells: Cells, charset: str, arrow: pa.DataType, reason: str) -> Converted:
    points = code_points(charset)
    ascii_codes = bool((points[:128] == np.arange(128)).all())
    # A code has at least one byte for every three of its character.
    out = np.empty(3 * int(cells.size.sum()), np.uint8)
    offsets, bad = np.zeros(len(cells) + 1, np.int64), np.zeros(len(cells), np.bool_)
    _by_table(cells.data, cells.start, cells.size, points, ascii_codes, out, offsets, bad)
    return _converted(cells, arrow, out, offsets, bad, reason)


@kernel
def _by_table(
    data: Bytes,
    start: Ints,
    size: Ints,
    points: Points,
    ascii_codes: bool,
    out: Bytes,
    offsets: Ints,
    bad: Mask,
) -> None:
    pos = 0
    for row in range(len(start)):
        at, begin = start[row], pos
        end = at + size[row]
        while at < end:
            stop = end
            if ascii_codes and end - at >= _BLOCK:
                top = np.uint8(0)
                for byte in range(_BLOCK):
                    out[pos + byte] = data[at + byte]
                    top |= data[at + byte]
                if top < 0x80:
                    at += _BLOCK
                    pos += _BLOCK
                    continue
                stop = at + _BLOCK
            while at < stop:
                point, length = int(points[data[at]]), 1
                if point < NO_CHARACTER:
                    point, length = _longer_code(data, at, end, points, point)
                if point < 0:
                    bad[row] = True
                    at, pos = end, begin
                    break
                pos = put(out, pos, point)
                at += length
        offsets[row + 1] = pos


def _from_units(
    cells: Cells, form: tuple[int, bool, bool], arrow: pa.DataType, reason: str
) -> Converted:
    # Two bytes make three at most, four make four.
    out = np.empty(int(cells.size.sum()) * 3 // 2, np.uint8)
    offsets, bad = np.zeros(len(cells) + 1, np.int64), np.zeros(len(cells), np.bool_)
    _by_units(cells.data, cells.start, cells.size, *form, out, offsets, bad)
    return _converted(cells, arrow, out, offsets, bad, reason)


@kernel
def _by_units(
    data: Bytes,
    start: Ints,
    size: Ints,
    width: int,
    little: bool,
    pairs: bool,
    out: Bytes,
    offsets: Ints,
    bad: Mask,
) -> None:
    pos = 0
    for row in range(len(start)):
        at, begin = start[row], pos
        end = at + size[row]
        wrong = size[row] % width != 0
        while at < end and not wrong:
            point = _unit(data, at, width, little)
            at += width
            if 0xD800 <= point < 0xE000:
                second = 0
                if pairs and point < 0xDC00 and at < end:
                    second = _unit(data, at, width, little)
                    at += width
                wrong = second < 0xDC00 or second >= 0xE000
                point = 0x10000 + ((point - 0xD800) << 10) + second - 0xDC00
            if wrong or point > 0x10FFFF:
                wrong = True
                break
            pos = put(out, pos, point)
        if wrong:
            bad[row], pos = True, begin
        offsets[row + 1] = pos


@inline
def _unit(data: Bytes, at: int, width: int, little: bool) -> int:
    value = 0
    for byte in range(width):
        value = value * 256 + data[at + (width - 1 - byte if little else byte)]
    return value


def _converted(
    cells: Cells, arrow: pa.DataType, out: Bytes, offsets: Ints, bad: Mask, reason: str
) -> Converted:
    kept: npt.NDArray[Any] = offsets
    if arrow == pa.string():
        if offsets[-1] > _MOST:
            raise pa.ArrowCapacityError("more than 2 GiB of text in one column of a batch")
        kept = offsets.astype(np.int32)
    content = pa.py_buffer(out[: offsets[-1]])
    buffers = [pack_validity(cells.null | bad), pa.py_buffer(kept), content]
    array = pa.Array.from_buffers(arrow, len(cells), buffers)
    return Converted(array, bad, reason) if bad.any() else Converted(array)
