"""Values and names: part of the suite of sinks."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdc_assets.engine.reduce import reduce_changes
from resources.model.change import RowKind
from resources.model.table import Column, TableId, TableSchema
from resources.sinks.contract import Sink, TargetId, TargetTable
from tests.contracts.sink_case import SinkCase
from tests.contracts.sink_steps import (
    HISTORY,
    SCHEMA,
    fence,
    load,
)
from tests.strategies import (
    Changes,
    change_sequences,
    comparable,
    state_table,
    table_schemas,
)

INS, DEL = RowKind.INSERT, RowKind.DELETE
UB, UA = RowKind.UPDATE_BEFORE, RowKind.UPDATE_AFTER

_EXAMPLES = settings(
    max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), database=None
)


class SinkValues(SinkCase):
    """Every value and name comes back as it went in."""

    @_EXAMPLES
    @given(data=st.data())
    def test_every_type_round_trips(
        self, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
    ) -> None:
        columns = tuple(Column(f"c{i}", t) for i, t in enumerate(self.column_types))
        schema = TableSchema(TableId("shop", "t"), (Column("id", pa.int32()), *columns), ("id",))
        target = TargetTable(TargetId("shop", "t"), schema)
        row = st.tuples(*(st.none() | self.values(c.type) for c in columns))
        drawn = data.draw(st.lists(row, min_size=1, max_size=6))
        arrays = [
            pa.array(list(v), c.type)
            for v, c in zip(zip(*drawn, strict=True), columns, strict=True)
        ]
        rows = pa.table([pa.array(range(len(drawn)), pa.int32()), *arrays], names=schema.names)
        half = rows.slice(0, len(drawn) // 2)
        with self.open(str(tmp_path_factory.mktemp("types") / "shop")) as sink:
            assert sink.check_table(target) == []
            load(sink, target, "a", [half], fence(None, 1))
            sink.merge(
                target, rows.slice(half.num_rows), rows.select(["id"]).slice(0, 0), fence(1, 2)
            )
            read = sink.read_table(target.id)
        assert read.schema.types == rows.schema.types
        assert comparable(read) == comparable(rows)

    @_EXAMPLES
    @given(data=st.data())
    def test_random_changes_equal_a_dict(
        self, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
    ) -> None:
        """Random batches, suffixes of them again, in tables of hostile names and any key."""
        changes = data.draw(
            change_sequences(
                table_schemas(self.column_types, hostile=self.names), nul=self.nul, fits=self.fits
            )
        )
        target = TargetTable(TargetId("select", "order by"), changes.schema)
        size = len(changes.rows)
        cuts = sorted(data.draw(st.lists(st.integers(0, size), max_size=3)))
        state: dict[tuple[Any, ...], dict[str, Any]] = {}
        changes.apply(state)
        with self.open(str(tmp_path_factory.mktemp("dml") / "shop")) as sink:
            sink.create_table(target)
            mark = None
            for start, stop in zip([0, *cuts], [*cuts, size], strict=True):
                again = data.draw(st.integers(0, start))
                mark = self._apply(sink, target, changes.part(again, stop), mark)
            assert comparable(sink.read_table(target.id)) == comparable(
                state_table(changes.schema, state)
            )

    def _apply(
        self, sink: Sink, target: TargetTable, changes: Changes, mark: int | None
    ) -> int | None:
        reduced = reduce_changes([changes.batch()], target.schema.key)
        new = max(reduced.last_seq, mark or 0)
        sink.merge(target, reduced.upserts, reduced.deletes, fence(mark, new))
        return new

    def test_string_keys_that_differ_in_case_only(self, sink: Sink) -> None:
        columns = (Column("code", pa.string()), Column("n", pa.int32()))
        target = TargetTable(
            TargetId("shop", "t"), TableSchema(TableId("s", "t"), columns, ("code",))
        )
        sink.create_table(target)
        schema = pa.schema([("code", pa.string()), ("n", pa.int32())])
        codes = ["a", "A", "a ", "á", "", "a\0" if self.nul else "a\1", "1", "01"]
        rows = pa.table([codes, list(range(len(codes)))], schema=schema)
        sink.merge(target, rows, rows.select(["code"]).slice(0, 0), fence(None, 1))
        gone = pa.table({"code": ["A", "a ", "01"]})
        sink.merge(target, rows.slice(0, 0), gone, fence(1, 2))
        left = sink.read_table(target.id).sort_by("n")["code"].to_pylist()
        assert left == [codes[0], *codes[3:7]]

    @pytest.mark.parametrize(
        ("target", "code"),
        [
            (TargetTable(TargetId("", "t"), SCHEMA), "name_invalid"),
            (TargetTable(TargetId("s", "a\0b"), SCHEMA), "name_invalid"),
            (TargetTable(TargetId("_cdc", "t"), SCHEMA), "name_reserved"),
            (TargetTable(TargetId("s", "_cdc_load_1"), SCHEMA), "name_reserved"),
            (TargetTable(TargetId("s", "t"), SCHEMA.with_key(())), "no_key"),
            (TargetTable(TargetId("s", "t"), SCHEMA.with_key(("gone",))), "no_key"),
            (
                TargetTable(
                    TargetId("s", "t"),
                    TableSchema(
                        SCHEMA.table, (*SCHEMA.columns, Column("_cdc_op", pa.int8())), ("id",)
                    ),
                ),
                "name_collision",
            ),
        ],
    )
    def test_found_before_start(self, sink: Sink, target: TargetTable, code: str) -> None:
        findings = sink.check_table(target)
        assert [f.code for f in findings] == [code]
        assert findings[0].level == "error"
        assert findings[0].remedy

    def test_keyless_append_is_fine(self, sink: Sink) -> None:
        assert sink.check_table(TargetTable(HISTORY.id, SCHEMA.with_key(()), "append")) == []
