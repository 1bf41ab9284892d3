"""Every column type with its extreme values, and what Arrow must hold for each."""

from __future__ import annotations

import datetime
import struct
from decimal import Decimal
from typing import Any

ALL = ("mysql", "mariadb", "oceanbase")
BINLOG = ("mysql", "mariadb")
UTC = datetime.UTC


def time_value(text: str) -> datetime.timedelta:
    sign = -1 if text.startswith("-") else 1
    hours, minutes, seconds = text.lstrip("-").split(":")
    whole, _, fraction = seconds.partition(".")
    return sign * datetime.timedelta(
        hours=int(hours),
        minutes=int(minutes),
        seconds=int(whole),
        microseconds=int(fraction.ljust(6, "0") or 0),
    )


MOMENT = datetime.datetime(2021, 12, 31, 23, 59, 59, 999999)
# (column type, SQL literal -> the value Arrow must hold, servers that have the type)
CASES: list[tuple[str, dict[str, Any], tuple[str, ...]]] = [
    ("TINYINT", {"-128": -128, "127": 127, "0": 0}, ALL),
    ("TINYINT(1)", {"-1": -1, "1": 1}, ALL),
    ("TINYINT UNSIGNED", {"255": 255, "0": 0}, ALL),
    ("SMALLINT", {"-32768": -32768, "32767": 32767}, ALL),
    ("SMALLINT UNSIGNED", {"65535": 65535}, ALL),
    ("MEDIUMINT", {"-8388608": -8388608, "8388607": 8388607}, ALL),
    ("MEDIUMINT UNSIGNED", {"16777215": 16777215}, ALL),
    ("INT", {"-2147483648": -(2**31), "2147483647": 2**31 - 1}, ALL),
    ("INT UNSIGNED ZEROFILL", {"4294967295": 2**32 - 1, "42": 42, "0": 0}, ALL),
    ("BIGINT", {str(-(2**63)): -(2**63), str(2**63 - 1): 2**63 - 1}, ALL),
    ("BIGINT UNSIGNED", {str(2**64 - 1): 2**64 - 1, "0": 0}, ALL),
    ("DECIMAL(10,2)", {"-99999999.99": Decimal("-99999999.99"), "0.05": Decimal("0.05")}, ALL),
    ("DECIMAL(38,30)", {"-1e-30": Decimal("-1e-30")}, ALL),
    (
        "DECIMAL(65,30)",
        {f"'{'9' * 35}.{'9' * 30}'": Decimal(f"{'9' * 35}.{'9' * 30}"), "0": Decimal(0)},
        ALL,
    ),
    ("DECIMAL(65,0)", {f"'-{'9' * 65}'": Decimal(f"-{'9' * 65}")}, ALL),
    (
        "FLOAT",
        {
            v: struct.unpack("<f", struct.pack("<f", float(v)))[0]
            for v in ("16777217e10", "0.1", "-3.4028234e38", "1.17549435e-38", "123456.789")
        },
        ALL,
    ),
    ("FLOAT(7,3)", {"1234.567": struct.unpack("<f", struct.pack("<f", 1234.567))[0]}, BINLOG),
    (
        "DOUBLE",
        {
            v: float(v)
            for v in (
                "1.7976931348623157e308",
                "-0.1",
                "1e22",
                "5e-324",
                "2.2250738585072014e-308",
                "0.30000000000000004",
                "123456789012345678",
            )
        },
        BINLOG,
    ),
    (
        "DOUBLE",
        {v: float(v) for v in ("1.7976931348623157e308", "-0.1", "0.30000000000000004")},
        ("oceanbase",),
    ),
    ("DOUBLE(20,3)", {"12345678901234.567": 12345678901234.567}, BINLOG),
    ("BIT(1)", {"b'1'": 1, "b'0'": 0}, ALL),
    ("BIT(9)", {"b'100000001'": 257}, ALL),
    ("BIT(64)", {"18446744073709551615": 2**64 - 1, "0": 0}, ALL),
    ("YEAR", {"2155": 2155, "1901": 1901, "'0000'": 0}, ALL),
    (
        "DATE",
        {
            "'1000-01-01'": datetime.date(1000, 1, 1),
            "'0001-01-01'": datetime.date(1, 1, 1),
            "'9999-12-31'": datetime.date(9999, 12, 31),
            "'2000-02-29'": datetime.date(2000, 2, 29),
            "'1969-12-31'": datetime.date(1969, 12, 31),
        },
        ALL,
    ),
    (
        "DATE",
        {
            "'0000-00-00'": None,
            "'2021-00-10'": None,
            "'2021-01-00'": None,
            "'2021-02-31'": None,
            "'2023-02-29'": None,
        },
        BINLOG,
    ),
    (
        "DATETIME",
        {
            "'2021-12-31 23:59:59'": MOMENT.replace(microsecond=0),
            "'0001-01-01 00:00:00'": datetime.datetime(1, 1, 1),
        },
        ALL,
    ),
    ("DATETIME(1)", {"'2021-12-31 23:59:59.9'": MOMENT.replace(microsecond=900000)}, ALL),
    (
        "DATETIME(6)",
        {
            "'2021-12-31 23:59:59.999999'": MOMENT,
            "'9999-12-31 23:59:59.999999'": MOMENT.replace(year=9999),
        },
        ALL,
    ),
    ("DATETIME(3)", {"'0000-00-00'": None, "'2021-02-31 01:02:03.004'": None}, BINLOG),
    (
        "TIMESTAMP(6) NULL",
        {
            "'2021-12-31 23:59:59.999999'": MOMENT.replace(tzinfo=UTC),
            "'1970-01-01 00:00:01'": datetime.datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC),
            "'2038-01-19 03:14:07'": datetime.datetime(2038, 1, 19, 3, 14, 7, tzinfo=UTC),
        },
        ALL,
    ),
    ("TIMESTAMP NULL", {"'0000-00-00'": None}, BINLOG),
    (
        "TIME",
        {
            f"'{v}'": time_value(v)
            for v in ("838:59:59", "-838:59:59", "00:00:00", "99:59:59", "-01:02:03")
        },
        ALL,
    ),
    (
        "TIME(6)",
        {
            f"'{v}'": time_value(v)
            for v in (
                "-00:00:00.250000",
                "838:59:58.999999",
                "-100:00:00.000001",
                "23:59:59.999999",
            )
        },
        ALL,
    ),
    ("TIME(2)", {"'-00:00:00.25'": time_value("-00:00:00.25")}, ALL),
    ("CHAR(5)", {"'ab  '": "ab", "'é€😀'": "é€😀", "''": ""}, ALL),
    (
        "VARCHAR(300)",
        {"'a  '": "a  ", f"'{'x' * 251}'": "x" * 251, "'it''s\\n\\0\\\\'": "it's\n\0\\"},
        ALL,
    ),
    ("VARCHAR(20) CHARACTER SET latin1", {"_latin1 x'8081e9ff'": "€\x81éÿ"}, BINLOG),
    ("VARCHAR(20) CHARACTER SET sjis", {"'日本\\\\'": "日本\\"}, BINLOG),
    ("VARCHAR(20) CHARACTER SET gbk", {"'中文'": "中文"}, BINLOG),
    ("VARCHAR(20) CHARACTER SET utf16", {"'a😀'": "a😀"}, BINLOG),
    ("VARCHAR(20) CHARACTER SET ucs2", {"'aé'": "aé"}, BINLOG),
    ("TEXT", {"REPEAT('é', 20000)": "é" * 20000, "''": ""}, ALL),
    ("MEDIUMTEXT", {"REPEAT('ab', 40000)": "ab" * 40000}, ALL),
    ("LONGTEXT", {"'long'": "long"}, ALL),
    ("BINARY(4)", {"x'00'": b"\0\0\0\0", "x'61ff'": b"a\xff\0\0"}, ALL),
    ("VARBINARY(9)", {"x'00ff27'": b"\0\xff'", "''": b""}, ALL),
    (
        "BLOB",
        {"x'fbfcfdfeff'": b"\xfb\xfc\xfd\xfe\xff", "REPEAT(x'ff', 60000)": b"\xff" * 60000},
        ALL,
    ),
    ("LONGBLOB", {"x'00'": b"\0"}, ALL),
    (
        "ENUM('a','it''s','b,c','ü','')",
        {"'it''s'": "it's", "4": "ü", "'b,c'": "b,c", "''": ""},
        BINLOG,
    ),
    ("ENUM('a','it''s','b,c','ü')", {"'it''s'": "it's", "4": "ü"}, ALL),
    ("SET('p','q''r','s')", {"'s,p'": "p,s", "''": "", "7": "p,q'r,s"}, ALL),
    (
        "JSON",
        {"""'{"a": [1, null, "x"], "k": {}}'""": {"a": [1, None, "x"], "k": {}}, "'null'": None},
        ALL,
    ),
    (
        "GEOMETRY",
        {"ST_GeomFromText('POINT(1 2)')": {"srid": 0, "wkb": struct.pack("<BIdd", 1, 1, 1.0, 2.0)}},
        BINLOG,
    ),
    (
        "POINT",
        {
            "ST_GeomFromText('POINT(1 2)', 3857)": {
                "srid": 3857,
                "wkb": struct.pack("<BIdd", 1, 1, 1.0, 2.0),
            }
        },
        BINLOG,
    ),
    (
        "VECTOR(3)",
        {
            "STRING_TO_VECTOR('[1,-0.5,1e30]')": [
                1.0,
                -0.5,
                struct.unpack("<f", struct.pack("<f", 1e30))[0],
            ]
        },
        ("mysql",),
    ),
    (
        "UUID",
        {"'6CCD780C-BABA-1026-9564-5B8C656024DB'": "6ccd780c-baba-1026-9564-5b8c656024db"},
        ("mariadb",),
    ),
    ("INET6", {"'2001:DB8::1'": "2001:db8::1", "'::ffff:1.2.3.4'": "::ffff:1.2.3.4"}, ("mariadb",)),
    ("INET4", {"'192.168.0.1'": "192.168.0.1"}, ("mariadb",)),
]


def type_table(kind: str) -> tuple[list[str], list[tuple[str, dict[int, Any]]]]:
    """Statements that make and fill the table `every`, and what its columns must hold.

    Row ids are 100 times the column's number and up; all other columns are NULL in that row.

    Returns:
        The statements; per column `c0`, `c1` … its type and its values by row id.
    """
    cases = [case for case in CASES if kind in case[2]]
    columns = ", ".join(f"c{i} {column_type}" for i, (column_type, _, _) in enumerate(cases))
    statements = [f"CREATE TABLE every (id INT PRIMARY KEY, {columns})"]
    expected: list[tuple[str, dict[int, Any]]] = []
    for i, (column_type, values, _) in enumerate(cases):
        for j, literal in enumerate(values):
            statements.append(f"INSERT INTO every (id, c{i}) VALUES ({100 * i + j}, {literal})")
        by_id = {100 * i + j: value for j, value in enumerate(values.values())}
        expected.append((column_type, by_id))
    return statements, expected
