"""A writer of MySQL's binary JSON, and strategies of documents and of damaged bytes."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TypeAlias

from hypothesis import strategies as st

SMALL_OBJECT, LARGE_OBJECT, SMALL_ARRAY, LARGE_ARRAY, LITERAL, STRING, OPAQUE = (
    0,
    1,
    2,
    3,
    4,
    12,
    15,
)
INLINE_SMALL, INLINE_LARGE = frozenset({LITERAL, 5, 6}), frozenset({LITERAL, 5, 6, 7, 8})
NUMBERS = {5: "<h", 6: "<H", 7: "<i", 8: "<I", 9: "<q", 10: "<Q", 11: "<d"}
DATE, TIME, DATETIME, TIMESTAMP, DECIMAL, YEAR, BLOB = 10, 11, 12, 7, 246, 13, 252


@dataclass(frozen=True)
class Scalar:
    """A value that is no container: its type and bytes."""

    kind: int
    raw: bytes


@dataclass(frozen=True)
class Container:
    """An array, or an object if it has keys."""

    large: bool
    keys: tuple[bytes, ...] | None
    values: tuple[Value, ...]


Value: TypeAlias = Scalar | Container


def array(*values: Value, large: bool = False) -> Container:
    return Container(large, None, values)


def number(kind: int, value: float) -> Scalar:
    return Scalar(kind, struct.pack(NUMBERS[kind], value))


def varlen(size: int) -> bytes:
    out = bytearray()
    while size > 0x7F:
        out.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([*out, size])


def string(raw: bytes) -> Scalar:
    return Scalar(STRING, varlen(len(raw)) + raw)


def opaque(kind: int, raw: bytes) -> Scalar:
    return Scalar(OPAQUE, bytes([kind]) + varlen(len(raw)) + raw)


def encode(value: Value) -> bytes:
    """A document as a column has it: the type, then the value."""
    kind, raw = _typed(value)
    return bytes([kind]) + raw


def _typed(value: Value) -> tuple[int, bytes]:
    if isinstance(value, Scalar):
        return value.kind, value.raw
    kind = (SMALL_ARRAY if value.keys is None else SMALL_OBJECT) + value.large
    return kind, _container(value)


def _container(value: Container) -> bytes:
    width = 4 if value.large else 2
    inline = INLINE_LARGE if value.large else INLINE_SMALL
    keys = value.keys or ()
    at = 2 * width + len(keys) * (width + 2) + len(value.values) * (width + 1)
    head, tail = bytearray(), bytearray()
    for key in keys:
        head += (at + len(tail)).to_bytes(width, "little") + len(key).to_bytes(2, "little")
        tail += key
    for child in value.values:
        kind, raw = _typed(child)
        head.append(kind)
        if kind in inline:
            head += raw.ljust(width, b"\0")
        else:
            head += (at + len(tail)).to_bytes(width, "little")
            tail += raw
    size = 2 * width + len(head) + len(tail)
    return (
        len(value.values).to_bytes(width, "little") + size.to_bytes(width, "little") + head + tail
    )


def _decimal(negative: bool, whole: int, fraction: int, groups: list[int]) -> Scalar:
    sizes, counts = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4), [whole % 9, *[9] * (whole // 9)]
    counts += [*[9] * (fraction // 9), fraction % 9]
    packed = bytearray()
    for count, group in zip(counts, groups, strict=False):
        packed += (group % 10**count).to_bytes(sizes[count], "big")
    if negative:
        packed = bytearray(byte ^ 0xFF for byte in packed)
    packed[0] ^= 0x80
    return opaque(DECIMAL, bytes([whole + fraction, fraction]) + packed)


decimals = st.builds(
    _decimal,
    st.booleans(),
    st.integers(1, 45),
    st.integers(0, 30),
    st.lists(st.integers(0, 999999999) | st.just(0), min_size=10, max_size=10),
)
moments = st.builds(
    lambda kind, negative, parts: opaque(kind, _moment(kind, negative, *parts)),
    st.sampled_from([DATE, TIME, DATETIME, TIMESTAMP]),
    st.booleans(),
    st.tuples(
        *(st.integers(0, top) for top in (9999, 12, 31, 838, 59, 59)), st.integers(0, 999999)
    ),
)


def _moment(
    kind: int, negative: bool, year: int, month: int, day: int, hour: int, minute: int,
    second: int, us: int,
) -> bytes:  # fmt: skip
    if kind == TIME:
        whole = hour << 12 | minute << 6 | second
    else:
        whole = ((year * 13 + month) << 5 | day) << 17 | hour % 24 << 12 | minute << 6 | second
    packed = whole << 24 | us
    return (-packed if negative and kind == TIME else packed).to_bytes(8, "little", signed=True)


texts = st.text(max_size=30) | st.text('az"\\\b\f\n\r\t\x00\x1f\x7f/é😀', max_size=60)
scalars = st.one_of(
    st.sampled_from([Scalar(LITERAL, bytes([code])) for code in range(3)]),
    st.integers(-(2**15), 2**15 - 1).map(lambda n: number(5, n)),
    st.integers(0, 2**16 - 1).map(lambda n: number(6, n)),
    st.integers(-(2**31), 2**31 - 1).map(lambda n: number(7, n)),
    st.integers(0, 2**32 - 1).map(lambda n: number(8, n)),
    st.integers(-(2**63), 2**63 - 1).map(lambda n: number(9, n)),
    st.integers(0, 2**64 - 1).map(lambda n: number(10, n)),
    st.floats(allow_nan=False, allow_infinity=False).map(lambda n: number(11, n)),
    texts.map(lambda text: string(text.encode())),
    decimals,
    moments,
    st.builds(opaque, st.sampled_from([YEAR, BLOB, 16, 255]), st.binary(max_size=150)),
)


def _containers(values: st.SearchStrategy[Value]) -> st.SearchStrategy[Value]:
    items = st.lists(values, max_size=5).map(tuple)
    keyed = st.dictionaries(texts.map(str.encode), values, max_size=5)
    objects = st.builds(
        lambda large, pairs: Container(large, tuple(pairs), tuple(pairs.values())),
        st.booleans(),
        keyed,
    )
    return objects | st.builds(
        lambda large, some: Container(large, None, some), st.booleans(), items
    )


documents: st.SearchStrategy[bytes] = st.recursive(scalars, _containers, max_leaves=15).map(encode)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A document with some bytes changed, cut off, or put in."""
    raw = bytearray(draw(documents))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(raw)))
        put = draw(st.binary(max_size=3) | st.sampled_from([b"\0", b"\1", b"\x80", b"\xff"]))
        raw[at : at + draw(st.sampled_from([0, len(put), len(put)]))] = put
    return bytes(raw[: draw(st.integers(0, len(raw)))] if draw(st.booleans()) else raw)
