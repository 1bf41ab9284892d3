"""Text of every character set: the kernels agree with the decoders of Python, on good and bad."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.mysql.binlog.charsets import text_decoder
from resources.mysql.kernels.cells import Cells
from resources.mysql.kernels.text import text_converter
from tests.mysql.kernels.wire import bad_rows, cells, columns, good

UTF8 = ("ascii", "utf8", "utf8mb3", "utf8mb4")
WIDE = ("ucs2", "utf16", "utf16le", "utf32")
SINGLE_BYTE = (
    *("armscii8", "cp1250", "cp1251", "cp1256", "cp1257", "cp850", "cp852", "cp866", "dec8"),
    *("geostd8", "greek", "hebrew", "hp8", "keybcs2", "koi8r", "koi8u", "latin1", "latin2"),
    *("latin5", "latin7", "macce", "macroman", "swe7", "tis620"),
)
MULTI_BYTE = (*("big5", "cp932", "eucjpms", "euckr", "gb18030", "gb2312", "gbk", "sjis", "ujis"),)
CHARSETS = (*UTF8, *WIDE, *SINGLE_BYTE, *MULTI_BYTE)
"""All of MySQL 9.7 and MariaDB."""
ARROW = pa.string()
SURROGATES = range(0xD800, 0xE000)

CHARACTERS = (*"aéßяア中丂€𠀋😀", "\x7f", "\x80", "\ufeff", "\uffff")
ENCODINGS = ("utf-8", "utf-16-be", "utf-32-be", "gb18030", "euc_jp", "cp932")
EDGES = """eda080 edbfbf c080 c1bf e09fbf e0a080 f08fbfbf f0908080 f48fbfbf f4908080 f5808080
 ed9fbf e282 f09f98 ff bf 8fa2af d83dde00 d83d de00d83d 00d8 8130813000 8431a530 90308130
 e3329a36"""
"""First and last of what is or is no text in some character set, in hexadecimal."""

characters = st.builds(
    lambda text, encoding: text.encode(encoding, "ignore"),
    st.sampled_from(CHARACTERS),
    st.sampled_from(ENCODINGS),
)
pieces = st.one_of(
    st.binary(max_size=6),
    characters,
    st.text("az09", min_size=1, max_size=40).map(str.encode),
    st.sampled_from([bytes.fromhex(edge) for edge in EDGES.split()]),
)
texts = st.lists(pieces, max_size=6).map(b"".join)


def decoded(charset: str, raw: bytes | None) -> str | None:
    """What Python gives: None for NULL and for what is no text."""
    decode = text_decoder(charset)
    assert decode is not None
    try:
        return None if raw is None else decode(raw)
    except UnicodeDecodeError:
        return None


@pytest.mark.parametrize("charset", CHARSETS)
@settings(max_examples=40)
@given(column=columns(texts), arrow=st.sampled_from([pa.string(), pa.large_string()]))
def test_kernel_and_python_agree_on_any_bytes(
    charset: str, column: list[bytes | None], arrow: pa.DataType
) -> None:
    convert = text_converter(charset, arrow)
    assert convert is not None
    converted = convert(cells(column, 2))
    want = [decoded(charset, raw) for raw in column]
    assert converted.array.type == arrow
    assert converted.array.to_pylist() == want
    bad = [row for row, raw in enumerate(column) if raw is not None and want[row] is None]
    assert bad_rows(converted) == bad
    assert converted.reason == (f"not {charset} text" if bad else "")


@pytest.mark.parametrize("charset", CHARSETS)
def test_a_bad_cell_costs_no_other(charset: str) -> None:
    """A cell that ends within a character borrows nothing of the next one."""
    convert = text_converter(charset, ARROW)
    assert convert is not None
    letter = {"utf16le": b"a\0", "utf32": b"\0\0\0a"}.get(charset, b"\0a")
    letter = letter if charset in WIDE else b"a"
    broken = {"swe7": b"\xff", "utf16le": b"\x3d\xd8"}.get(charset, b"\xd8\x3d\xd8")
    converted = convert(cells([letter, broken[:2], None, letter * 50], 1))
    want = ["a", decoded(charset, broken[:2]), None, "a" * 50]
    assert converted.array.to_pylist() == want


@pytest.mark.parametrize(
    ("charset", "codec"),
    [
        ("utf8mb4", "utf-8"),
        ("utf16", "utf-16-be"),
        ("utf16le", "utf-16-le"),
        ("utf32", "utf-32-be"),
    ],
)
def test_every_code_point(charset: str, codec: str) -> None:
    points = [chr(point) for point in range(0x110000)]
    raw = [point.encode(codec, "surrogatepass") for point in points]
    size = np.array([len(code) for code in raw], np.int64)
    data = np.frombuffer(b"".join(raw), np.uint8).copy()
    column = Cells(data, np.cumsum(size) - size, size, np.zeros(len(raw), np.bool_))
    convert = text_converter(charset, ARROW)
    assert convert is not None
    converted = convert(column)
    assert bad_rows(converted) == list(SURROGATES)
    points[SURROGATES.start : SURROGATES.stop] = [None] * len(SURROGATES)
    assert converted.array.equals(pa.array(points, ARROW))


@pytest.mark.parametrize(
    ("charset", "raw"),
    [
        ("utf8mb3", "😀".encode()),
        ("utf8", "😀".encode()),
        ("ascii", "é".encode()),
        ("ascii", b"\x80"),
        ("utf8mb4", b"\xf4\x90\x80\x80"),
        ("utf32", b"\0\x11\0\0"),
        ("utf32", b"\xff\xff\xff\xff"),
        ("utf32", b"\0\0a"),
        ("ucs2", "😀".encode("utf-16-be")),
        ("utf16", b"\xd8\x3d\0a"),
        ("utf16", b"\xde\x00\xd8\x3d"),
        ("utf16", b"\0"),
        ("cp1256", b"\x8a"),
        ("cp932", b"\x81"),
        ("swe7", b"\x7f"),
        ("gb18030", b"\x81\x30\x81"),
        ("gb18030", b"\xe3\x32\x9a\x36"),
        ("ujis", b"\x8f\xa2"),
    ],
)
def test_what_the_server_would_not_store_or_print(charset: str, raw: bytes) -> None:
    convert = text_converter(charset, ARROW)
    assert convert is not None
    assert bad_rows(convert(cells([raw], 1))) == [0]


@given(st.integers(0, 100), st.binary(min_size=1, max_size=4), st.integers(0, 100))
def test_one_odd_place_in_long_ascii(before: int, odd: bytes, after: int) -> None:
    """Runs of ASCII are read in blocks; what stands between two has to be found."""
    raw = b"x" * before + odd + b"y" * after
    for charset in ("utf8mb4", "latin1", "dec8", "gbk", "swe7"):
        convert = text_converter(charset, ARROW)
        assert convert is not None
        column = [b"ok", raw, raw + b"z", None, b"end"]
        want = [decoded(charset, value) for value in column]
        assert convert(cells(column, 1)).array.to_pylist() == want


@pytest.mark.parametrize("charset", ["binary", "klingon", ""])
def test_no_converter_and_no_decoder_for_what_is_no_text(charset: str) -> None:
    assert text_converter(charset, ARROW) is None
    assert text_decoder(charset) is None


@pytest.mark.parametrize("charset", CHARSETS)
@settings(max_examples=20)
@given(raw=texts)
def test_replacing_decoders_give_the_same_text_and_never_fail(charset: str, raw: bytes) -> None:
    """Statements are read so: what is no text of their client must not hide the rest."""
    replace = text_decoder(charset, "replace")
    assert replace is not None
    strict = decoded(charset, raw)
    assert replace(raw) == strict or (strict is None and "\ufffd" in replace(raw))


@pytest.mark.parametrize("charset", ["latin1", "utf8mb4", "utf16", "gbk"])
def test_no_rows(charset: str) -> None:
    convert = text_converter(charset, ARROW)
    assert convert is not None
    assert len(good(convert(cells([], 1)), ARROW)) == 0
