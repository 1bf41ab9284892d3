"""Changes of a column's type: part of the suite of sinks."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resources.errors import ConfigError, SchemaMismatch
from resources.model.column_change import AddColumn, RetypeColumn
from resources.model.table import Column
from resources.sinks.contract import Sink, TargetId
from resources.sinks.memory_tables import converted
from resources.sinks.retype import convertible, widens
from resources.sinks.shape import target_schema
from tests.contracts.sink_alter import ID, fill, target_of
from tests.contracts.sink_case import SinkCase
from tests.strategies import comparable

_DAY = dt.date(2024, 2, 29)
_TIME = dt.datetime(2024, 2, 29, 13, 14, 15, 123456)
WIDENED: list[tuple[pa.DataType, pa.DataType, list[Any], list[Any]]] = [
    (pa.int8(), pa.int64(), [-128, 127], [-128, 127]),
    (pa.uint8(), pa.int16(), [0, 255], [0, 255]),
    (pa.uint32(), pa.int64(), [2**32 - 1], [2**32 - 1]),
    (pa.int64(), pa.decimal128(20, 0), [-(2**63)], [Decimal(-(2**63))]),
    (pa.uint64(), pa.decimal128(20, 0), [2**64 - 1], [Decimal(2**64 - 1)]),
    (pa.int16(), pa.decimal128(7, 2), [-32768], [Decimal("-32768.00")]),
    (pa.decimal128(5, 2), pa.decimal128(12, 4), [Decimal("-999.99")], [Decimal("-999.9900")]),
    (pa.decimal128(9, 9), pa.decimal128(38, 30), [Decimal("1E-9")], [Decimal("1E-9")]),
    (pa.int32(), pa.float64(), [2**31 - 1, -7], [2147483647.0, -7.0]),
    (pa.float32(), pa.float64(), [0.10000000149011612, -0.0], [0.10000000149011612, -0.0]),
    (pa.date32(), pa.timestamp("us"), [_DAY], [dt.datetime(2024, 2, 29)]),
    (pa.string(), pa.large_string(), ["é", "a\0b"], ["é", "a\0b"]),
    (pa.binary(), pa.large_binary(), [b"\\x41\0"], [b"\\x41\0"]),
    (pa.int64(), pa.string(), [-(2**63), 0], [str(-(2**63)), "0"]),
    (pa.int64(), pa.int8(), [-128, 127], [-128, 127]),
    (pa.uint64(), pa.int64(), [2**63 - 1], [2**63 - 1]),
    (pa.decimal128(10, 2), pa.decimal128(4, 1), [Decimal("-1.50")], [Decimal("-1.5")]),
    (pa.decimal128(10, 2), pa.int32(), [Decimal("7.00")], [7]),
    (pa.timestamp("us"), pa.date32(), [dt.datetime(2024, 2, 29)], [_DAY]),
    (pa.float64(), pa.float32(), [1.5, float("inf")], [1.5, float("inf")]),
]
"""Types, and values that the second holds exactly; the last of them are narrower."""
MISFITS: list[tuple[pa.DataType, pa.DataType, Any]] = [
    (pa.int64(), pa.int8(), 128),
    (pa.uint64(), pa.int64(), 2**63),
    (pa.int8(), pa.uint8(), -1),
    (pa.decimal128(10, 2), pa.decimal128(10, 1), Decimal("1.25")),
    (pa.decimal128(10, 2), pa.decimal128(4, 2), Decimal("100.00")),
    (pa.decimal128(10, 2), pa.int64(), Decimal("0.50")),
    (pa.int64(), pa.float64(), 2**53 + 1),
    (pa.int32(), pa.float32(), 2**24 + 1),
    (pa.float64(), pa.float32(), 0.1),
    (pa.float64(), pa.float32(), 1e300),
    (pa.timestamp("us"), pa.date32(), _TIME),
]
UNREACHABLE = [
    *((pa.string(), pa.int32()), (pa.float64(), pa.int64()), (pa.float64(), pa.decimal128(9, 2))),
    *((pa.decimal128(9, 2), pa.float64()), (pa.binary(), pa.string()), (pa.string(), pa.binary())),
    *((pa.timestamp("us"), pa.timestamp("us", tz="UTC")), (pa.int32(), pa.date32())),
    *((pa.bool_(), pa.int8()), (pa.timestamp("us"), pa.string()), (pa.int64(), pa.duration("us"))),
]


_EXACT = (
    *(pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint32(), pa.uint64()),
    *(pa.decimal128(3, 3), pa.decimal128(5, 2), pa.decimal128(20, 0), pa.decimal128(38, 10)),
)
_TYPES = (*_EXACT, pa.float32(), pa.float64(), pa.date32(), pa.timestamp("us"), pa.string())
_PAIRS = [(a, b) for a in _TYPES for b in _TYPES if a != b and convertible(a, b)]


class SinkRetype(SinkCase):
    """Values stay exact in another type, or the change is refused."""

    @pytest.mark.parametrize(
        ("old", "new", "values", "wanted"), WIDENED, ids=[f"{w[0]}-{w[1]}" for w in WIDENED]
    )
    def test_values_stay_exact_in_another_type(
        self, sink: Sink, old: pa.DataType, new: pa.DataType, values: list[Any], wanted: list[Any]
    ) -> None:
        if not self.can(sink, "retype"):
            return
        if not self.nul:
            values, wanted = [v for v in values if v != "a\0b"], [w for w in wanted if w != "a\0b"]
        values, wanted = (
            [v for v in values if self.fits(old, v)],
            [w for w in wanted if self.fits(new, w)],
        )
        fill(sink, target_of(Column("v", old)), [*values, None])
        sink.alter_table(ID, [RetypeColumn(Column("v", new))])
        assert sink.read_schema(ID) == target_schema(target_of(Column("v", new)))
        found = sink.read_table(ID).sort_by("id")["v"]
        assert comparable(pa.table({"v": found})) == comparable(
            pa.table({"v": pa.array([*wanted, None], new)})
        )

    @pytest.mark.parametrize(
        ("old", "new", "value"), MISFITS, ids=[f"{m[0]}-{m[1]}-{m[2]}" for m in MISFITS]
    )
    def test_values_that_do_not_fit_change_nothing(
        self, sink: Sink, old: pa.DataType, new: pa.DataType, value: object
    ) -> None:
        if not self.can(sink, "retype", "add"):
            return
        fill(sink, target_of(Column("v", old)), [None, value])
        before = sink.read_schema(ID), comparable(sink.read_table(ID))
        more = AddColumn(Column("more", pa.int8()))
        for change in (RetypeColumn(Column("v", new)), AddColumn(Column("w", new), copy_of="v")):
            with pytest.raises(SchemaMismatch, match="1 value") as caught:
                sink.alter_table(ID, [more, change])
            assert str(value) not in caught.value.message.replace(str(old), "")
        assert (sink.read_schema(ID), comparable(sink.read_table(ID))) == before

    @pytest.mark.parametrize(("old", "new"), UNREACHABLE, ids=str)
    def test_types_that_cannot_be_reached_in_place(
        self, sink: Sink, old: pa.DataType, new: pa.DataType
    ) -> None:
        if not self.can(sink, "retype"):
            return
        fill(sink, target_of(Column("v", old)), [None])
        for call in (sink.alter_table, sink.render_changes):
            with pytest.raises(ConfigError, match=r"cannot be changed in place"):
                call(ID, [RetypeColumn(Column("v", new))])
        assert sink.read_schema(ID) == target_schema(target_of(Column("v", old)))

    @settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(data=st.data())
    def test_any_change_of_type_is_exact_or_refused(
        self, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
    ) -> None:
        """Every pair of types, with values that any of them may hold or not."""
        with self.open(str(tmp_path_factory.mktemp("retype") / "shop")) as sink:
            if not self.can(sink, "retype"):
                return
            for number in range(12):
                old, new = data.draw(st.sampled_from(_PAIRS))
                values = data.draw(st.lists(st.none() | self.values(old), min_size=1, max_size=3))
                target = replace(target_of(Column("v", old)), id=TargetId("shop", f"t{number}"))
                fill(sink, target, values)
                before = comparable(sink.read_table(target.id))
                column = pa.chunked_array([pa.array(values, old)])
                try:
                    wanted = converted(target.id, "v", column, new)
                except SchemaMismatch:
                    with pytest.raises(SchemaMismatch):
                        sink.alter_table(target.id, [RetypeColumn(Column("v", new))])
                    assert not widens(old, new)
                    assert comparable(sink.read_table(target.id)) == before
                    continue
                sink.alter_table(target.id, [RetypeColumn(Column("v", new))])
                found = sink.read_table(target.id).sort_by("id").select(["v"])
                assert found.schema.types == [new]
                assert comparable(found) == comparable(pa.table({"v": wanted}))
