"""JSON columns: the kernel writes what `json_text` writes, and refuses what that refuses."""

from __future__ import annotations

import json
import struct

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.mysql.binlog.json_value import (
    HONEST_GROWTH,
    HONEST_START,
    BadJson,
    double_text,
    json_text,
)
from resources.mysql.kernels.json import json_converter
from tests.mysql.kernels.binary_json import (
    BLOB,
    DATE,
    DECIMAL,
    LITERAL,
    TIME,
    Container,
    Scalar,
    Value,
    array,
    damaged,
    documents,
    encode,
    number,
    opaque,
    string,
    varlen,
)
from tests.mysql.kernels.wire import bad_rows, cells, columns, good

NULL = Scalar(LITERAL, b"\0")


def by_python(raw: bytes | None) -> str | None:
    try:
        return None if raw is None else json_text(raw)
    except BadJson:
        return None


def by_kernel(*column: bytes | None) -> list[str | None]:
    """The kernel's texts, after checking that Python agrees about every row."""
    converted = json_converter()(cells(column, 4))
    assert converted.array.type == pa.large_string()
    texts: list[str | None] = converted.array.to_pylist()
    assert texts == [by_python(raw) for raw in column]
    bad = [row for row, raw in enumerate(column) if raw is not None and texts[row] is None]
    assert bad_rows(converted) == bad
    assert converted.reason == ("not binary JSON" if bad else "")
    return texts


@settings(max_examples=150)
@given(columns(documents))
def test_documents_are_written_as_python_writes_them(column: list[bytes | None]) -> None:
    texts = by_kernel(*column)
    assert [text is None for text in texts] == [raw is None for raw in column]
    for text in texts:
        if text is not None:
            json.loads(text)


@settings(max_examples=150)
@given(columns(damaged() | st.binary(max_size=60)))
def test_kernel_and_python_refuse_the_same_bytes(column: list[bytes | None]) -> None:
    by_kernel(*column)


@pytest.mark.nightly
@settings(max_examples=2000)
@given(st.lists(damaged() | st.binary(max_size=100), min_size=20, max_size=40))
def test_kernel_and_python_refuse_the_same_bytes_at_length(column: list[bytes]) -> None:
    by_kernel(*column)


def doubles(*values: float) -> None:
    raw = [encode(number(11, value)) for value in values]
    assert good(json_converter()(cells(raw, 1)), pa.large_string()).to_pylist() == [
        double_text(value) for value in values
    ]


@settings(max_examples=150)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=30))
def test_any_double(values: list[float]) -> None:
    doubles(*values)


@settings(max_examples=150)
@given(st.lists(st.tuples(st.integers(-(10**18), 10**18), st.integers(0, 40)), min_size=30))
def test_doubles_that_people_write(parts: list[tuple[int, int]]) -> None:
    doubles(*(whole / 10**places for whole, places in parts))
    doubles(*(float(whole * 10**places) for whole, places in parts))


def test_the_first_and_last_doubles_of_every_exponent() -> None:
    """Where the distance to the neighbours differs, and at halves between two decimals."""
    mantissas = (0, 1, 2, 1 << 51, (1 << 52) - 2, (1 << 52) - 1)
    bits = [exponent << 52 | mantissa for exponent in range(0x7FF) for mantissa in mantissas]
    doubles(*struct.unpack(f"<{len(bits)}d", struct.pack(f"<{len(bits)}Q", *bits)))


@pytest.mark.parametrize("bits", [0x7FF << 52, 0xFFF << 52, 0x7FF8 << 48])
def test_a_double_that_is_not_finite(bits: int) -> None:
    assert by_kernel(b"\x0b" + bits.to_bytes(8, "little"), encode(NULL)) == [None, "null"]


def packed_decimal(precision: int, scale: int, packed: str) -> bytes:
    return encode(opaque(DECIMAL, bytes([precision, scale]) + bytes.fromhex(packed)))


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (packed_decimal(10, 2, "8000000000"), "0.00"),
        (packed_decimal(10, 2, "7fffffffff"), "0.00"),
        (packed_decimal(10, 2, "7ffffffecd"), "-1.50"),
        (packed_decimal(1, 0, "89"), "9"),
        (packed_decimal(3, 3, "81f4"), "0.500"),
        (packed_decimal(10, 2, "8000000064"), None),
        (packed_decimal(9, 0, "bb9aca00"), None),
        (packed_decimal(0, 0, ""), None),
        (packed_decimal(66, 0, "80" + "00" * 30), "0"),
        (packed_decimal(82, 0, "80" + "00" * 36), None),
        (packed_decimal(2, 3, "80000000"), None),
        (packed_decimal(10, 2, "80000000"), None),
        (encode(opaque(DECIMAL, b"\x0a")), None),
    ],
)
def test_decimals(raw: bytes, text: str | None) -> None:
    assert by_kernel(raw) == [text]


def test_a_decimal_of_more_digits_than_pythons_context() -> None:
    """35 digits before the point and 30 behind it, all nines, none rounded."""
    whole = (0x80000000 | 99999999).to_bytes(4, "big").hex() + "3b9ac9ff" * 3
    raw = packed_decimal(65, 30, whole + "3b9ac9ff" * 3 + "03e7")
    assert by_kernel(raw) == ["9" * 35 + "." + "9" * 30]


def test_a_decimal_whose_first_group_is_counted_as_a_whole_one() -> None:
    """As the server writes CAST(REPEAT('7', 65) AS DECIMAL(65,0)): 65 digits counted as 72."""
    raw = packed_decimal(72, 0, "8000004d" + "2e5bf271" * 7)
    assert by_kernel(raw) == ["7" * 65]


def moment(kind: int, packed: int) -> bytes:
    return encode(opaque(kind, packed.to_bytes(8, "little", signed=True)))


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (moment(TIME, -(838 << 36 | 59 << 30 | 59 << 24 | 1)), '"-838:59:59.000001"'),
        (moment(TIME, 0), '"00:00:00.000000"'),
        (moment(TIME, 1_000_000), None),
        (moment(DATE, (9999 * 13 + 12) << 46 | 31 << 41), '"9999-12-31"'),
        (moment(DATE, (10000 * 13) << 46), None),
        (moment(DATE, -(1 << 63)), None),
        (moment(TIME, -(1 << 63)), '"-00:00:00.000000"'),
        (encode(opaque(DATE, b"\0" * 7)), None),
        (encode(opaque(DATE, b"\0" * 9)), '"0000-00-00"'),
    ],
)
def test_dates_and_times(raw: bytes, text: str | None) -> None:
    assert by_kernel(raw) == [text]


def nested(depth: int) -> Value:
    value: Value = NULL
    for _ in range(depth):
        value = array(value)
    return value


def test_nesting_ends_where_the_server_ends_it() -> None:
    texts = by_kernel(*(encode(nested(depth)) for depth in (100, 101, 102, 200)))
    assert texts == ["[" * 100 + "null" + "]" * 100, "[" * 101 + "null" + "]" * 101, None, None]
    empty: Value = array()
    for _ in range(101):
        empty = array(empty)
    assert by_kernel(encode(empty), encode(array(empty))) == ["[" * 102 + "]" * 102, None]


def test_a_value_that_contains_itself() -> None:
    entry = b"\x02" + (0).to_bytes(2, "little")
    assert by_kernel(b"\x02\x01\0\x07\0" + entry) == [None]


def repeated(levels: int, times: int) -> bytes:
    """Arrays whose every element is the same next array: few bytes, times**levels values."""
    raw = encode(array(*[NULL] * times))[1:]
    for _ in range(levels):
        head = 4 + 3 * times
        entries = (b"\x02" + head.to_bytes(2, "little")) * times
        size = (head + len(raw)).to_bytes(2, "little")
        raw = times.to_bytes(2, "little") + size + entries + raw
    return b"\x02" + raw


def test_few_bytes_that_name_the_same_child_many_times() -> None:
    assert by_kernel(repeated(6, 1000), repeated(90, 100), repeated(1, 3), encode(NULL)) == [
        None,
        None,
        "[" + ", ".join(["[null, null, null]"] * 3) + "]",
        "null",
    ]


def test_few_bytes_that_name_the_same_long_string_many_times() -> None:
    times = 10_000
    head = 4 + 3 * times
    text = string(b"\x01" * 5000).raw
    raw = times.to_bytes(2, "little") + (head + len(text)).to_bytes(2, "little")
    raw += (b"\x0c" + head.to_bytes(2, "little")) * times + text
    assert by_kernel(b"\x02" + raw, encode(NULL)) == [None, "null"]


@pytest.mark.parametrize(
    "value",
    [
        string(b"\x01" * 3000),
        array(*[string(b"\x01")] * 3000),
        array(*[string(b"")] * 3000),
        array(*[Scalar(LITERAL, b"\2")] * 3000),
        array(*[array()] * 3000),
        array(*[number(5, -32768)] * 3000),
        array(*[number(11, -2.2250738585072014e-308)] * 3000),
        array(*[opaque(BLOB, b"")] * 3000),
        array(*[opaque(TIME, (-1).to_bytes(8, "little", signed=True))] * 3000),
        Container(False, tuple(b"\x01" + bytes([n]) for n in range(100)), (NULL,) * 100),
    ],
)
def test_no_honest_document_grows_beyond_the_limit(value: Value) -> None:
    """Every kind of value at its longest; there is room for a quarter more."""
    raw = encode(value)
    (text,) = by_kernel(raw)
    assert text is not None
    assert len(text.encode()) * 5 / 4 < HONEST_GROWTH * len(raw) + HONEST_START


def test_the_text_grows_as_it_has_to() -> None:
    """Control characters make six bytes of one, in cells before and behind those Python writes."""
    long = encode(string(b"\x01" * 200_000))
    blob = encode(array(opaque(BLOB, b"b" * 100_000), number(5, 1), large=True))
    texts = by_kernel(long, None, blob, encode(NULL), blob, long, b"")
    assert texts[0] == texts[5] == '"' + "\\u0001" * 200_000 + '"'
    assert texts[6] == "null"


@pytest.mark.parametrize("before", range(40))
def test_escapes_and_characters_at_every_place_of_a_block(before: int) -> None:
    odd = ['"', "\\", "\n", "\x00", "\x1f", "é", "日", "😀", "\x7f"]
    raw = [encode(string(("x" * before + text + "y" * 40).encode())) for text in odd]
    raw.append(encode(string(b"x" * before + b"\xff" + b"y" * 40)))
    assert by_kernel(*raw)[-1] is None


@pytest.mark.parametrize("size", [0, 127, 128, 16383, 16384, 70_000])
def test_strings_of_every_size_of_length(size: int) -> None:
    assert by_kernel(
        encode(string(b"s" * size)), encode(array(string(b"s" * size), large=True))
    ) == [
        f'"{"s" * size}"',
        f'["{"s" * size}"]',
    ]


@pytest.mark.parametrize(
    "raw",
    [
        b"\x0c" + b"\x80" * 5 + b"a",
        b"\x0c" + b"\xff\xff\xff\xff\x7f",
        b"\x0c" + varlen(2) + b"a",
        b"\x0f\xfc",
        b"\x0f",
        b"\x04",
        b"\x04\x03",
        b"\x0d\0",
        b"\xff",
        b"\x05\0",
        b"\x02\xff\xff\xff\xff",
        b"\x03" + b"\xff" * 8,
        b"\x00\x01\0\x0b\0\x0b\0\x01\0\x04\0\0",
    ],
)
def test_lengths_beyond_the_bytes(raw: bytes) -> None:
    assert by_kernel(raw, encode(NULL)) == [None, "null"]


def test_no_rows() -> None:
    assert len(good(json_converter()(cells([], 4)), pa.large_string())) == 0
