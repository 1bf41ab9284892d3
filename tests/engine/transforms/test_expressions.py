"""What expressions mean where no MySQL can say it: Flink's names, exactness, failures, types."""

from __future__ import annotations

import datetime as dt
import hashlib
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdc_assets.engine.transforms.functions import known_functions
from cdc_assets.engine.transforms.rule import TransformRule
from cdc_assets.engine.transforms.transform import compile_transform
from resources.model.table import Column, TableId, TableSchema
from tests.engine.transforms.columns import (
    CONTEXT,
    TABLE,
    evaluate,
    snapshot_rows,
    transform_of,
)
from tests.strategies import COLUMN_TYPES, WIDE_DECIMALS, Changes, change_sequences, table_schemas

FAILED = "failed"
ROW = {
    "i": -7,
    "y": 3,
    "u": 2**64 - 1,
    "b": 2**63 - 1,
    "d": Decimal("-12.35"),
    "f": 0.5,
    "s": "Ünï code",
    "s2": "a,b,,c",
    "n": "12",
    "day": dt.date(2024, 2, 29),
    "at": dt.datetime(2024, 2, 29, 13, 4, 5, 678_901),
    "tz": dt.datetime(1969, 12, 31, 23, 59, 59, 500_000, dt.UTC),
    "tm": dt.timedelta(hours=-30, minutes=-5),
    "j": '{"a": {"b": [1, "x"]}, "n": null, "big": 12345678901234567890123}',
    "x": b"\x00\xff",
}
GOLDEN = {
    # Flink's and Paimon's names
    "DATE_FORMAT(at, 'yyyy-MM-dd HH:mm:ss.SSS')": "2024-02-29 13:04:05.678",
    "DATE_FORMAT(day, 'yyyyMM')": "202402",
    "DATE_FORMAT(at, 'd.M.yy ''um'' H')": "29.2.24 um 13",
    "TO_DATE('2024-02-29')": dt.date(2024, 2, 29),
    "TO_DATE('29.02.2024', 'dd.MM.yyyy')": dt.date(2024, 2, 29),
    "TO_TIMESTAMP('2024-02-29 01:02:03')": dt.datetime(2024, 2, 29, 1, 2, 3),
    "TO_TIMESTAMP('20240229010203', 'yyyyMMddHHmmss')": dt.datetime(2024, 2, 29, 1, 2, 3),
    "SPLIT_INDEX(s2, ',', 3)": "c",
    "SPLIT_INDEX(s2, ',', 4)": None,
    "REGEXP_EXTRACT(s, '([a-z]+)$', 1)": "code",
    "REGEXP_EXTRACT(s, '[0-9]')": None,
    "SHA256('a')": hashlib.sha256(b"a").hexdigest(),
    "MD5(s)": hashlib.md5("Ünï code".encode()).hexdigest(),
    "MD5(x)": hashlib.md5(b"\x00\xff").hexdigest(),
    "SHA1(s)": hashlib.sha1("Ünï code".encode()).hexdigest(),
    "NVL(s, 'x')": "Ünï code",
    "TRUNCATE(s, 3)": "Ünï",
    "TRUNCATE_WIDTH(i, 5)": -10,
    "TRUNCATE_WIDTH(y, 5)": 0,
    "TRUNCATE_WIDTH(u, 10)": 2**64 - 6,
    "TRUNCATE_WIDTH(d, 50)": Decimal("-12.50"),
    "CAST(n AS INT)": 12,
    "CAST(n AS BIGINT)": 12,
    "CAST(i AS STRING)": "-7",
    "CAST(d AS DECIMAL(10, 1))": Decimal("-12.4"),
    "CAST('x' AS BINARY)": b"x",
    "CAST(i AS BOOLEAN)": True,
    "CAST(day AS TIMESTAMP)": dt.datetime(2024, 2, 29),
    "TRIM(UPPER(CONCAT(' ', LOWER(s))))": "ÜNÏ CODE",
    "YEAR(day) * 100 + MONTH(day)": 202402,
    # times
    "UNIX_TIMESTAMP(tz)": -1,
    "UNIX_TIMESTAMP(at)": 1709211845,
    "FROM_UNIXTIME(86400, '%Y-%m-%d')": "1970-01-02",
    "HOUR(tm)": 30,
    "TIME_TO_SEC(tm)": -108300,
    "IFNULL(day, '2020-01-01')": dt.date(2024, 2, 29),
    "day + INTERVAL 1 YEAR": dt.date(2025, 2, 28),
    "TIMESTAMPDIFF(MONTH, '2024-01-31', day)": 0,
    "TIMESTAMPDIFF(SECOND, at, '2024-02-29')": -47045,
    "CAST('2024-02-29 13:00' AS DATETIME)": dt.datetime(2024, 2, 29, 13),
    "CAST('2024-02-29 13:00' AS DATE)": dt.date(2024, 2, 29),
    # numbers that stay what they are
    "u + 1": Decimal(2**64),
    "u": 2**64 - 1,
    "u * u": "failed",
    "b + 1": "failed",
    "-b - 2": "failed",
    "CAST(u AS SIGNED)": "failed",
    "CAST(i AS UNSIGNED)": "failed",
    "CAST(i AS TINYINT)": -7,
    "COALESCE(u, -1)": Decimal(2**64 - 1),
    "f * 1e308 * 1e10": "failed",
    "1 / 3": Decimal("0.3333"),
    "2 / 3": Decimal("0.6667"),
    "-2 / 3": Decimal("-0.6667"),
    "0.00005 / 10": Decimal("0.000005000"),
    "i / 0": None,
    "f / 0": None,
    "IF(i > 0, 1, 2.5)": Decimal("2.5"),
    "-9223372036854775808": -(2**63),
    "-9223372036854775809": Decimal(-(2**63) - 1),
    "- -3": 3,
    "REGEXP_REPLACE('ab', '(a)', '$1\\\\$1')": "a$1b",
    "99999999999999999999999999999999999999": Decimal(10**38 - 1),
    "99999999999999999999999999999999999999 + 1": "failed",
    # truth
    "(i > 0) + (y > 0)": 1,
    "i IS NOT NULL AND s <> 'x'": True,
    "NULL AND FALSE": False,
    "NULL OR y": True,
    "s = 'ünï code'": False,
    "'a' = 'a '": False,
    "NOT i": False,
    "i <=> NULL": False,
    "x = 'ab'": False,
    "x'00FF' = x": True,
    "tm < '-29:00:00'": True,
    # documents
    "j->'$.a.b'": '[1,"x"]',
    "j->>'$.a.b[1]'": "x",
    "JSON_VALUE(j, '$.n')": None,
    "j->>'$.n'": "null",
    "JSON_EXTRACT(j, '$.big')": "12345678901234567890123",
    "JSON_LENGTH(j)": 3,
    "JSON_EXTRACT(s, '$.a')": "failed",
    # text that is no number or date
    "CAST(s AS SIGNED)": "failed",
    "CAST('1.5' AS SIGNED)": "failed",
    "CAST('1_000' AS SIGNED)": "failed",
    "CAST('0x10' AS DECIMAL(5))": "failed",
    "CAST('inf' AS DOUBLE)": "failed",
    "CAST('2024-02-30' AS DATE)": "failed",
    "CAST('2024-02-29 13:00+02' AS DATETIME)": "failed",
    "STR_TO_DATE(s, '%Y')": "failed",
}


def test_golden_values() -> None:
    found = {text: evaluate(text, ROW)[0] for text in GOLDEN}
    assert found == GOLDEN
    assert [type(v) for v in found.values()] == [type(v) for v in GOLDEN.values()]


@pytest.mark.parametrize(
    ("text", "rows", "values"),
    [
        # a part that occurs twice in the SQL, of which DuckDB would compute one for all rows
        ("CAST(s AS DECIMAL(5)) / y", [("x", 2), ("7", 2)], [FAILED, Decimal("3.5")]),
        ("CONCAT(CAST(s AS SIGNED), CAST(s AS SIGNED))", [("x", 1), ("7", 1)], [FAILED, "77"]),
        # only the branch that is taken counts
        ("IF(y > 1, CAST(s AS SIGNED), CAST(s AS SIGNED) + y)", [("x", 1), ("7", 1)], [FAILED, 8]),
        ("IF(s REGEXP '^[0-9]+$', CAST(s AS SIGNED), -1)", [("x", 1), ("7", 1)], [-1, 7]),
        # errors that pass through DuckDB's TRY
        ("'a' LIKE s", [("a\\", 1), ("a", 1), ("b", 1)], [FAILED, True, False]),
        ("'a' REGEXP s", [("a(", 1), ("a", 1)], [FAILED, True]),
        ("LPAD('a', 5, s)", [("", 1), ("x", 1)], [FAILED, "xxxxa"]),
        # constants that DuckDB would multiply first
        ("FROM_UNIXTIME(y * 4611686018427387)", [("", 2), ("", 0)],
         [FAILED, dt.datetime(1970, 1, 1)]),
        ("DATE '2020-02-29' + INTERVAL y * 1000 YEAR", [("", 8), ("", -3), ("", 5)],
         [FAILED, FAILED, dt.date(7020, 2, 29)]),
        ("POWER(y, 300) * POWER(y, 300)", [("", 20), ("", 1)], [FAILED, 1.0]),
    ],
)  # fmt: skip
def test_only_the_rows_an_expression_cannot_do_are_failed(
    text: str, rows: list[tuple[str, int]], values: list[object]
) -> None:
    found = evaluate(text, *({"s": s, "y": y} for s, y in rows))
    assert found == values


@pytest.mark.parametrize(
    ("text", "type_"),
    [
        ("i + y", pa.int64()),
        ("u + 1", pa.decimal128(21, 0)),
        ("u - b", pa.decimal128(21, 0)),
        ("d + e", pa.decimal128(21, 8)),
        ("d * e", pa.decimal128(30, 10)),
        ("e * e", pa.decimal128(38, 16)),
        ("d / y", pa.decimal128(14, 6)),
        ("d % e", pa.decimal128(20, 8)),
        ("d + 0.125", pa.decimal128(12, 3)),
        ("f + 0.5", pa.float64()),
        ("f + y", pa.float64()),
        ("i DIV 2", pa.int64()),
        ("i > 0", pa.bool_()),
        ("IFNULL(i, 0)", pa.int32()),
        ("IFNULL(i, 3000000000)", pa.int64()),
        ("IFNULL(y, i)", pa.int32()),
        ("IFNULL(d, 0)", pa.decimal128(10, 2)),
        ("IFNULL(d, 0.125)", pa.decimal128(11, 3)),
        ("IFNULL(u, i)", pa.decimal128(20, 0)),
        ("IFNULL(s, j)", pa.large_string()),
        ("IFNULL(day, at)", pa.timestamp("us")),
        ("IFNULL(tz, '2020-01-01')", pa.timestamp("us", tz="UTC")),
        ("IFNULL(tm, '10:00:00')", pa.duration("us")),
        ("IF(i > 0, tm, NULL)", pa.duration("us")),
        ("ROUND(d, 1)", pa.decimal128(10, 1)),
        ("CEIL(d)", pa.decimal128(9, 0)),
        ("YEAR(at)", pa.int32()),
        ("UPPER(j)", pa.large_string()),
        ("__loaded_at__", pa.timestamp("us", tz="UTC")),
    ],
)
def test_types_of_results(text: str, type_: pa.DataType) -> None:
    made = transform_of("id", f"{text} AS v")
    assert made.schema.column("v").type == type_
    done = made.apply_rows(snapshot_rows([ROW | {"id": 1}]), CONTEXT)
    assert done.rows.column("v").type == type_


wide = st.integers(-(10**18), 10**18).map(lambda n: Decimal(n).scaleb(-6))
small = st.integers(-(10**9), 10**9).map(lambda n: Decimal(n).scaleb(-3))


@given(st.lists(st.tuples(wide, small), min_size=1, max_size=20))
@settings(max_examples=40)
def test_decimal_arithmetic_is_exact(pairs: list[tuple[Decimal, Decimal]]) -> None:
    schema = TableSchema(
        TABLE,
        (
            Column("id", pa.int32(), nullable=False),
            Column("a", pa.decimal128(19, 6)),
            Column("b", pa.decimal128(10, 3)),
        ),
        ("id",),
    )
    made = transform_of("a + b AS s", "a - b AS m", "a * b AS p", "a / b AS q", "a % b AS r", "id",
                        schema=schema)  # fmt: skip
    rows = snapshot_rows([{"id": n, "a": a, "b": b} for n, (a, b) in enumerate(pairs)], schema)
    done = made.apply_rows(rows, CONTEXT)
    assert done.failed == []
    for row, (a, b) in zip(done.rows.to_pylist(), pairs, strict=True):
        x, y = int(a.scaleb(6)), int(b.scaleb(6))
        assert int(row["s"].scaleb(6)) == x + y
        assert int(row["m"].scaleb(6)) == x - y
        assert int(row["p"].scaleb(9)) == x * int(b.scaleb(3))
        if not y:
            assert (row["q"], row["r"]) == (None, None)
            continue
        quotient = (2 * abs(x) * 10**10 + abs(y)) // (2 * abs(y))
        assert int(row["q"].scaleb(10)) == (quotient if (x < 0) == (y < 0) else -quotient)
        assert int(row["r"].scaleb(6)) == (abs(x) % abs(y)) * (-1 if x < 0 else 1)


@given(change_sequences(table_schemas((*COLUMN_TYPES, *WIDE_DECIMALS)), max_size=8))
@settings(max_examples=25)
def test_columns_of_every_type_and_name_pass_untouched(changes: Changes) -> None:
    rule = TransformRule(("shop.t",), ("*", "CONCAT(__table__, __op__) AS computed"), "1 = 1")
    batch = changes.batch()
    done = compile_transform(rule, changes.schema).apply(batch, CONTEXT)
    passed = done.rows.select(batch.schema.names)
    assert passed.schema == batch.schema
    assert repr(passed.to_pylist()) == repr(batch.to_pylist())  # NaN is not equal to itself
    kinds = ["+I", "-U", "+U", "-D"]
    assert done.rows.column("computed").to_pylist() == [f"t{kinds[k]}" for k, _ in changes.rows]


def test_a_column_of_the_source_may_have_a_name_that_rules_may_not_give() -> None:
    columns = (Column("id", pa.int32(), nullable=False), Column("_cdc_note", pa.string()))
    schema = TableSchema(TABLE, columns, ("id",))
    made = transform_of("*", "id + 1 AS v", schema=schema)
    assert made.schema.names == ("id", "_cdc_note", "v")


def test_large_batches_keep_their_order() -> None:
    count = 300_000
    schema = TableSchema(TableId("shop", "t"), (Column("id", pa.int64(), nullable=False),), ("id",))
    rows = pa.RecordBatch.from_arrays([pa.array(np.arange(count))], names=["id"])
    made = transform_of("id", "id * 2 AS v", schema=schema, filter="id % 3 = 0")
    done = made.apply_rows(rows, CONTEXT).rows
    assert np.array_equal(done.column("id"), np.arange(0, count, 3))
    assert np.array_equal(done.column("v"), np.arange(0, count, 3) * 2)


def test_a_slice_of_a_batch_is_read_at_its_place() -> None:
    rows = snapshot_rows([{"id": n, "i": n, "tm": dt.timedelta(hours=n)} for n in range(20)])
    made = transform_of("id", "HOUR(tm) AS h", "tm", filter="i > 15 AND i IS NOT NULL")
    done = made.apply_rows(rows.slice(10, 9), CONTEXT)
    assert [(r["id"], r["h"]) for r in done.rows.to_pylist()] == [(16, 16), (17, 17), (18, 18)]


def test_names_are_found_in_any_case_and_the_exact_one_first() -> None:
    schema = TableSchema(
        TABLE,
        (
            Column("id", pa.int32(), nullable=False),
            Column("É", pa.int32()),
            Column("é", pa.int32()),
        ),
        ("id",),
    )
    made = transform_of("ID + 0 AS a", "`é` + 0 AS b", "`É` + 0 AS c", "id", schema=schema)
    done = made.apply_rows(snapshot_rows([{"id": 1, "É": 2, "é": 3}], schema), CONTEXT)
    assert done.rows.select(["a", "b", "c"]).to_pylist() == [{"a": 1, "b": 3, "c": 2}]


def test_only_rules_with_expressions_load_the_parser() -> None:
    code = (
        "import sys\n"
        "from cdc_assets.engine.transforms import mask, transform\n"
        "from tests.engine.transforms.columns import transform_of\n"
        "transform_of('*', 's AS name' if len(sys.argv) > 1 else 's')\n"
        "print('sqlglot' in sys.modules)\n"
    )
    for arguments, loaded in ((), "False"), (("x",), "True"):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == loaded


def test_every_known_function_is_on_the_page() -> None:
    page = (Path(__file__).parents[3] / "docs" / "expressions.md").read_text(encoding="utf-8")
    extra = {"IF", "CASE", "CAST", "EXTRACT", "POSITION", "DATE_ADD", "DATE_SUB", "ADDDATE",
             "SUBDATE", "TIMESTAMPADD", "TIMESTAMPDIFF"}  # fmt: skip
    assert [n for n in [*known_functions(), *sorted(extra)] if f"`{n}`" not in page] == []
