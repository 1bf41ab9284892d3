"""Wide and narrow tables, long values, NULLs everywhere: part of the suite of sinks."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from resources.model.table import Column, TableId, TableSchema
from resources.sinks.contract import Sink, TargetId, TargetTable
from resources.sinks.shape import target_schema
from tests.contracts.sink_case import SinkCase
from tests.contracts.sink_steps import fence, load
from tests.strategies import comparable

ID = TargetId("shop", "sizes")
WIDE = 1000
"""Columns of the widest table: as many as InnoDB's rows have room for."""


def target_of(*columns: Column) -> TargetTable:
    """A table keyed by `id`."""
    schema = TableSchema(TableId("s", "t"), (Column("id", pa.int32()), *columns), ("id",))
    return TargetTable(ID, schema)


def table(target: TargetTable, *rows: tuple[Any, ...]) -> pa.Table:
    """Rows of a table."""
    columns = [list(values) for values in zip(*rows, strict=True)]
    return pa.table(columns, schema=target_schema(target))


def plain_value(type_: pa.DataType) -> Any:
    """A value of a type that every sink holds which holds the type."""
    if pa.types.is_struct(type_):
        return {f.name: plain_value(f.type) for f in type_}
    if pa.types.is_list(type_):
        return [plain_value(type_.value_type)]
    at = dt.datetime(2024, 2, 29, 23, 59, 59, 999_999, dt.UTC)
    plain: list[tuple[Callable[[pa.DataType], bool], Any]] = [
        (pa.types.is_boolean, True),
        (pa.types.is_integer, 1),
        (pa.types.is_floating, 0.5),
        (pa.types.is_decimal, Decimal(1).scaleb(-getattr(type_, "scale", 0))),
        (pa.types.is_date, at.date()),
        (pa.types.is_timestamp, at if getattr(type_, "tz", None) else at.replace(tzinfo=None)),
        (pa.types.is_duration, dt.timedelta(hours=-1)),
        (pa.types.is_string, "text"),
        (pa.types.is_large_string, "text"),
    ]
    return next((value for matches, value in plain if matches(type_)), b"bytes")


class SinkSizes(SinkCase):
    """What is long, wide or empty comes back as it went in, by a load and by a merge."""

    def written(self, sink: Sink, target: TargetTable, rows: pa.Table) -> pa.Table:
        """Load the first half, merge the rest over it, and return what is there."""
        half = rows.num_rows // 2
        load(sink, target, "a", [rows.slice(0, half)], fence(None, 1))
        sink.merge(target, rows.slice(half), rows.select(["id"]).slice(0, 0), fence(1, 2))
        return sink.read_table(target.id).sort_by("id")

    def test_a_table_of_a_thousand_columns(self, sink: Sink) -> None:
        kinds: list[tuple[pa.DataType, Any]] = [(pa.int32(), -7), (pa.int16(), 300)]
        kinds += [(pa.bool_(), True), (pa.float32(), 0.5)]
        chosen = [kinds[i % len(kinds)] for i in range(WIDE - 41)]
        chosen += [(pa.string(), "é"), (pa.decimal128(12, 2), None)] * 20
        target = target_of(*(Column(f"column_{i}", t) for i, (t, _) in enumerate(chosen)))
        assert len(target.schema.columns) == WIDE
        full = [value for _, value in chosen]
        turned = [value if i % 3 else None for i, value in enumerate(full)]
        rows = table(target, (1, *full), (2, *turned), (3, *[None] * len(full)), (4, *full))
        assert sink.check_table(target) == []
        assert self.written(sink, target, rows).equals(rows)
        assert sink.check_table(target) == []

    def test_a_table_of_its_key_alone(self, sink: Sink) -> None:
        target = target_of()
        rows = table(target, (1,), (2,), (3,), (4,))
        assert self.written(sink, target, rows).equals(rows)
        sink.merge(target, table(target, (2,), (9,)), table(target, (1,), (77,)), fence(2, 3))
        assert sorted(sink.read_table(ID)["id"].to_pylist()) == [2, 3, 4, 9]

    def test_nulls_in_every_column_come_and_go(self, sink: Sink) -> None:
        columns = [Column(f"c{i}", t) for i, t in enumerate(self.column_types)]
        target = target_of(*columns)
        full = tuple(plain_value(c.type) for c in columns)
        nothing = (None,) * len(columns)
        rows = table(target, (1, *nothing), (2, *full), (3, *nothing), (4, *full))
        assert comparable(self.written(sink, target, rows)) == comparable(rows)
        turned = table(target, (1, *full), (2, *nothing), (3, *full), (4, *nothing))
        sink.merge(target, turned, rows.select(["id"]).slice(0, 0), fence(2, 3))
        assert comparable(sink.read_table(ID)) == comparable(turned)

    def test_long_values(self, sink: Sink) -> None:
        """Around 64 KB, where lengths of two bytes end, and over a megabyte."""
        target = target_of(Column("s", pa.large_string()), Column("b", pa.large_binary()))
        sizes = (65_535, 65_536, 65_537, 1_200_000)
        values = [("é" * (size // 2) + "x" * (size % 2), b"\0\xff" * (size // 2)) for size in sizes]
        rows = table(target, *((i, *pair) for i, pair in enumerate([*values, ("", b"")])))
        assert self.written(sink, target, rows).equals(rows)

    @pytest.mark.nightly
    def test_values_of_50_mb(self, sink: Sink) -> None:
        target = target_of(Column("s", pa.large_string()), Column("b", pa.large_binary()))
        size = 50 << 20
        rows = table(target, (1, "é" * (size // 2), b""), (2, "", b"\0\xff" * (size // 2)))
        assert self.written(sink, target, rows).equals(rows)
        turned = table(target, (1, "", b"\0\xff" * (size // 2)), (2, "é" * (size // 2), b""))
        sink.merge(target, turned, rows.select(["id"]).slice(0, 0), fence(2, 3))
        assert sink.read_table(ID).sort_by("id").equals(turned)
