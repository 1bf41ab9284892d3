"""Expressions give what a real MySQL gives for the same rows, values and digits alike."""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pymysql
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.conftest import fresh_database
from tests.engine.transforms.columns import evaluated
from tests.servers.family import FamilyServer

TABLE = """CREATE TABLE t (id INT PRIMARY KEY, i INT, b BIGINT, u BIGINT UNSIGNED, y TINYINT,
    d DECIMAL(10,2), e DECIMAL(20,8), f DOUBLE, s VARCHAR(40), s2 VARCHAR(40), n VARCHAR(40),
    day DATE, at DATETIME(6), tz TIMESTAMP(6) NULL, tm TIME(6), j JSON, x VARBINARY(20))
    COLLATE utf8mb4_0900_bin"""
NAMES = [
    *("id", "i", "b", "u", "y", "d", "e", "f", "s", "s2", "n"),
    *("day", "at", "tz", "tm", "j", "x"),
]

TEXT = """
CONCAT(s, '-', i, '-', d) | CONCAT(s, NULL) | CONCAT_WS(',', s, s2, i) | CONCAT(day, s)
UPPER(CAST(i AS CHAR)) | LOWER(s2) | UCASE(n) | LCASE(n) | TRIM(s) | LTRIM(s) | RTRIM(s)
TRIM(BOTH 'a' FROM s) | TRIM(LEADING 'a' FROM s) | TRIM(TRAILING 'a' FROM s)
SUBSTRING(s, 2) | SUBSTRING(s, 0, 2) | SUBSTRING(s, -2) | SUBSTRING(s, -3, 2) | SUBSTR(s, 2, -1)
SUBSTRING(s FROM 2 FOR 2) | MID(s, y, 2) | SUBSTRING(s, y, y) | LEFT(s, 2) | RIGHT(s, 2)
LEFT(s, y) | RIGHT(s, y) | LPAD(s, 5, 'xy') | RPAD(s, 5, 'xy') | LPAD(s, 2, 'x') | REPEAT(s, 2)
CHAR_LENGTH(s) | LENGTH(s) | LENGTH(x) | LOCATE(s2, s) | LOCATE('a', s, 2) | LOCATE(s2, s, y)
POSITION('b' IN s) | INSTR(s, 'a') | REPLACE(s, 'a', 'zz') | REPLACE(s, '', 'z') | REVERSE(s)
SUBSTRING_INDEX(s, 'a', 1) | SUBSTRING_INDEX(s, 'a', -1) | SUBSTRING_INDEX(s, 'a', 0)
SHA2(s, 256) | SHA2(x, 256) | HEX(s) | HEX(x) | HEX(y) | UNHEX(n) | s LIKE 'a%' | s LIKE '_'
s NOT LIKE '%a' | s LIKE 'a\\\\%' | s LIKE '%|%%' ESCAPE '|' | s REGEXP 'a+b' | s NOT REGEXP '^a'
REGEXP_LIKE(s, 'b$') | REGEXP_REPLACE(s, 'a+', '-')
REGEXP_REPLACE(s, '(a)(b)?', '<$1\\\\$$2>') | s = s2 | s < s2 | s <=> s2 | s IN ('a', 'b')
s BETWEEN 'a' AND 'b' | CAST(s AS CHAR(2)) | CAST(d AS CHAR) | CAST(e AS CHAR) | CAST(b AS CHAR)
"""
NUMBERS = """
i + 1 | i - y | i * y | i * i | b + 1 | b * 2 | -b | -d | -f | d + 1 | d - e | d * e | d * 0.5
e * e | i / 3 | i / y | d / 3 | d / e | e / d | e / y | i % 3 | i % y | d % 3 | e % d | MOD(b, 7)
i DIV 3 | i DIV y | d DIV 3 | u / 3 | f + 1 | f * 2 | f / 2 | f / i | f - 0.5 | i / 0 | i % 0
i DIV 0 | ABS(i) | ABS(d) | ABS(f) | CEIL(d) | FLOOR(d) | CEILING(e) | FLOOR(e) | FLOOR(i)
ROUND(d) | ROUND(d, 1) | ROUND(e, 3) | ROUND(d, 4) | ROUND(i, -1) | ROUND(d, -1) | ROUND(b, -3)
TRUNCATE(d, 1) | TRUNCATE(e, 2) | TRUNCATE(e, 0) | TRUNCATE(i, -1) | TRUNCATE(d, -1) | SIGN(d)
SIGN(i) | SQRT(ABS(i)) | SQRT(i) | LN(i) | LOG10(i) | LOG2(i) | POWER(y, 2) | POW(f, 0)
GREATEST(i, y) | LEAST(d, e) | GREATEST(i, NULL) | CAST(d AS SIGNED) | CAST(i AS DECIMAL(20,3))
CAST(e AS DECIMAL(15,1)) | CAST(y AS DOUBLE) | CAST(u AS DECIMAL(25,2)) | i = 5 | i > 0.5 | d > i
u > i | b < u | i <=> y | i IN (1, 2, y) | i BETWEEN y AND 100 | NOT i | NOT d | i AND y
i OR y | i XOR y | i = 1 OR d > 0 AND s = 'a' | (i > 0) + (y > 0) | i IS NULL | i IS NOT NULL
i IS TRUE | i IS NOT TRUE | y IS FALSE | !y | i = TRUE | 7 DIV 2 | 7 / 2 | 0.1 + 0.2 | 5 % 3
"""
CHOICES = """
IF(i > 0, s, 'none') | IF(i, d, e) | IFNULL(i, 0) | IFNULL(d, 0) | COALESCE(s, s2, '')
NULLIF(i, y) | NULLIF(s, '') | ISNULL(s) | CASE WHEN i > 0 THEN 'p' WHEN i < 0 THEN 'n' END
CASE y WHEN 1 THEN d WHEN 2 THEN i ELSE 0 END | IF(i IS NULL, NULL, i) | COALESCE(d, e, i)
"""
TIMES = """
YEAR(at) | MONTH(at) | DAY(day) | HOUR(at) | MINUTE(tz) | SECOND(at) | MICROSECOND(at)
QUARTER(day) | DAYOFWEEK(day) | WEEKDAY(day) | DAYOFYEAR(at) | DAYOFMONTH(day)
WEEKOFYEAR(day) | WEEK(day, 3)
LAST_DAY(day) | DATE(at) | DAYNAME(day) | MONTHNAME(day) | TO_DAYS(day) | HOUR(tm) | MINUTE(tm)
SECOND(tm) | MICROSECOND(tm) | EXTRACT(YEAR FROM at) | EXTRACT(HOUR FROM at)
DATE_FORMAT(at, '%Y-%m-%d %H:%i:%s.%f') | DATE_FORMAT(day, '%W %M %e %c %y %j %b %a')
DATE_FORMAT(at, '%T %r %l %k %p %h %%') | DATE_FORMAT(at, '%v-%x %w %U %S')
DATE_FORMAT(tz, '%Y%m') | DATE_ADD(day, INTERVAL 1 DAY) | DATE_ADD(day, INTERVAL 1 MONTH)
day + INTERVAL 2 WEEK
DATE_SUB(at, INTERVAL 3 HOUR) | at + INTERVAL i SECOND | day + INTERVAL 1 HOUR
at - INTERVAL 1 QUARTER | ADDDATE(day, 3) | SUBDATE(day, y) | TIMESTAMPADD(MINUTE, 5, at)
TIMESTAMPDIFF(MONTH, day, at) | TIMESTAMPDIFF(YEAR, at, day) | TIMESTAMPDIFF(DAY, at, tz)
TIMESTAMPDIFF(SECOND, at, tz) | TIMESTAMPDIFF(QUARTER, tz, at) | TIMESTAMPDIFF(HOUR, day, at)
DATEDIFF(at, day) | DATEDIFF(day, '2024-02-29') | FROM_UNIXTIME(ABS(i)) | at > day | at = tz
day >= '2020-06-01' | at < '2020-06-01 12:30:00.5' | tm > '10:00:00'
day BETWEEN '2000-01-01' AND at | GREATEST(day, at) | CAST(at AS DATE)
CAST(day AS DATETIME(6)) | CAST(at AS DATETIME(3))
STR_TO_DATE('2020-02-03 04:05:06', '%Y-%m-%d %H:%i:%s')
"""
DOCUMENTS = """
JSON_EXTRACT(j, '$.a') | j->'$.b' | j->>'$.a' | JSON_UNQUOTE(JSON_EXTRACT(j, '$.a')) | j->>'$.c[0]'
JSON_VALUE(j, '$.a') | JSON_VALUE(j, '$.d') | JSON_LENGTH(j) | JSON_LENGTH(j, '$.c') | j->>'$."e f"'
j->>'$.missing' | j->>'$.g' | JSON_VALUE(j, '$.g') | JSON_VALUE(j, '$.c') | JSON_VALID(n)
"""


def listed(*texts: str) -> list[str]:
    found = [e.strip() for t in texts for line in t.strip().splitlines() for e in line.split("|")]
    # The bars within LIKE's pattern are not ends of an expression.
    whole = " | ".join(found).replace("'% | %%' ESCAPE ' | '", "'%|%%' ESCAPE '|'")
    return [e.strip() for e in whole.split(" | ") if e.strip()]


EXPRESSIONS = listed(TEXT, NUMBERS, CHOICES, TIMES, DOCUMENTS)
OUT_OF_RANGE = 1690

WITHOUT_SHRINKING = (Phase.explicit, Phase.generate)
"""A difference names its row; to look for a smaller table takes minutes of a server's time."""

letters = st.text("aAb é%|1", max_size=6)
times = st.datetimes(dt.datetime(1971, 1, 1), dt.datetime(2037, 12, 31))
rows_of = st.fixed_dictionaries(
    {
        "i": st.integers(-100, 100) | st.sampled_from([2**31 - 1, -(2**31)]),
        "b": st.integers(-(2**62) + 1, 2**62),
        "u": st.integers(0, 100) | st.sampled_from([2**64 - 1, 2**63]),
        "y": st.integers(-3, 6) | st.sampled_from([-128, 127]),
        "d": st.decimals(-99999999, 99999999, places=2) | st.decimals(-9, 9, places=2),
        "e": st.decimals(-(9 * 10**10), 9 * 10**10, places=8) | st.decimals(-1, 1, places=8),
        "f": st.integers(-1000, 1000).map(lambda n: n / 8),
        "s": letters,
        "s2": letters,
        "n": st.text("0123ab", max_size=4),
        "day": times.map(lambda t: t.date()),
        "at": times,
        "tz": times,
        "tm": st.integers(-(838 * 3600), 838 * 3600).map(lambda s: dt.timedelta(seconds=s)),
        "j": st.fixed_dictionaries(
            {},
            optional={
                "a": st.integers(-9, 9) | letters | st.none() | st.booleans(),
                "b": st.integers(-9, 9),
                "c": st.lists(st.integers(-9, 9), max_size=2),
                "d": st.just({"x": 1}),
                "e f": letters,
                "g": st.floats(-1e6, 1e6).map(lambda n: round(n, 3)),
            },
        ).map(lambda v: json.dumps(v, ensure_ascii=False)),
        "x": st.binary(max_size=4),
    }
)
row = st.builds(
    lambda values, gone: {k: None if k in gone else v for k, v in values.items()},
    rows_of,
    st.sets(st.sampled_from(NAMES[1:]), max_size=4),
)


@pytest.fixture(scope="module")
def connection(mysql: FamilyServer) -> Iterator[pymysql.Connection[Any]]:
    with fresh_database(mysql) as name, mysql.connect(database=name) as found:
        with found.cursor() as cursor:
            cursor.execute("SET time_zone = '+00:00'")
            cursor.execute("SET NAMES utf8mb4 COLLATE utf8mb4_0900_bin")
            cursor.execute(TABLE)
        yield found


@given(st.lists(row, min_size=50, max_size=50))
@settings(max_examples=1, phases=WITHOUT_SHRINKING)
def test_expressions_give_what_mysql_gives(
    connection: pymysql.Connection[Any], rows: list[dict[str, Any]]
) -> None:
    compare_all(connection, rows)


@pytest.mark.nightly
@given(st.lists(row, min_size=1, max_size=8))
@settings(max_examples=120, phases=WITHOUT_SHRINKING)
def test_expressions_give_what_mysql_gives_for_many_rows(
    connection: pymysql.Connection[Any], rows: list[dict[str, Any]]
) -> None:
    compare_all(connection, rows)


def compare_all(connection: pymysql.Connection[Any], rows: list[dict[str, Any]]) -> None:
    numbered = [{"id": n, **r} for n, r in enumerate(rows)]
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE t")
        marks = ", ".join(["%s"] * len(NAMES))
        cursor.executemany(
            f"INSERT INTO t VALUES ({marks})", [[r[n] for n in NAMES] for r in numbered]
        )
        cursor.execute("SELECT id, j FROM t ORDER BY id")
        printed = dict(cursor.fetchall())
        for r in numbered:
            r["j"] = printed[r["id"]]
            r["tz"] = r["tz"] and r["tz"].replace(tzinfo=dt.UTC)
        ours, types = evaluated({e: e for e in EXPRESSIONS}, numbered)
        wrong = []
        for text in EXPRESSIONS:
            theirs, scale = mysql_values(cursor, text, len(numbered))
            wrong += differences(text, ours[text], theirs, types[text], scale, numbered)
    assert not wrong, "\n".join(wrong[:20])


def mysql_values(cursor: Any, text: str, count: int) -> tuple[list[Any], int | None]:
    """Values row by row, `failed` where the server refuses one; digits behind a DECIMAL's point."""
    try:
        cursor.execute(f"SELECT {text} FROM t ORDER BY id")
        found = [r[0] for r in cursor.fetchall()]
    except pymysql.err.MySQLError as error:
        assert error.args[0] == OUT_OF_RANGE, f"{text}: {error}"
        found = [_single(cursor, text, n) for n in range(count)]
    described = cursor.description[0] if cursor.description else None
    return found, described[5] if described and described[1] == 246 else None


def _single(cursor: Any, text: str, n: int) -> Any:
    try:
        cursor.execute(f"SELECT {text} FROM t WHERE id = {n}")
    except pymysql.err.MySQLError as error:
        assert error.args[0] == OUT_OF_RANGE, f"{text}: {error}"
        return "failed"
    return cursor.fetchone()[0]


def differences(
    text: str,
    ours: list[Any],
    theirs: list[Any],
    type_: pa.DataType,
    scale: int | None,
    rows: list[dict[str, Any]],
) -> list[str]:
    wrong = [
        f"{text}: we {a!r}, MySQL {b!r}, row {r}"
        for a, b, r in zip(ours, theirs, rows, strict=True)
        if not same(a, b)
    ]
    if scale is not None and pa.types.is_decimal(type_) and type_.scale != scale:
        wrong.append(f"{text}: {type_} here, {scale} digits behind the point in MySQL")
    return wrong


def same(ours: Any, theirs: Any) -> bool:
    ours, theirs = plain(ours), plain(theirs)
    if isinstance(ours, float) and isinstance(theirs, int | float):
        return math.isclose(ours, theirs, rel_tol=1e-12)
    return bool(ours == theirs)


def plain(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, dt.datetime):
        return value.replace(tzinfo=None)
    if isinstance(value, str):
        return told_apart(value)
    return value


def told_apart(value: str) -> Any:
    """Dates MySQL gives as text, and JSON, which is printed with other spaces."""
    for read in (json.loads, dt.datetime.fromisoformat):
        try:
            found = read(value)
        except ValueError:
            continue
        return found if not isinstance(found, float) else value
    return value
