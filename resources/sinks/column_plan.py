"""What is left to do of a list of column changes, whatever the engine.

In: the columns a table has and the changes asked for. Out: the changes still to make, each with
the columns before it, and the columns after all of them.

A run may have been killed after any prefix of the list (after all or nothing where the sink has
transactions), so the columns there are compared with what each prefix would have left.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa

from resources.errors import ConfigError, SchemaMismatch
from resources.model.change import CHANGE_FIELDS
from resources.model.column_change import (
    FILL,
    AddColumn,
    ColumnChange,
    DropColumn,
    RenameColumn,
    RetypeColumn,
)
from resources.model.table import Column
from resources.sinks.contract import TargetId
from resources.sinks.retype import require_convertible
from resources.sinks.shape import show_schema


@dataclass(frozen=True)
class PlannedChange:
    """A change to make, and the table's columns before it."""

    change: ColumnChange
    before: pa.Schema


@dataclass(frozen=True)
class ColumnPlan:
    """The changes to make, in order, and the table's columns after them."""

    changes: tuple[PlannedChange, ...]
    after: pa.Schema


@dataclass(frozen=True)
class ColumnRules:
    """What a dialect says about columns.

    Args:
        kinds: `Capabilities.schema_changes`.
        fold: How it folds names before it compares them.
        same: Whether it holds two Arrow types alike.
    """

    kinds: frozenset[str]
    fold: Callable[[str], str]
    same: Callable[[pa.DataType, pa.DataType], bool]


def plan_changes(
    target: TargetId, live: pa.Schema, changes: Sequence[ColumnChange], rules: ColumnRules
) -> ColumnPlan:
    """Return what is left to do.

    Raises:
        SchemaMismatch: A column to change is not there, or another has its new name.
        ConfigError: The sink makes no such changes, a name is no column name, a type cannot be
            reached in place, or the columns before and after the list look the same and making
            it twice would move values (columns that change names in a circle).
    """
    planner = _Planner(target, rules)
    planner.check(changes)
    whole = planner.try_forward(live, changes)
    if whole is not None:
        if planner.may_be_done(live, changes) and not _is_harmless_twice(live, changes):
            raise ConfigError(
                "these changes leave columns of the same names and types as before, so that after "
                "a crash it could not be told whether they were made",
                where=str(target),
                remedy="make them one by one",
            )
        return whole
    for done in range(1, len(changes) + 1):
        if planner.may_be_done(live, changes[:done]):
            rest = planner.try_forward(live, changes[done:])
            if rest is not None:
                return rest
    return planner.forward(live, changes, lenient=True)


class _Planner:
    def __init__(self, target: TargetId, rules: ColumnRules) -> None:
        self._target = target
        self._rules = rules

    def check(self, changes: Sequence[ColumnChange]) -> None:
        reserved = {self._rules.fold(f.name) for f in CHANGE_FIELDS}
        for change in changes:
            if change.kind not in self._rules.kinds:
                raise self._refused(f"this sink cannot {change.kind} columns")
            if isinstance(change, AddColumn) and change.fill and FILL not in self._rules.kinds:
                raise self._refused("this sink cannot give the rows there a value")
            name = _new_name(change)
            if not name or "\0" in name or self._rules.fold(name) in reserved:
                raise self._refused(f"{name!r} cannot be the name of a column")

    def try_forward(self, live: pa.Schema, changes: Sequence[ColumnChange]) -> ColumnPlan | None:
        try:
            return self.forward(live, changes, lenient=False)
        except (SchemaMismatch, ConfigError):
            return None

    def forward(
        self, live: pa.Schema, changes: Sequence[ColumnChange], *, lenient: bool
    ) -> ColumnPlan:
        """Apply the changes to the schema; if lenient, pass over each that is there already."""
        planned = []
        for change in changes:
            if not (lenient and self._is_there(live, change)):
                planned.append(PlannedChange(change, live))
                live = self._apply(live, change)
        return ColumnPlan(tuple(planned), live)

    def may_be_done(self, live: pa.Schema, changes: Sequence[ColumnChange]) -> bool:
        """Return whether these changes can have left the columns there are, going backwards."""
        types: dict[str, pa.DataType | None] = {f.name: f.type for f in live}
        for change in reversed(changes):
            match change:
                case AddColumn(column=column):
                    if not self._can_be(types, column.name, column.type):
                        return False
                    del types[column.name]
                case RetypeColumn(column=column):
                    if not self._can_be(types, column.name, column.type):
                        return False
                    types[column.name] = None
                case DropColumn(name=name):
                    if name in types:
                        return False
                    types[name] = None
                case RenameColumn(old=old, new=new):
                    if new not in types or old in types:
                        return False
                    types[old] = types.pop(new)
        return True

    def _can_be(self, types: dict[str, pa.DataType | None], name: str, wanted: pa.DataType) -> bool:
        """Return whether a column is there, of the type wanted or of one that is not known."""
        if name not in types:
            return False
        found = types[name]
        return found is None or self._rules.same(found, wanted)

    def _is_there(self, live: pa.Schema, change: ColumnChange) -> bool:
        match change:
            case AddColumn(column=column, fill=None):
                return self._can_be({f.name: f.type for f in live}, column.name, column.type)
            case DropColumn(name=name):
                return name not in live.names
            case RenameColumn(old=old, new=new):
                return old not in live.names and new in live.names
        return False

    def _apply(self, live: pa.Schema, change: ColumnChange) -> pa.Schema:
        """Return the columns after a change.

        Raises:
            SchemaMismatch: A column is missing, or the new name is taken.
            ConfigError: Type or last column, as `plan_changes` says.
        """
        match change:
            case AddColumn(column=column, fill=fill) if fill and column.name in live.names:
                return self._filled(live, column)
            case AddColumn(column=column, copy_of=copy_of):
                self._require_free(live, column.name)
                if copy_of:
                    self._require_retype(live, copy_of, column.type)
                return live.append(pa.field(column.name, column.type))
            case DropColumn(name=name):
                index = self._index(live, name)
                if len(live) == 1:
                    raise self._refused(f"{name!r} is the table's last column")
                return live.remove(index)
            case RenameColumn(old=old, new=new):
                index = self._index(live, old)
                self._require_free(live.remove(index), new)
                return live.set(index, pa.field(new, live.field(index).type))
            case RetypeColumn(column=column):
                index = self._index(live, column.name)
                self._require_retype(live, column.name, column.type)
                return live.set(index, pa.field(column.name, column.type))

    def _filled(self, live: pa.Schema, column: Column) -> pa.Schema:
        there = live.field(self._index(live, column.name)).type
        if not self._rules.same(there, column.type):
            raise self._mismatch(live, f"column {column.name!r} is not {column.type}")
        return live

    def _index(self, live: pa.Schema, name: str) -> int:
        if name not in live.names:
            raise self._mismatch(live, f"it has no column {name!r}")
        return int(live.get_field_index(name))

    def _require_free(self, live: pa.Schema, name: str) -> None:
        fold = self._rules.fold
        for there in live.names:
            if fold(there) == fold(name):
                raise self._mismatch(live, f"the column name {name!r} is taken by {there!r}")

    def _require_retype(self, live: pa.Schema, name: str, wanted: pa.DataType) -> None:
        old = live.field(self._index(live, name)).type
        require_convertible(self._target, name, old, wanted)

    def _mismatch(self, live: pa.Schema, message: str) -> SchemaMismatch:
        return SchemaMismatch(
            f"{message}; its columns are {show_schema(live)}",
            where=str(self._target),
            remedy="give the table back its columns by hand, or materialize its snapshot partition",
        )

    def _refused(self, message: str) -> ConfigError:
        return ConfigError(
            message,
            where=str(self._target),
            remedy="make the change by hand, or materialize the table's snapshot partition",
        )


def _is_harmless_twice(live: pa.Schema, changes: Sequence[ColumnChange]) -> bool:
    """Return whether every column gets its values from the same one if the list is made again."""
    origins: dict[str, str | None] = {name: name for name in live.names}
    for change in changes:
        match change:
            case AddColumn(column=column, copy_of=copy_of):
                origins[column.name] = origins[copy_of] if copy_of else None
            case DropColumn(name=name):
                del origins[name]
            case RenameColumn(old=old, new=new):
                origins[new] = origins.pop(old)
    again = {name: origins.get(origin) if origin else None for name, origin in origins.items()}
    return again == origins


def _new_name(change: ColumnChange) -> str:
    match change:
        case AddColumn(column=column) | RetypeColumn(column=column):
            return column.name
        case DropColumn(name=name):
            return name
        case RenameColumn(new=new):
            return new
