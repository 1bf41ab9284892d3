"""Every code of every character set, as MySQL and MariaDB convert it.

This is how the tables of `kernels.charset_tables` were measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pyarrow as pa
import pytest

from resources.mysql.binlog.charsets import BINARY, charset_of_collation
from resources.mysql.kernels.text import text_converter
from tests.mysql.kernels.test_text import CHARSETS, WIDE
from tests.mysql.kernels.wire import cells
from tests.servers.family import FamilyServer

GB18030_STEP = 97
"""Of the 1.6 million codes of four bytes every so many is asked for, and all of the first."""
END = "!!"
"""Stands behind every code; no code of several bytes has it."""
PAIRS = "FROM bytes a JOIN bytes b"


class Codes:
    """A session with codes in a table, and the same codes as cells."""

    def __init__(self, cursor: Any) -> None:
        self.cursor = cursor
        cursor.execute("SET sql_mode = 'STRICT_ALL_TABLES', group_concat_max_len = 1 << 30")
        cursor.execute("CREATE TABLE bytes (i INT PRIMARY KEY, b VARBINARY(1))")
        rows = [(i, bytes([i])) for i in range(256)]
        cursor.executemany("INSERT INTO bytes VALUES (%s, %s)", rows)
        cursor.execute("CREATE TABLE codes (id INT PRIMARY KEY AUTO_INCREMENT, b VARBINARY(4))")

    def fill(self, *selects: str) -> None:
        self.cursor.execute("TRUNCATE codes")
        self.cursor.execute(f"INSERT INTO codes (b) {' UNION ALL '.join(selects)}")
        self.raw = [bytes.fromhex(code) for code in self._column("HEX(b)")]
        assert len(self.raw) > 1000
        self.cells = cells(self.raw, 1)

    def _column(self, expression: str) -> list[str]:
        self.cursor.execute(f"SELECT GROUP_CONCAT({expression} ORDER BY id) FROM codes")
        column: list[str] = self.cursor.fetchone()[0].split(",")
        return column

    def differences(self, charset: str) -> list[tuple[str, str | None, str | None]]:
        """The first codes where the kernel and the server differ: code, ours, theirs."""
        text = f"CONCAT(CONVERT(b USING {charset}), CONVERT('{END}' USING {charset}))"
        theirs = self._column(f"IFNULL(HEX(CONVERT({text} USING utf8mb4)), '-')")
        convert = text_converter(charset, pa.string())
        assert convert is not None
        ours = convert(self.cells).array.to_pylist()
        found = []
        for code, mine, text in zip(self.raw, ours, theirs, strict=True):
            if mine is not None and (mine + END).encode().hex().upper() == text:
                continue
            if (want := printed(charset, code, text)) != mine:
                found.append((code.hex(), mine, want))
        return found[:5]


@pytest.fixture
def codes(mysql_family: FamilyServer, family_db: str) -> Iterator[Codes]:
    with closing(mysql_family.connect(database=family_db)) as connection:
        yield Codes(connection.cursor())


def printed(charset: str, code: bytes, text: str) -> str | None:
    """The server's text; None where it has none.

    MySQL then gives NULL or stops before the end, MariaDB prints a question mark.
    """
    if charset == "ascii" and not code.isascii():
        return None  # MySQL copies what happens to be UTF-8, though no column takes it
    if text == "-":
        return None
    try:
        decoded = bytes.fromhex(text).decode()
    except UnicodeDecodeError:  # MariaDB prints a surrogate of ucs2 and utf32 as three bytes
        return None
    mark = {"utf16le": b"?\0", "utf16": b"\0?", "ucs2": b"\0?", "utf32": b"\0?"}.get(charset, b"?")
    if not decoded.endswith(END) or decoded.count("?") > code.count(mark):
        return None
    return decoded.removesuffix(END)


def test_every_code_of_one_and_two_bytes(codes: Codes) -> None:
    codes.cursor.execute("SHOW CHARACTER SET")
    charsets = {row[0] for row in codes.cursor.fetchall()} - {BINARY}
    assert charsets <= {*CHARSETS}
    codes.fill("SELECT b FROM bytes", f"SELECT CONCAT(a.b, b.b) {PAIRS}")
    found = {charset: codes.differences(charset) for charset in sorted(charsets - {*WIDE})}
    assert not any(found.values()), found


def test_every_unit_of_the_wide_character_sets(codes: Codes) -> None:
    codes.fill(f"SELECT CONCAT(a.b, b.b) {PAIRS}")
    assert codes.differences("ucs2") == []
    assert codes.differences("utf16") == []
    assert codes.differences("utf16le") == []
    for before in ("0000", "0010", "0011"):
        codes.fill(f"SELECT CONCAT(x'{before}', a.b, b.b) {PAIRS}")
        assert codes.differences("utf32") == []
    codes.fill(f"SELECT CONCAT(x'd83d', a.b, b.b) {PAIRS}")
    assert codes.differences("utf16") == []


def test_every_code_of_three_bytes(codes: Codes) -> None:
    codes.fill(f"SELECT CONCAT(x'8f', a.b, b.b) {PAIRS}")
    found = {charset: codes.differences(charset) for charset in ("eucjpms", "ujis")}
    assert not any(found.values()), found
    codes.fill(f"SELECT CONCAT(x'e4', a.b, b.b) {PAIRS}")
    assert codes.differences("utf8mb3") == []
    codes.fill(f"SELECT CONCAT(x'ed', a.b, b.b) {PAIRS}")
    assert codes.differences("utf8mb4") == []


def test_codes_of_four_bytes_of_gb18030(mysql_family: FamilyServer, codes: Codes) -> None:
    """MariaDB does not have this character set."""
    codes.cursor.execute("SHOW CHARACTER SET LIKE 'gb18030'")
    assert bool(codes.cursor.fetchall()) == (mysql_family.kind == "mysql")
    if mysql_family.kind != "mysql":
        return
    digits = "JOIN bytes c JOIN bytes d WHERE b.i BETWEEN 48 AND 57 AND d.i BETWEEN 48 AND 57"
    code = f"SELECT CONCAT(a.b, b.b, c.b, d.b) {PAIRS} {digits} AND c.i BETWEEN 128 AND 255"
    number = "((a.i * 256 + b.i) * 256 + c.i) * 256 + d.i"
    codes.fill(f"{code} AND a.i BETWEEN 129 AND 132")
    assert codes.differences("gb18030") == []
    codes.fill(f"{code} AND a.i > 132 AND ({number}) % {GB18030_STEP} = 0")
    assert codes.differences("gb18030") == []


def test_every_collation_is_known(codes: Codes) -> None:
    codes.cursor.execute(
        "SELECT ID, CHARACTER_SET_NAME FROM information_schema.COLLATIONS WHERE ID IS NOT NULL"
    )
    rows = codes.cursor.fetchall()
    assert len(rows) > 250
    assert [(number, name) for number, name in rows if charset_of_collation(number) != name] == []
