"""Changes of a target's columns: what it is afterwards, and how they are told.

In: `ColumnChange`s. Out: the target's new shape, and SQL for people and consumers to read.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa

from resources.failpoints import failpoint
from resources.model.column_change import (
    AddColumn,
    ColumnChange,
    DropColumn,
    RenameColumn,
    RetypeColumn,
)
from resources.model.table import TableSchema
from resources.sinks.column_plan import ColumnRules, PlannedChange, plan_changes
from resources.sinks.contract import TargetId, TargetTable
from resources.sinks.kafka_messages import SchemaMessage, compact
from resources.sinks.kafka_place import KafkaPlace
from resources.sinks.kafka_state import KnownTable, table_record
from resources.sinks.kafka_types import source_type
from resources.sinks.shape import no_table, target_schema

KINDS = frozenset({"add", "drop", "rename", "retype"})
"""`Capabilities.schema_changes` of Kafka: messages written before keep what they say."""


class KafkaColumns:
    """The columns of one sink's targets."""

    def __init__(self, place: KafkaPlace) -> None:
        self._place = place

    def alter(self, target: TargetId, changes: Sequence[ColumnChange]) -> None:
        """Tell the changes still to be made, and keep the shape after them, in one transaction."""
        place = self._place
        known, left = self._left(target, changes)
        if not left:
            return
        after = _after(known.target, left)
        message = SchemaMessage(after, _statement(target, left), time.time_ns() // 10**6)
        topic = place.schema_topic(target)
        place.topics.create(topic)
        key = compact({"databaseName": target.namespace}).encode()
        with place.write_as(target, None) as transaction:
            transaction.send(topic, key, place.form.schema_change(message))
            failpoint("sink.alter.after_change")
            transaction.record([table_record(after, known.topic)])
        failpoint("sink.alter.after_commit")

    def render(self, target: TargetId, changes: Sequence[ColumnChange]) -> list[str]:
        """Return the statement `alter` would tell."""
        _, left = self._left(target, changes)
        return [_statement(target, left)] if left else []

    def _left(
        self, target: TargetId, changes: Sequence[ColumnChange]
    ) -> tuple[KnownTable, list[ColumnChange]]:
        known = self._place.known(target)
        if known is None:
            raise no_table(target)
        return known, _changes_left(known.target, changes)


def _changes_left(known: TargetTable, changes: Sequence[ColumnChange]) -> list[ColumnChange]:
    """Return the changes that a target does not have yet; raises as `plan_changes`."""
    rules = ColumnRules(KINDS, str, pa.DataType.equals)
    plan = plan_changes(known.id, target_schema(known), changes, rules)
    return [p.change for p in plan.changes if not _is_there(p)]


def _after(known: TargetTable, changes: Sequence[ColumnChange]) -> TargetTable:
    """Return a target after changes of its columns."""
    schema = known.schema
    for change in changes:
        schema = _changed(schema, change)
    return replace(known, schema=schema)


def _statement(target: TargetId, changes: Sequence[ColumnChange]) -> str:
    """Return changes as one ALTER TABLE statement in MySQL's words."""
    parts = ", ".join(_clause(change) for change in changes)
    return f"ALTER TABLE {_quoted(target.namespace)}.{_quoted(target.table)} {parts}"


def _is_there(planned: PlannedChange) -> bool:
    """Return whether a column has the type it shall get, which other sinks write once more."""
    change, before = planned.change, planned.before
    if not isinstance(change, RetypeColumn):
        return False
    return bool(before.field(change.column.name).type == change.column.type)


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
