"""Changes of a target's columns: what it is afterwards, and how they are told.

In: `ColumnChange`s. Out: the target's new shape, and SQL for people and consumers to read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa

from resources.model.column_change import (
    AddColumn,
    ColumnChange,
    DropColumn,
    RenameColumn,
    RetypeColumn,
)
from resources.model.table import TableSchema
from resources.sinks.column_plan import ColumnRules, plan_changes
from resources.sinks.contract import TargetId, TargetTable
from resources.sinks.kafka_types import source_type
from resources.sinks.shape import target_schema

KINDS = frozenset({"add", "drop", "rename", "retype"})
"""`Capabilities.schema_changes` of Kafka: messages written before keep what they say."""


def changes_left(known: TargetTable, changes: Sequence[ColumnChange]) -> list[ColumnChange]:
    """Return the changes that a target does not have yet; raises as `plan_changes`."""
    rules = ColumnRules(KINDS, str, pa.DataType.equals)
    plan = plan_changes(known.id, target_schema(known), changes, rules)
    return [planned.change for planned in plan.changes]


def changed(known: TargetTable, changes: Sequence[ColumnChange]) -> TargetTable:
    """Return a target after changes of its columns."""
    schema = known.schema
    for change in changes:
        schema = _changed(schema, change)
    return replace(known, schema=schema)


def statement(target: TargetId, changes: Sequence[ColumnChange]) -> str:
    """Return changes as one ALTER TABLE statement in MySQL's words."""
    parts = ", ".join(_clause(change) for change in changes)
    return f"ALTER TABLE {_quoted(target.namespace)}.{_quoted(target.table)} {parts}"


def _changed(schema: TableSchema, change: ColumnChange) -> TableSchema:
    columns = schema.columns
    match change:
        case AddColumn(column=column):
            return replace(schema, columns=(*columns, column))
        case DropColumn(name=name):
            return replace(schema, columns=tuple(c for c in columns if c.name != name))
        case RenameColumn(old=old, new=new):
            named = tuple(replace(c, name=new) if c.name == old else c for c in columns)
            key = tuple(new if name == old else name for name in schema.key)
            return replace(schema, columns=named, key=key)
        case RetypeColumn(column=column):
            typed = tuple(column if c.name == column.name else c for c in columns)
            return replace(schema, columns=typed)


def _clause(change: ColumnChange) -> str:
    match change:
        case AddColumn(column=column):
            return f"ADD COLUMN {_quoted(column.name)} {source_type(column)}"
        case DropColumn(name=name):
            return f"DROP COLUMN {_quoted(name)}"
        case RenameColumn(old=old, new=new):
            return f"RENAME COLUMN {_quoted(old)} TO {_quoted(new)}"
        case RetypeColumn(column=column):
            return f"MODIFY COLUMN {_quoted(column.name)} {source_type(column)}"


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
