"""Changes of a live table's columns: part of the suite of sinks."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resources.errors import ConfigError, DirtyRowError, SchemaMismatch
from resources.model.column_change import (
    AddColumn,
    ColumnChange,
    DropColumn,
    RenameColumn,
    RetypeColumn,
)
from resources.model.table import Column, TableId, TableSchema
from resources.sinks.contract import Sink, TargetId, TargetTable
from resources.sinks.shape import target_schema
from tests.contracts.sink_case import SinkCase
from tests.contracts.sink_steps import (
    COLUMN_CHANGES,
    HISTORY,
    KINDS,
    STEPS,
    TARGET,
    changes_of,
    fence,
    keys_of,
    rows_of,
)
from tests.strategies import arrow_values, comparable

ID = TargetId("shop", "altered")
_EXAMPLES = settings(
    max_examples=6, deadline=None, suppress_health_check=list(HealthCheck), database=None
)
CHANGES: dict[str, ColumnChange] = {
    "add": AddColumn(Column("more", pa.int32())),
    "drop": DropColumn("name"),
    "rename": RenameColumn("name", "title"),
    "retype": RetypeColumn(Column("id", pa.decimal128(20, 0))),
}


def target_of(*columns: Column) -> TargetTable:
    """A table keyed by `id`."""
    id_ = Column("id", pa.int32(), nullable=False)
    return TargetTable(ID, TableSchema(TableId("s", "t"), (id_, *columns), ("id",)))


def fill(sink: Sink, target: TargetTable, *columns: list[Any]) -> None:
    """Create the table with these values, ids from 0 on."""
    ids = list(range(len(columns[0])))
    rows = pa.table([ids, *columns], schema=target_schema(target))
    sink.create_table(target)
    sink.merge(target, rows, rows.select(["id"]).slice(0, 0), fence(None, 1))


class SinkAlter(SinkCase):
    """Columns change in place, whole or not at all, and no value changes."""

    @pytest.mark.parametrize("kind", sorted(KINDS))
    def test_each_kind_of_change_or_a_clear_refusal(self, sink: Sink, kind: str) -> None:
        STEPS["alter"].prepare(sink)
        before = sink.read_schema(TARGET.id), comparable(sink.read_table(TARGET.id))
        if kind not in sink.capabilities.schema_changes:
            for call in (sink.alter_table, sink.render_changes):
                with pytest.raises(ConfigError, match=f"cannot {kind} columns"):
                    call(TARGET.id, [CHANGES[kind]])
            assert (sink.read_schema(TARGET.id), comparable(sink.read_table(TARGET.id))) == before
            return
        rows = rows_of({1: "one", 2: "two", 3: None})
        wanted = {
            "add": rows.append_column("more", pa.nulls(3, pa.int32())),
            "drop": rows.select(["id"]),
            "rename": rows.rename_columns(["id", "title"]),
            "retype": rows.set_column(0, "id", rows["id"].cast(pa.decimal128(20, 0))),
        }[kind]
        sink.alter_table(TARGET.id, [CHANGES[kind]])
        assert sink.read_schema(TARGET.id) == wanted.schema
        assert comparable(sink.read_table(TARGET.id)) == comparable(wanted)
        sink.alter_table(TARGET.id, [CHANGES[kind]])
        assert comparable(sink.read_table(TARGET.id)) == comparable(wanted)

    def test_a_new_column_copies_another(self, sink: Sink) -> None:
        if not self.can(sink, "add"):
            return
        fill(
            sink,
            target_of(Column("n", pa.int32()), Column("s", pa.string())),
            [7, None],
            ["", None],
        )
        copies: list[ColumnChange] = [
            AddColumn(Column("s2", pa.string()), copy_of="s"),
            AddColumn(Column("n2", pa.decimal128(12, 1)), copy_of="n"),
        ]
        sink.alter_table(ID, copies)
        rows = sink.read_table(ID).sort_by("id").to_pylist()
        assert [(r["s2"], r["n2"]) for r in rows] == [("", Decimal("7.0")), (None, None)]

    def test_merges_go_on_in_the_new_shape(self, sink: Sink) -> None:
        if not self.can(sink, *KINDS):
            return
        STEPS["alter"].prepare(sink)
        STEPS["alter"].work(sink)
        columns = (
            Column("id", pa.decimal128(20, 0), nullable=False),
            *(Column("name", pa.string()), Column("rank", pa.uint64())),
        )
        target = TargetTable(TARGET.id, TableSchema(TARGET.schema.table, columns, ("id",)))
        assert sink.check_table(target) == []
        top = 2**64 - 1
        rows = pa.table(
            [[Decimal(1), Decimal(top)], ["x", "y"], [top, None]], schema=target_schema(target)
        )
        sink.merge(target, rows, pa.table({"id": rows["id"]}).slice(0, 0), fence(10, 20))
        sink.merge(
            target, rows.slice(0, 0), pa.table({"id": rows["id"].slice(0, 1)}), fence(20, 21)
        )
        left = pa.table(
            [[Decimal(2), Decimal(3), Decimal(top)], ["two", None, "y"], [None, None, None]],
            schema=target_schema(target),
        )
        assert comparable(sink.read_table(target.id)) == comparable(left)
        nulls = rows.set_column(0, "id", pa.array([None, Decimal(5)], pa.decimal128(20, 0)))
        with pytest.raises(DirtyRowError):
            sink.merge(target, nulls, pa.table({"id": rows["id"].slice(0, 0)}), fence(21, 22))

    def test_append_tables_take_new_columns(self, sink: Sink) -> None:
        if not self.can(sink, "add", "rename"):
            return
        STEPS["append"].prepare(sink)
        sink.alter_table(
            HISTORY.id, [AddColumn(Column("n", pa.int32())), RenameColumn("name", "title")]
        )
        columns = (Column("id", pa.int64()), Column("title", pa.string()), Column("n", pa.int32()))
        schema = TableSchema(TARGET.schema.table, columns, ("id",))
        target = TargetTable(HISTORY.id, schema, mode="append")
        assert sink.check_table(target) == []
        old = changes_of(11, ["c"]).rename_columns(
            ["id", "title", *changes_of(1, []).schema.names[2:]]
        )
        rows = old.add_column(2, "n", pa.array([5], pa.int32()))
        sink.append(target, rows, fence(10, 20))
        found = sink.read_table(HISTORY.id).select(rows.column_names)
        assert found.num_rows == 3
        assert comparable(rows)[0] in comparable(found)

    def test_columns_in_another_order_fit(self, sink: Sink) -> None:
        STEPS["merge"].prepare(sink)
        turned = TableSchema(TARGET.schema.table, TARGET.schema.columns[::-1], ("id",))
        target = TargetTable(TARGET.id, turned)
        assert sink.check_table(target) == []
        rows = rows_of({2: "TWO", 4: "four"}).select(["name", "id"])
        sink.merge(target, rows, keys_of(1), fence(10, 20))
        left = rows_of({2: "TWO", 3: None, 4: "four"})
        assert comparable(sink.read_table(TARGET.id).select(["id", "name"])) == comparable(left)

    def test_new_columns_have_the_types_asked_for(self, sink: Sink) -> None:
        if not self.can(sink, "add"):
            return
        types = (*self.column_types, pa.uint64())
        columns = [Column(f"c{i}", t) for i, t in enumerate(types)]
        sink.create_table(target_of())
        sink.alter_table(ID, [AddColumn(c) for c in columns])
        target = target_of(*columns)
        assert sink.read_schema(ID) == target_schema(target)
        assert sink.check_table(target) == []

    @pytest.mark.parametrize(
        "changes",
        [
            [RenameColumn("gone", "x")],
            [RetypeColumn(Column("gone", pa.int64()))],
            [AddColumn(Column("x", pa.string()), copy_of="gone")],
            [RenameColumn("name", "id")],
            [AddColumn(Column("name", pa.int32()))],
            [DropColumn("name"), RetypeColumn(Column("name", pa.large_string()))],
        ],
        ids=str,
    )
    def test_columns_that_are_not_there_or_taken(
        self, sink: Sink, changes: list[ColumnChange]
    ) -> None:
        if not self.can(sink, *(c.kind for c in changes)):
            return
        STEPS["alter"].prepare(sink)
        before = comparable(sink.read_table(TARGET.id))
        with pytest.raises(SchemaMismatch, match="its columns are"):
            sink.alter_table(TARGET.id, changes)
        assert sink.read_schema(TARGET.id) == rows_of({}).schema
        assert comparable(sink.read_table(TARGET.id)) == before

    def test_what_no_table_can_have(self, sink: Sink) -> None:
        if not self.can(sink, *KINDS):
            return
        STEPS["alter"].prepare(sink)
        for name in ("", "a\0b", "_cdc_op"):
            with pytest.raises(ConfigError, match="name of a column"):
                sink.alter_table(TARGET.id, [AddColumn(Column(name, pa.int8()))])
            with pytest.raises(ConfigError, match="name of a column"):
                sink.alter_table(TARGET.id, [RenameColumn("name", name)])
        with pytest.raises(ConfigError, match="last column"):
            sink.alter_table(TARGET.id, [DropColumn("name"), DropColumn("id")])
        assert sink.read_schema(TARGET.id) == rows_of({}).schema

    def test_changes_of_a_table_that_is_not_there(self, sink: Sink) -> None:
        for call in (sink.alter_table, sink.render_changes):
            with pytest.raises(SchemaMismatch, match="does not exist"):
                call(TARGET.id, [])

    @pytest.mark.parametrize(
        "changes",
        [
            COLUMN_CHANGES,
            [DropColumn("b"), RenameColumn("a", "b")],
            [RenameColumn("b", "c"), RenameColumn("a", "b")],
            [RenameColumn("a", "c"), RenameColumn("b", "a"), AddColumn(Column("b", pa.int64()))],
            [AddColumn(Column("c", pa.int8())), RetypeColumn(Column("c", pa.int64()))],
            [DropColumn("a"), AddColumn(Column("a", pa.int64()))],
            [DropColumn("a"), AddColumn(Column("a", pa.string()))],
            [AddColumn(Column("c", pa.int8())), RenameColumn("c", "d"), DropColumn("d")],
            [RenameColumn("a", "A")],
        ],
        ids=str,
    )
    def test_a_list_made_already_is_passed_over(
        self, sink: Sink, changes: Sequence[ColumnChange]
    ) -> None:
        if not self.can(sink, *KINDS):
            return
        named = changes is COLUMN_CHANGES
        columns = [Column(n, pa.string()) for n in (("name",) if named else ("a", "b"))]
        values = [[f"{c.name}{i}" for i in range(3)] for c in columns]
        fill(sink, target_of(*columns), *values)
        sink.alter_table(ID, changes)
        after = sink.read_schema(ID), comparable(sink.read_table(ID))
        sink.alter_table(ID, changes)
        assert (sink.read_schema(ID), comparable(sink.read_table(ID))) == after

    def test_names_that_change_in_a_circle_go_one_by_one(self, sink: Sink) -> None:
        if not self.can(sink, "rename"):
            return
        fill(sink, target_of(Column("a", pa.int8()), Column("b", pa.int8())), [1], [2])
        circle: list[ColumnChange] = [
            RenameColumn("a", "c"),
            RenameColumn("b", "a"),
            RenameColumn("c", "b"),
        ]
        shift: list[ColumnChange] = [
            DropColumn("a"),
            RenameColumn("b", "a"),
            AddColumn(Column("b", pa.int8())),
        ]
        for changes in (circle, shift) if self.can(sink, "add", "drop") else (circle,):
            with pytest.raises(ConfigError, match="crash"):
                sink.alter_table(ID, changes)
        for change in circle:
            sink.alter_table(ID, [change])
            sink.alter_table(ID, [change])
        (row,) = sink.read_table(ID).to_pylist()
        assert (row["a"], row["b"]) == (2, 1)

    def test_statements_are_shown_before_they_are_run(self, sink: Sink) -> None:
        if not self.can(sink, *KINDS):
            return
        STEPS["alter"].prepare(sink)
        before = comparable(sink.read_table(TARGET.id))
        shown = sink.render_changes(TARGET.id, COLUMN_CHANGES)
        named: tuple[str, ...] = ("name_before", "rank", "id")
        if sink.capabilities.joined_changes:
            named = ("rank", "id")  # what is made and renamed in one list has its last name at once
        else:
            assert len(shown) >= len(COLUMN_CHANGES)
        assert all("orders" in s for s in shown)
        assert all(any(n in s for s in shown) for n in named)
        assert sink.read_schema(TARGET.id) == rows_of({}).schema
        assert comparable(sink.read_table(TARGET.id)) == before
        STEPS["alter"].work(sink)
        assert sink.render_changes(TARGET.id, COLUMN_CHANGES) == []

    def test_statements_of_a_person_are_run_whole_or_not_at_all(self, sink: Sink) -> None:
        """A sink without statements refuses them all; the others take those they show."""
        STEPS["alter"].prepare(sink)
        before = sink.read_schema(TARGET.id), comparable(sink.read_table(TARGET.id))
        kind = next(iter(sorted(sink.capabilities.schema_changes)), "")
        shown = sink.render_changes(TARGET.id, [CHANGES[kind]]) if kind else []
        with pytest.raises(ConfigError):
            sink.execute([*shown, "no statement of any engine"])
        assert (sink.read_schema(TARGET.id), comparable(sink.read_table(TARGET.id))) == before
        sink.execute([])
        try:
            sink.execute(shown)
        except ConfigError:
            assert (sink.read_schema(TARGET.id), comparable(sink.read_table(TARGET.id))) == before
        else:
            assert sink.render_changes(TARGET.id, [CHANGES[kind]]) == []

    def test_hostile_names(self, sink: Sink) -> None:
        if not self.can(sink, *KINDS):
            return
        sink.create_table(target_of())
        names = [n for n in self.names if len(n) < 60]
        if sink.capabilities.folds_case:
            names = list({n.lower(): n for n in names}.values())
        sink.alter_table(ID, [AddColumn(Column(n, pa.int8())) for n in names])
        for turn in (RenameColumn(n, f"{n}_") for n in names):
            sink.alter_table(ID, [turn])
        sink.alter_table(ID, [RetypeColumn(Column(f"{n}_", pa.int64())) for n in names])
        schema = sink.read_schema(ID)
        assert schema is not None
        assert [(f.name, f.type) for f in schema][1:] == [(f"{n}_", pa.int64()) for n in names]
        sink.alter_table(ID, [DropColumn(f"{n}_") for n in names])
        assert sink.read_schema(ID) == target_schema(target_of())

    @_EXAMPLES
    @given(data=st.data())
    def test_random_changes_equal_a_model(
        self, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
    ) -> None:
        """Lists of changes, each made twice, against columns kept as Python lists."""
        values = {"a": data.draw(st.lists(st.none() | arrow_values(pa.int8()), min_size=2))}
        types: dict[str, pa.DataType] = {"a": pa.int8()}
        numbers = itertools.count()
        with self.open(str(tmp_path_factory.mktemp("alter") / "shop")) as sink:
            if not self.can(sink, *KINDS):
                return
            fill(sink, target_of(Column("a", pa.int8())), values["a"])
            for _ in range(data.draw(st.integers(1, 3))):
                changes = [_random_change(data, types, values, numbers) for _ in range(3)]
                for _ in range(2):
                    sink.alter_table(ID, changes)
                    schema = sink.read_schema(ID)
                    assert schema is not None
                    assert {f.name: f.type for f in schema} == {"id": pa.int32(), **types}
                    found = sink.read_table(ID).sort_by("id").select(list(types))
                    wanted = [pa.array(values[n], t) for n, t in types.items()]
                    assert comparable(found) == comparable(pa.table(wanted, names=list(types)))


def _random_change(
    data: st.DataObject,
    types: dict[str, pa.DataType],
    values: dict[str, list[Any]],
    numbers: Iterator[int],
) -> ColumnChange:
    """Draw a change that can be made, and make it in the model.

    New names are always fresh, so that no list of changes ends where it began.
    """
    fresh = f"c{next(numbers)}"
    name = data.draw(st.sampled_from(sorted(types)))
    act = data.draw(st.sampled_from(["add", "copy", "drop", "rename", "retype"]))
    if act == "drop" and len(types) == 1:
        act = "retype"
    if act == "add":
        types[fresh], values[fresh] = pa.int8(), [None] * len(values[name])
        return AddColumn(Column(fresh, pa.int8()))
    if act == "copy":
        types[fresh], values[fresh] = pa.int32(), values[name]
        if types[name] != pa.int8():
            types[fresh] = types[name]
        return AddColumn(Column(fresh, types[fresh]), copy_of=name)
    if act == "drop":
        del types[name], values[name]
        return DropColumn(name)
    if act == "rename":
        types[fresh], values[fresh] = types.pop(name), values.pop(name)
        return RenameColumn(name, fresh)
    wider = {pa.int8(): pa.int32(), pa.int32(): pa.int64(), pa.int64(): pa.decimal128(19, 0)}
    types[name] = wider.get(types[name], types[name])
    return RetypeColumn(Column(name, types[name]))
