"""`pipeline.type_mapping`: a mapped value is the source's own, or its row is named."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, get_args

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdc_assets.engine.type_mapping import (
    TypeMapping,
    map_rows,
    map_values,
    mapped,
    mapped_schema,
)
from cdc_assets.settings_pipeline import TypeMapping as SettingsTypeMapping
from resources.model.table import Column, TableId, TableSchema

TINY = Column("flag", pa.int8(), "tinyint(1)", nullable=False)
BIG = Column("n", pa.uint64(), "bigint unsigned")


def test_the_file_and_the_engine_know_the_same_options() -> None:
    assert set(get_args(get_args(SettingsTypeMapping)[0])) == set(get_args(TypeMapping))


@pytest.mark.parametrize(
    ("option", "column", "arrow", "words"),
    [
        ("tinyint1-to-bool", TINY, pa.bool_(), "tinyint(1)"),
        ("tinyint1-to-bool", Column("a", pa.int8(), "tinyint"), pa.int8(), "tinyint"),
        ("tinyint1-to-bool", Column("a", pa.uint8(), "tinyint(1) unsigned"), pa.uint8(), None),
        ("bigint-unsigned-to-bigint", BIG, pa.int64(), "bigint"),
        ("bigint-unsigned-to-bigint", Column("a", pa.uint64(), "bit(8)", kind="bit"), None, None),
        ("char-to-string", Column("a", pa.string(), "varchar(10)"), pa.string(), "text"),
        ("char-to-string", Column("a", pa.string(), "CHAR(3)"), pa.string(), "text"),
        ("char-to-string", Column("a", pa.string(), "enum('x')", kind="enum"), None, None),
        ("longtext-to-bytes", Column("a", pa.large_string(), "longtext"), pa.large_binary(), None),
        ("longtext-to-bytes", Column("a", pa.large_string(), "json", kind="json"), None, None),
        ("to-string", Column("a", pa.decimal128(5, 2), "decimal(5,2)"), pa.string(), "text"),
        ("to-string", Column("a", pa.string(), "enum('x')", kind="enum"), pa.string(), "text"),
        ("to-string", Column("a", pa.large_string(), "json", kind="json"), pa.large_string(), None),
        ("to-string", Column("a", pa.binary(), "blob"), pa.binary(), "blob"),
        ("to-string", Column("a", pa.list_(pa.float32()), "vector"), None, None),
    ],
)
def test_columns_of_an_option(
    option: TypeMapping, column: Column, arrow: pa.DataType | None, words: str | None
) -> None:
    made = mapped(column, {option})
    assert made.type == (arrow or column.type)
    assert words is None or made.source_type == words
    assert made.nullable == column.nullable
    assert mapped(column, set()) == column
    assert option != "to-string" or made.kind == "plain"


def test_only_columns_outside_of_the_key_become_nullable() -> None:
    columns = (Column("id", pa.int64(), nullable=False), Column("a", pa.int8(), nullable=False))
    schema = TableSchema(TableId("a", "b"), columns, ("id",))
    assert [c.nullable for c in mapped_schema(schema, {"to-nullable"}).columns] == [False, True]
    assert mapped_schema(schema, ()) is schema


@given(
    st.lists(st.none() | st.integers(-128, 127) | st.sampled_from([0, 1])),
    st.lists(st.none() | st.integers(0, 2**64 - 1) | st.sampled_from([2**63 - 1, 2**63])),
    st.integers(0, 3),
)
@settings(max_examples=60)
def test_a_value_that_does_not_fit_is_a_row_by_name(
    flags: list[int | None], numbers: list[int | None], skip: int
) -> None:
    count = min(len(flags), len(numbers))
    flags, numbers = flags[:count], numbers[:count]
    schema = TableSchema(TableId("a", "b"), (TINY, BIG))
    wanted = mapped_schema(schema, {"tinyint1-to-bool", "bigint-unsigned-to-bigint"})
    rows = pa.RecordBatch.from_arrays(
        [pa.array(flags, pa.int8()), pa.array(numbers, pa.uint64()), pa.array(range(count))],
        names=["flag", "n", "_cdc_seq"],
    ).slice(skip)
    done = map_rows(rows, schema, wanted)
    bad = {
        i: "flag" if flag not in (0, 1, None) else "n"
        for i, (flag, n) in enumerate(zip(flags[skip:], numbers[skip:], strict=True))
        if flag not in (0, 1, None) or (n is not None and n >= 2**63)
    }
    assert {row.row: row.column for row in done.bad} == bad
    assert all(str(2**63) not in row.message for row in done.bad)
    good = [row for i, row in enumerate(rows.to_pylist()) if i not in bad]
    made = [r | {"flag": None if r["flag"] is None else bool(r["flag"])} for r in good]
    assert done.rows.to_pylist() == made
    assert done.rows.schema.field("flag").type == pa.bool_()
    assert done.rows.schema.field("n").type == pa.int64()


def test_rows_of_unmapped_columns_are_handed_back() -> None:
    schema = TableSchema(TableId("a", "b"), (Column("a", pa.int8()),))
    rows = pa.RecordBatch.from_arrays([pa.array([1], pa.int8())], names=["a"])
    assert map_rows(rows, schema, mapped_schema(schema, {"to-nullable"})).rows is rows


def clock(value: timedelta) -> str:
    micros = abs(value) // timedelta(microseconds=1)
    seconds, micros = divmod(micros, 1_000_000)
    hms = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return ("-" if value < timedelta(0) else "") + f"{hms}.{micros:06}".rstrip("0").rstrip(".")


def moment(value: datetime) -> str:
    return f"{value:%H:%M:%S.%f}".rstrip("0").rstrip(".")


WIDE = pa.decimal256(60, 30)
TEXTS: dict[str, tuple[pa.DataType, st.SearchStrategy[Any], Any]] = {
    "decimal": (
        pa.decimal128(20, 10),
        st.decimals(-(10**9), 10**9, places=10),
        lambda v: format(v, ".10f"),
    ),
    "wide decimal": (
        WIDE,
        st.integers(-(10**59), 10**59).map(lambda n: Decimal(n).scaleb(-30)),
        lambda v: format(v, ".30f"),
    ),
    "whole number": (pa.uint64(), st.integers(0, 2**64 - 1), str),
    "date": (pa.date32(), st.dates(), date.isoformat),
    "time": (
        pa.timestamp("us"),
        st.datetimes(),
        lambda v: f"{v.date().isoformat()} {moment(v)}",
    ),
    "duration": (
        pa.duration("us"),
        st.timedeltas(timedelta(hours=-838), timedelta(hours=838)),
        clock,
    ),
    "truth": (pa.bool_(), st.booleans(), lambda v: str(v).lower()),
}


@pytest.mark.parametrize("kind", TEXTS)
@settings(max_examples=40)
@given(data=st.data())
def test_every_value_has_one_text(kind: str, data: st.DataObject) -> None:
    arrow, values, oracle = TEXTS[kind]
    found = data.draw(st.lists(st.none() | values, max_size=6))
    column = Column("a", arrow)
    made, unfit = map_values(pa.array(found, arrow), column, mapped(column, {"to-string"}))
    assert unfit is None
    expected = [None if value is None else oracle(value) for value in found]
    if kind.endswith("decimal"):
        expected = [t and (t[1:] if t.strip("-0.") == "" and t[0] == "-" else t) for t in expected]
    assert made.to_pylist() == expected


@given(st.lists(st.floats(), max_size=6))
@settings(max_examples=40)
def test_the_text_of_a_float_reads_back(values: list[float]) -> None:
    column = Column("a", pa.float64())
    made, _ = map_values(pa.array(values), column, mapped(column, {"to-string"}))
    assert list(map(repr, map(float, made.to_pylist()))) == list(map(repr, values))


def test_texts_of_years_and_of_times_in_utc() -> None:
    year = Column("y", pa.int16(), "year", kind="year")
    made, _ = map_values(pa.array([0, 2026], pa.int16()), year, mapped(year, {"to-string"}))
    assert made.to_pylist() == ["0000", "2026"]
    utc = Column("t", pa.timestamp("us", "UTC"), "timestamp(6)")
    times = pa.array([0, 1_500_000], utc.type)
    made, _ = map_values(times, utc, mapped(utc, {"to-string"}))
    assert made.to_pylist() == ["1970-01-01 00:00:00Z", "1970-01-01 00:00:01.5Z"]


def test_text_as_bytes_is_utf8() -> None:
    column = Column("a", pa.large_string(), "longtext", charset="latin1")
    made, _ = map_values(
        pa.array(["é", None], pa.large_string()), column, mapped(column, {"longtext-to-bytes"})
    )
    assert made.to_pylist() == ["é".encode(), None]
