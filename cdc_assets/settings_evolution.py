"""`pipeline.schema_changes`: what becomes of a change of a table's shape.

In: a word or a section. Out: immutable policies by event, for all tables and for some.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from cdc_assets.engine.schema_policy import (
    ColumnEventWord,
    PolicyRule,
    PolicyWord,
    SchemaPolicy,
    TableEventWord,
)
from cdc_assets.settings_types import Kind, Part, TablePattern

Event = Literal[ColumnEventWord, TableEventWord]
"""A kind of change."""

Events = Annotated[dict[Event, PolicyWord], Kind("mapping of event to policy")]
"""Policies of single kinds of change."""


class TablePolicies(Part):
    """Policies of some tables."""

    tables: tuple[TablePattern, ...] = Field(min_length=1)
    """Tables of the source; the first entry that says something about a table's event decides."""
    default: PolicyWord | None = None
    """Policy of every event that `events` does not name; that of all tables if left out."""
    events: Events = Field(default_factory=dict)
    """Policies of single events."""

    @model_validator(mode="after")
    def _check_says_something(self) -> TablePolicies:
        if self.default is None and not self.events:
            raise PydanticCustomError("policies", "says nothing: it needs `default` or `events`")
        return self


class SchemaChanges(Part):
    """What becomes of a change of a table's shape."""

    default: PolicyWord = "lenient"
    """Policy of every event that nothing else names. `evolve` does to the target what was done to
    the source; `try_evolve` as well, passing over what the sink cannot; `lenient` never drops,
    renames or narrows anything; `ignore` leaves the target as it is; `exception` stops the table;
    `hold` waits for a decision."""
    events: Events = Field(default_factory=dict)
    """Policies of single events: `create_table`, `drop_table`, `truncate_table`, `rename_table`,
    `add_column`, `drop_column`, `rename_column`, `alter_column_type`, `alter_key`. And, followed
    unless they are named here: `reorder_columns`, `alter_nullability`, `alter_comment`, `rewrite`
    (stored values or rows changed without row events)."""
    tables: tuple[TablePolicies, ...] = ()
    """Policies of some tables; they go before the others."""

    def policy(self) -> SchemaPolicy:
        """Return the policies in the engine's words."""
        rules: list[PolicyRule] = []
        for entry in self.tables:
            for pattern in entry.tables:
                rules += _rules(entry.events, pattern)
                rules += [PolicyRule(entry.default, pattern)] if entry.default else []
        return SchemaPolicy(self.default, (*rules, *_rules(self.events, "*.*")))


def _rules(events: Mapping[Event, PolicyWord], pattern: str) -> list[PolicyRule]:
    return [PolicyRule(word, pattern, frozenset({event})) for event, word in events.items()]


def _section(value: object) -> object:
    if value is None:
        return {}
    return {"default": value} if isinstance(value, str) else value


SchemaChangesOrWord = Annotated[
    SchemaChanges,
    BeforeValidator(_section, json_schema_input_type=PolicyWord | SchemaChanges),
    Kind("policy or section"),
]
"""One policy for everything, or a section."""
