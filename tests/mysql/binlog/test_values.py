"""Every type: what the log gives is what SELECT gives, and the schema is the catalog's."""

from __future__ import annotations

import decimal
import json
import math
import struct
from contextlib import closing
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resources.model.change import RowKind
from resources.model.table import TableSchema
from resources.mysql.catalog import read_schemas
from resources.mysql.connection import connect
from resources.mysql.result_set import select_arrow, select_list
from tests.mysql.binlog.log import Log, folded, rows_of
from tests.mysql.room import settings_for

COLUMNS = """
 id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY,
 ti TINYINT, tiu TINYINT UNSIGNED, si SMALLINT, siu SMALLINT UNSIGNED, mi MEDIUMINT,
 miu MEDIUMINT UNSIGNED, i INT, iu INT UNSIGNED, bi BIGINT, biu BIGINT UNSIGNED,
 d1 DECIMAL(10,2), d2 DECIMAL(65,30), d3 DECIMAL(1,0), d4 DECIMAL(38,10), d5 DECIMAL(30,30),
 du DECIMAL(9,9) UNSIGNED, f FLOAT, db DOUBLE, b1 BIT(1), b9 BIT(9), b64 BIT(64), y YEAR,
 da DATE, dt DATETIME, dt1 DATETIME(1), dt3 DATETIME(3), dt6 DATETIME(6), ts TIMESTAMP NULL,
 ts2 TIMESTAMP(2) NULL, ts6 TIMESTAMP(6) NULL, t TIME, t1 TIME(1), t2 TIME(2), t3 TIME(3),
 t4 TIME(4), t5 TIME(5), t6 TIME(6),
 c CHAR(10), c300 CHAR(200), cl CHAR(5) CHARACTER SET latin1, vc VARCHAR(20),
 vcl VARCHAR(300) CHARACTER SET latin1, tt TINYTEXT, tx TEXT, mt MEDIUMTEXT, lt LONGTEXT,
 txu TEXT CHARACTER SET ucs2, gbk VARCHAR(10) CHARACTER SET gbk,
 bn BINARY(5), vb VARBINARY(300), tb TINYBLOB, bl BLOB, mb MEDIUMBLOB, lb LONGBLOB,
 e ENUM('a','é','it''s','x,y'), el ENUM('ü','b') CHARACTER SET latin1, s SET('a','b','ç'),
 g GEOMETRY, pt POINT, inv INT INVISIBLE, gen INT GENERATED ALWAYS AS (ti + 1) STORED,
 genv VARCHAR(30) GENERATED ALWAYS AS (CONCAT(vc, '!')) VIRTUAL, j JSON"""
OWN = {"mysql": ", v VECTOR(3)", "mariadb": ", u UUID, i6 INET6, i4 INET4"}
EXTREMES: list[dict[str, Any]] = [
    {
        "ti": -128, "tiu": 255, "si": -32768, "siu": 65535, "mi": -8388608, "miu": 16777215,
        "i": -(2**31), "iu": 2**32 - 1, "bi": -(2**63), "biu": 2**64 - 1, "d1": "-12345678.90",
        "d2": "-" + "9" * 35 + "." + "9" * 30, "d3": -9, "d4": "-" + "1" * 28 + "." + "9" * 10,
        "d5": "-0." + "1" * 30, "du": "0.123456789", "f": 16777217.0, "db": 1.7976931348623157e308,
        "b1": 1, "b9": 300, "b64": 2**64 - 1, "y": 2155, "da": "9999-12-31",
        "dt": "9999-12-31 23:59:59", "dt1": "1000-01-01 00:00:00.1",
        "dt3": "2021-02-03 04:05:06.789", "dt6": "2021-02-03 04:05:06.000001",
        "ts": "2038-01-19 03:14:07", "ts2": "1970-01-01 00:00:01.99",
        "ts6": "2021-01-01 00:00:00.123456", "t": "838:59:59", "t1": "-00:00:00.1",
        "t2": "-00:00:00.25", "t3": "-838:59:58.999", "t4": "-01:02:03.0004",
        "t5": "12:00:00.00005", "t6": "-00:00:00.000001", "c": "héllo  ", "c300": "é" * 200,
        "cl": "é€\x81", "vc": "x ", "vcl": "ü" * 300, "tt": "", "tx": "t" * 60000, "mt": "m",
        "lt": "日本", "txu": "日本", "gbk": "中文", "bn": b"\0a\0\0\0", "vb": b"\0\xff\0",
        "tb": b"", "bl": b"\xff" * 300, "mb": b"1", "lb": b"2", "e": "é", "el": "ü", "s": "a,ç",
        "inv": 4, "j": '{"b": 1}',
    },
    {},
    {
        "ti": 127, "mi": 8388607, "miu": 8388608, "i": 0, "bi": 2**63 - 1, "d1": 0,
        "d2": "0." + "0" * 29 + "1", "d3": 5, "d4": "-0.0000000001", "d5": "0." + "0" * 29 + "1",
        "f": 1.1754943508222875e-38, "db": 5e-324, "b1": 0, "b9": 0, "b64": 0, "y": 0,
        "da": "1000-01-01", "t": "-838:59:59", "t1": "00:00:00", "t6": "838:59:58.999999",
        "c": "", "vc": "", "e": "", "s": "", "bn": b"abcde", "txu": "",
    },
    {"da": "0000-00-00", "dt": "0000-00-00 00:00:00", "ts": "0000-00-00 00:00:00"},
    {"da": "2021-02-31", "dt": "2021-00-10 00:00:00", "dt3": "0000-03-01 00:00:00"},
]  # fmt: skip
AFTER = {
    "mysql": [
        "UPDATE t SET v = TO_VECTOR('[1,2.5,-3]') WHERE id = 1",
        "UPDATE t SET g = ST_GeomFromText('POLYGON((0 0,1 0,1 1,0 0))', 4326), "
        "pt = POINT(1.5, -2) WHERE id = 1",
    ],
    "mariadb": [
        "UPDATE t SET u = '123e4567-e89b-12d3-a456-426655440000', i6 = '::ffff:1.2.3.4', "
        "i4 = '1.2.3.4' WHERE id = 1",
        *(
            f"INSERT INTO t (i6, u) VALUES ('{text}', '019f0000-0000-7abc-8def-{n:012x}')"
            for n, text in enumerate(
                [
                    "::",
                    "::1",
                    "fe80::1:2:3:4",
                    "::1.2.3.4",
                    "::1:203",
                    "1:0:0:2:0:0:0:3",
                    "1:0:2:3:4:5:6:7",
                    "0:1::",
                    "0:0:1:0:0:1:0:0",
                    "1:2:3:4:5:6:7:0",
                ]
            )
        ),
        "UPDATE t SET g = ST_GeomFromText('LINESTRING(0 0,1 2)'), pt = POINT(1, 2) WHERE id = 1",
    ],
}


def selected(log: Log, table: str = "t") -> tuple[TableSchema, pa.Table]:
    """The catalog's schema and SELECT's rows, by the other half of this room."""
    with closing(connect(settings_for(log.server))) as connection:
        read = read_schemas(connection, [log.table(table)])
        assert not read.findings
        schema = read.schemas[log.table(table)]
        sql = f"SELECT {select_list(schema)} FROM `{log.database}`.`{table}` ORDER BY 1"
        parts = [part.rows for part in select_arrow(connection, sql, (), schema)]
    return schema, pa.Table.from_batches(parts).combine_chunks()


def insert(log: Log, rows: list[dict[str, Any]], *after: str) -> None:
    with closing(log.server.connect(database=log.database)) as connection:
        cursor = connection.cursor()
        cursor.execute("SET sql_mode = 'ALLOW_INVALID_DATES', time_zone = '+00:00'")
        for row in rows:
            marks = ", ".join(["%s"] * len(row))
            cursor.execute(f"INSERT INTO t ({', '.join(row)}) VALUES ({marks})", list(row.values()))
        for statement in after:
            cursor.execute(statement)


def test_every_type(log: Log) -> None:
    log.run(f"CREATE TABLE t ({COLUMNS}{OWN[log.flavor]}) CHARACTER SET utf8mb4")
    start = log.position()
    insert(log, EXTREMES, *AFTER[log.flavor])
    schema, want = selected(log)
    slices = log.read(start, catalog=lambda table: schema)
    got = folded(slices, "t", ("id",))
    assert got is not None
    for name in schema.names:
        assert got.column(name).equals(want.column(name)), name
    ours = slices[-1].batches[-1].schema
    assert ours == schema
    assert ours.fingerprint() == schema.fingerprint()


def test_schema_without_the_catalogs_help(mysql_log: Log) -> None:
    mysql_log.run(f"CREATE TABLE t ({COLUMNS}{OWN['mysql']})")
    start = mysql_log.position()
    mysql_log.run("INSERT INTO t (ti) VALUES (1)")
    schema, _ = selected(mysql_log)
    assert mysql_log.read(start)[-1].batches[0].schema.fingerprint() == schema.fingerprint()


def test_a_unique_key_without_nulls_is_the_key(log: Log) -> None:
    """Servers log it as the primary key, and the catalog's reader chooses it too."""
    log.run("CREATE TABLE t (a INT, b INT NOT NULL, c INT, UNIQUE KEY (c), UNIQUE KEY (b))")
    start = log.position()
    log.run("INSERT INTO t VALUES (1, 2, 3)", "UPDATE t SET a = 2", "UPDATE t SET b = 3")
    schema, _ = selected(log)
    slices = log.read(start)
    assert slices[0].batches[0].schema.key == schema.key == ("b",)
    kinds = [RowKind(r["_cdc_op"]).name for r in rows_of(slices, "t")]
    assert kinds == ["INSERT", "UPDATE_AFTER", "UPDATE_BEFORE", "UPDATE_AFTER"]


@pytest.mark.parametrize(
    "keys",
    [
        "UNIQUE z (a, b), UNIQUE y (c)",
        "UNIQUE y (c), UNIQUE z (a, b)",
        "UNIQUE n (d), UNIQUE y (c)",
    ],
)
def test_log_and_catalog_choose_the_same_of_several_unique_keys(log: Log, keys: str) -> None:
    log.run(f"CREATE TABLE t (a INT NOT NULL, b INT NOT NULL, c INT NOT NULL, d INT, {keys})")
    start = log.position()
    log.run("INSERT INTO t VALUES (1, 2, 3, 4)")
    schema, _ = selected(log)
    assert log.read(start)[-1].batches[0].schema.fingerprint() == schema.fingerprint()


def test_a_stale_catalog_names_no_column(log: Log) -> None:
    """The log's own names and types win over a catalog that has moved on."""
    log.run("CREATE TABLE t (a INT PRIMARY KEY, b VARCHAR(5))")
    start = log.position()
    log.run("INSERT INTO t VALUES (1, '7')", "ALTER TABLE t CHANGE b c INT, CHANGE a b BIGINT")
    schema, _ = selected(log, "t")
    slices = log.read(start, catalog=lambda table: schema)
    ours = slices[0].batches[0].schema
    assert [(c.name, c.type) for c in ours.columns] == [("a", pa.int32()), ("b", pa.string())]
    assert ours.key == ("a",)


def test_rejected_rows_keep_their_place(log: Log) -> None:
    log.run("CREATE TABLE t (id INT PRIMARY KEY, d DATE, v VARCHAR(20))")
    start = log.position()
    insert(
        log,
        [
            {"id": 1, "d": "2021-02-03", "v": "good"},
            {"id": 2, "d": "0000-00-00", "v": "canary"},
            {"id": 3, "d": None, "v": "good"},
        ],
        "UPDATE t SET d = '2021-01-01' WHERE id = 2",
        "UPDATE t SET d = '2021-02-31' WHERE id = 1",
        "DELETE FROM t WHERE id = 1",
    )
    slices = log.read(start, zero_dates="dirty")
    assert [(r["id"], r["_cdc_seq"]) for r in rows_of(slices, "t")] == [(1, 0), (3, 2), (2, 3)]
    rejected = [r for s in slices for r in s.rejected]
    assert [(r.seq, r.op.name, json.loads(r.key), r.field) for r in rejected] == [
        (1, "INSERT", {"id": 2}, "d"),
        (4, "UPDATE_AFTER", {"id": 1}, "d"),
        (5, "DELETE", {"id": 1}, "d"),
    ]
    assert b"canary" in rejected[0].raw
    assert "canary" not in rejected[0].message + rejected[0].key + rejected[0].position
    image = pa.ipc.open_stream(rejected[0].image).read_all()
    assert image.to_pylist() == [{"id": 2, "d": None, "v": "canary"}]
    assert sum(s.rows for s in slices) == 6
    default = [r["d"] for r in rows_of(log.read(start), "t")]
    assert [value is None for value in default] == [False, True, True, False, True, True]


dates = st.dates().map(str)
fractions = st.integers(-(838 * 3600 + 59 * 60 + 58) * 10**6, (838 * 3600 + 59 * 60 + 58) * 10**6)
floats = st.floats(allow_nan=False, allow_infinity=False)


def time_text(us: int) -> str:
    whole, fraction = divmod(abs(us), 10**6)
    sign = "-" if us < 0 else ""
    return f"{sign}{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}.{fraction:06}"


random_rows = st.fixed_dictionaries(
    {},
    optional={
        "bi": st.integers(-(2**63), 2**63 - 1),
        "biu": st.integers(0, 2**64 - 1),
        "mi": st.integers(-(2**23), 2**23 - 1),
        "d2": st.decimals(-(10**30), 10**30, places=30, allow_nan=False),
        "d1": st.decimals(-99999999, 99999999, places=2, allow_nan=False),
        "db": floats,
        "f": st.floats(width=32, allow_nan=False, allow_infinity=False),
        "da": dates,
        "t6": fractions.map(time_text),
        "t3": fractions.map(time_text),
        "t1": fractions.map(time_text),
        "dt6": st.datetimes().map(str),
        "vc": st.text(max_size=20).filter(lambda t: "\0" not in t),
        "vb": st.binary(max_size=300),
        "bn": st.binary(max_size=5),
    },
)


@settings(
    deadline=None,
    max_examples=5,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(rows=st.lists(random_rows, min_size=10, max_size=40))
def test_random_values(log: Log, rows: list[dict[str, Any]]) -> None:
    log.run("DROP TABLE IF EXISTS t", f"CREATE TABLE t ({COLUMNS}) CHARACTER SET utf8mb4")
    start = log.position()
    insert(log, rows)
    schema, want = selected(log)
    got = folded(log.read(start), "t", ("id",))
    assert got is not None
    for name in schema.names:
        assert got.column(name).equals(want.column(name)), name


JSON = [
    "'null'", "'true'", "'[]'", "'{}'",
    r"""'"a\\u0000b\\u001f\\u007f/\\\\\\"\\n\\t\\b\\f\\ré😀"'""",
    "JSON_OBJECT('b', 1, 'aa', JSON_ARRAY(), 'a', JSON_OBJECT('x', NULL))",
    "JSON_ARRAY(CAST(1.50 AS DECIMAL(10,2)), CAST(-0.001 AS DECIMAL(10,3)), "
    "CAST(12345678901234567890123.4 AS DECIMAL(40,5)), CAST(0 AS DECIMAL(5,2)))",
    "JSON_ARRAY(CAST('99999999999999999999999999999999999.999999999999999999999999999999' "
    "AS DECIMAL(65,30)), CAST('-0.10' AS DECIMAL(30,30)))",
    "JSON_ARRAY(DATE'2021-02-03', TIME'-12:34:56.5', TIMESTAMP'2021-02-03 04:05:06.789', "
    "TIME'838:59:59', CAST('00:00:00' AS TIME))",
    "JSON_ARRAY(b'101', x'00ff', CAST(REPEAT('a', 200) AS BINARY), CAST(2021 AS YEAR))",
    "JSON_ARRAY(1,-1,32767,32768,-32768,-32769,65535,65536,2147483647,2147483648,-2147483648,"
    "-2147483649,4294967295,4294967296,9223372036854775807,9223372036854775808,"
    "18446744073709551615)",
    "JSON_ARRAY(ST_GeomFromText('POINT(1 2)'))",
    "CAST(CONCAT('[', REPEAT('1,', 70000), '2]') AS JSON)",
    "JSON_OBJECT('k', REPEAT('x', 70000), 'l', JSON_ARRAY(-70000, 70000, TRUE))",
    "JSON_ARRAY(1e0,1e15,1e16,1e17,1234567890123456e0,1e-5,-0e0,1e-14,1e-15,1e-16,1e300,5e-324,"
    "123456.789e0,1e20,1.5e20,2.4193389621415673e-12)",
]  # fmt: skip


def printed_json(log: Log, expressions: list[str]) -> None:
    log.run("DROP TABLE IF EXISTS t", "CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, j JSON)")
    start = log.position()
    log.run(*(f"INSERT INTO t (j) VALUES ({e})" for e in expressions), "INSERT INTO t VALUES ()")
    want = [r[0] for r in log.run("SELECT CAST(j AS CHAR) FROM t ORDER BY id")]
    assert [r["j"] for r in rows_of(log.read(start), "t")] == want


def test_json_as_the_server_prints_it(mysql_log: Log) -> None:
    printed_json(mysql_log, JSON)


@settings(
    deadline=None, max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.one_of(floats, st.decimals(-(10**9), 10**9, places=9)), min_size=50))
def test_json_numbers(mysql_log: Log, numbers: list[float | decimal.Decimal]) -> None:
    words = [f"{n!r}" if isinstance(n, float) else f"{float(n)!r}" for n in numbers]
    exponents = [w if "e" in w else f"{w}e0" for w in words]
    printed_json(mysql_log, [f"JSON_ARRAY({', '.join(exponents)})"])


def test_floats_bit_by_bit(log: Log) -> None:
    log.run("CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, f FLOAT, d DOUBLE)")
    start = log.position()
    values = [0.1, 1 / 3, 16777216.0, 3.4028234663852886e38, 1e-45, -2.5, math.pi]
    log.run(*(f"INSERT INTO t (f, d) VALUES ({v!r}, {v!r})" for v in values))
    rows = rows_of(log.read(start), "t")
    assert [r["d"] for r in rows] == values
    assert [r["f"] for r in rows] == [struct.unpack("<f", struct.pack("<f", v))[0] for v in values]


CHARSETS = (
    "cp1251 cp1250 cp1257 cp850 cp852 cp866 cp932 euckr gb2312 gbk hebrew hp8 koi8r koi8u latin1 "
    "latin2 latin5 latin7 macce macroman sjis ucs2 utf16 utf16le utf32 utf8mb3 greek ujis "
    "eucjpms big5 cp1256 armscii8 dec8 geostd8 keybcs2 tis620 gb18030"
)


@pytest.mark.parametrize("charset", CHARSETS.split())
def test_every_code_of_a_character_set(mysql_log: Log, charset: str) -> None:
    """Each text the server accepts decodes to the server's own conversion, or is set aside."""
    mysql_log.run(
        "CREATE TABLE codes (id INT PRIMARY KEY, b VARBINARY(4))",
        f"CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(4) CHARACTER SET {charset})",
    )
    codes = [struct.pack(">I", i) for i in range(0x20, 0x3000, 7)] if charset == "utf32" else [
        *(bytes([i]) for i in range(256)),
        *(bytes([a, b]) for a in range(0x81, 0x100, 3) for b in range(0x31, 0x100, 2)),
    ]  # fmt: skip
    with closing(mysql_log.server.connect(database=mysql_log.database)) as connection:
        cursor = connection.cursor()
        cursor.execute("SET sql_mode = ''")
        cursor.executemany("INSERT INTO codes VALUES (%s, %s)", list(enumerate(codes)))
        start = mysql_log.position()
        cursor.execute("INSERT IGNORE INTO t SELECT * FROM codes")
        cursor.execute("SELECT id, CONVERT(v USING utf8mb4) FROM t")
        want = dict(cursor.fetchall())
    slices = mysql_log.read(start)
    got = {r["id"]: r["v"] for r in rows_of(slices, "t")}
    rejected = sum(len(s.rejected) for s in slices)
    assert len(got) + rejected == len(want)
    # What the server itself cannot convert it prints as a question mark or U+FFFD.
    differ = [i for i in got if got[i] != want[i] and not set(want[i]) & {"?", "\ufffd"}]
    assert differ == []
    assert len(got) > 0.5 * len(want)
