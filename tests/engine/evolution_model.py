"""A source table and a target that follows it through random schema changes, in plain Python."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from cdc_assets.engine.casts import cast
from cdc_assets.engine.conform import conform
from cdc_assets.engine.evolution import EvolutionPlan, Situation, changed_columns
from cdc_assets.engine.evolve import plan_evolution
from resources.model.column_change import FILL, AddColumn, ColumnChange, DropColumn, RenameColumn
from resources.model.table import Column, TableId, TableSchema
from resources.model.widening import holds
from resources.sinks.contract import Capabilities
from tests.strategies import arrow_values

TABLE = TableId("shop", "t")
ABLE = Capabilities(
    schema_changes=frozenset({"add", "drop", "rename", "retype", FILL}), decimal_precision=76
)
TYPES = [
    *(pa.int8(), pa.int32(), pa.int64(), pa.uint32(), pa.decimal128(5, 2), pa.float64()),
    *(pa.string(), pa.large_string(), pa.date32(), pa.timestamp("us")),
]
NAMES = "abcd"
Row = dict[str, Any]


@cache
def values_of(arrow: pa.DataType) -> st.SearchStrategy[Any]:
    return st.none() | arrow_values(arrow).filter(lambda value: value == value)


@dataclass(frozen=True)
class Ddl:
    """One statement: the shape after it, the origin of each column, what became of values."""

    after: TableSchema
    origins: dict[str, str]
    rewrites: bool = False
    fills: dict[str, pa.Scalar] = field(default_factory=dict)


@dataclass
class SourceTable:
    """A table of a server.

    Attributes:
        schema: Its shape now.
        rows: Its rows by key.
    """

    schema: TableSchema
    rows: dict[int, Row] = field(default_factory=dict)

    def alter(
        self, draw: st.DrawFn, column: str, kind: str, types: Sequence[pa.DataType] = TYPES
    ) -> Ddl | None:
        """Run a random statement; None where it makes no sense."""
        columns = {c.name: c for c in self.schema.columns}
        origins = {name: name for name in columns}
        other = draw(st.sampled_from(NAMES))
        made = Column(column, draw(st.sampled_from(types)))
        if kind == "add" and column not in columns:
            return self._become({**columns, column: made}, {**origins, column: ""})
        if kind == "add filled" and column not in columns:
            value = draw(values_of(made.type).filter(lambda v: v is not None))
            self._become({**columns, column: made}, {**origins, column: ""})
            for row in self.rows.values():
                row[column] = value
            fills = {column: pa.scalar(value, made.type)}
            return Ddl(self.schema, {**origins, column: ""}, fills=fills)
        if column not in columns:
            return None
        if kind == "drop":
            columns.pop(column)
            return self._become(columns, origins)
        if kind == "drop+add":
            return self._become({**columns, column: made}, {**origins, column: ""})
        if kind == "retype":
            return self._retype(draw, replace(columns[column], type=made.type))
        if kind == "rename" and other not in columns:
            return self._rename({column: other})
        if kind == "swap" and other in columns and other != column:
            return self._rename({column: other, other: column})
        if kind == "drop+rename" and other in columns and other != column:
            columns.pop(other)
            return self._rename({column: other})
        free = [name for name in NAMES if name not in columns]
        if kind == "chain" and other in columns and other != column and free:
            return self._rename({column: other, other: free[0]})
        return None

    def write(self, draw: st.DrawFn) -> int:
        """Insert, replace or delete a row; returns its key."""
        key = draw(st.integers(1, 4))
        if draw(st.integers(0, 4)) == 0:
            self.rows.pop(key, None)
        else:
            self.rows[key] = {c.name: draw(values_of(c.type)) for c in self.schema.columns[1:]}
        return key

    def table(self, keys: Sequence[int]) -> pa.Table:
        """Rows by key, those that are there."""
        rows = [{"id": key, **self.rows[key]} for key in keys if key in self.rows]
        arrays = [pa.array([row[c.name] for row in rows], c.type) for c in self.schema.columns]
        return pa.table(arrays, names=list(self.schema.names))

    def _rename(self, names: dict[str, str]) -> Ddl:
        columns = {}
        for old, column in zip(self.schema.names, self.schema.columns, strict=True):
            new = names.get(old, old)
            if new not in columns or old in names:
                columns[new] = replace(column, name=new)
        back = {new: old for old, new in names.items()}
        return self._become(columns, {name: back.get(name, name) for name in columns})

    def _retype(self, draw: st.DrawFn, column: Column) -> Ddl | None:
        old = self.schema.column(column.name)
        if old.type == column.type:
            return None
        columns = {c.name: column if c.name == column.name else c for c in self.schema.columns}
        origins = {name: name for name in columns}
        if not holds(column, old):
            for row in self.rows.values():
                row[column.name] = draw(values_of(column.type))
            return self._become(columns, origins, rewrites=True)
        for row in self.rows.values():
            row[column.name] = cast(pa.array([row[column.name]], old.type), column.type)[0][
                0
            ].as_py()
        return self._become(columns, origins)

    def _become(
        self, columns: dict[str, Column], origins: dict[str, str], rewrites: bool = False
    ) -> Ddl:
        self.schema = TableSchema(TABLE, tuple(columns.values()), ("id",))
        self.rows = {
            key: {name: row.get(origins[name]) for name in columns if name != "id"}
            for key, row in self.rows.items()
        }
        return Ddl(self.schema, origins, rewrites)


@dataclass
class TargetTable:
    """A target with its rows, and what is saved about its feed.

    Attributes:
        situation: What the next plan begins with; `after` and `before` are the feed's shape.
        rows: Its rows by key.
        dirty: Keys of rows that were set aside.
    """

    situation: Situation
    rows: dict[int, Row] = field(default_factory=dict)
    dirty: set[int] = field(default_factory=set)

    def plan(self, ddl: Ddl, *, told: bool = True) -> Situation:
        """Return the situation of a statement."""
        s = self.situation
        origins = ddl.origins if told else None
        return replace(
            s, before=s.after, after=ddl.after, origins=origins, rewrites=ddl.rewrites,
            fills=ddl.fills if told else {},
        )  # fmt: skip

    def follow(self, situation: Situation, plan: EvolutionPlan, source: SourceTable) -> None:
        """Carry a plan out and save what it came to."""
        for change in plan.changes:
            self.change(change)
        if plan.reread and not (plan.keep or situation.shared):
            self.situation = replace(self.situation, live=plan.columns)
        self.situation = replace(
            self.situation, after=situation.after, before=None, origins=None, rewrites=False,
            fills={}, kept=plan.kept, ignored=plan.ignored, failed=plan.failed,
        )  # fmt: skip
        if plan.reread:
            old, self.rows, self.dirty = self.rows, {}, set()
            self.merge(source, list(source.rows))
            for key, row in self.rows.items():
                row.update({name: old.get(key, {}).get(name) for name in plan.keep})

    def change(self, change: ColumnChange) -> None:
        """Change a column as a sink does."""
        fold = self.situation.fold
        before = {c.name: c.type for c in self.situation.live}
        live = changed_columns(self.situation.live, [change], fold)
        self.situation = replace(self.situation, live=live)
        for row in self.rows.values():
            if isinstance(change, AddColumn) and change.fill is not None:
                row[change.column.name] = change.fill.value.as_py()
            elif isinstance(change, AddColumn):
                row[change.column.name] = row[change.copy_of] if change.copy_of else None
            elif isinstance(change, DropColumn):
                row.pop(change.name)
            elif isinstance(change, RenameColumn):
                row[change.new] = row.pop(change.old)
            else:
                name, arrow = change.column.name, change.column.type
                made, unfit = cast(pa.array([row[name]], before[name]), arrow)
                assert unfit is None, "a sink is only asked for types that hold every value"
                row[name] = made[0].as_py()

    def merge(self, source: SourceTable, keys: Sequence[int]) -> None:
        """Bring rows over: deleted ones go, those that do not fit are set aside."""
        here = [key for key in keys if key in source.rows]
        made = conform(source.table(here), self.situation.live, self.situation.ignored)
        for key in keys:
            if key not in here:
                self.rows.pop(key, None)
        bad = {here[row] for row, _, _ in made.bad}
        self.dirty = (self.dirty - set(keys)) | bad
        for row in made.rows.to_pylist():
            self.rows[row.pop("id")] = row

    def check(self, source: SourceTable) -> None:
        """Every value the source has is in the target, but for rows set aside by name."""
        names = {c.name for c in self.situation.live} & set(source.schema.names) - {"id"}
        table = conform(source.table(list(source.rows)), self.situation.live, NAMES).rows
        expected = {row.pop("id"): row for row in table.to_pylist()}
        for key in source.rows.keys() - self.dirty:
            assert {n: self.rows[key][n] for n in names} == {n: expected[key][n] for n in names}
        assert self.rows.keys() - self.dirty == source.rows.keys() - self.dirty


def plan_twice(target: TargetTable, situation: Situation, cut: int) -> EvolutionPlan:
    """Plan, and plan again from where a run killed after `cut` changes would begin."""
    plan = plan_evolution(situation)
    live = changed_columns(situation.live, plan.changes[:cut], situation.fold)
    again = plan_evolution(replace(situation, live=live))
    assert again.columns == plan.columns
    assert (bool(again.reread), again.keep) == (bool(plan.reread), plan.keep)
    assert again.kept == plan.kept
    assert (again.ignored, again.failed, again.waits) == (plan.ignored, plan.failed, plan.waits)
    done = replace(situation, live=changed_columns(live, again.changes, situation.fold))
    left = plan_evolution(done).changes
    assert all(isinstance(c, AddColumn) and c.fill for c in left), "what may come twice"
    for change in plan.changes[:cut]:
        target.change(change)
    return again
