"""The words in which a schema change is decided: the situation, its events, the plan.

In: what is known about a table before and after a change. Out: immutable values without a sink.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import pyarrow as pa

from cdc_assets.engine.schema_policy import (
    Action,
    ChangeClass,
    ColumnEventWord,
    PolicyWord,
    SchemaPolicy,
)
from resources.model.column_change import AddColumn, ColumnChange, DropColumn, RenameColumn
from resources.model.table import Column, TableSchema
from resources.sinks.contract import Capabilities

Decided: TypeAlias = Literal["applied", "skipped", "replaced"]


@dataclass(frozen=True)
class Situation:
    """All that a plan depends on.

    Args:
        live: The target's columns now.
        after: What the feed's rows have from here on, after its transform.
        before: What they had as last applied; None if nothing was applied yet.
        origins: Name before of each column of `after`, empty for a new one, where a statement
            told; a column left out kept its name. None: only the shapes are known.
        policy: The pipeline's policies.
        shared: Whether other feeds share the target: then nothing is dropped, renamed or narrowed.
        capabilities: What the sink can do.
        rewrites: Whether stored values or rows changed without row events.
        kept: Columns of the target that the feed once had and the source has no longer.
        ignored: Columns left out of the target by decision.
        failed: Columns the sink refused under `try_evolve`.
        decided: What a person decided about changes that were held, by event and column.
        rereadable: Whether the table can be read again.
        keyed: Whether rows are merged by key (false for a target that keeps every change).
        fold: How the sink compares column names.
        fills: What rows that were there have in new columns of `after`, but for NULL.
        owner: The column that says whose a row of a shared target is; empty if it is not shared.
        feed: Whose rows change.
    """

    live: tuple[Column, ...]
    after: TableSchema
    before: TableSchema | None = None
    origins: Mapping[str, str] | None = None
    policy: SchemaPolicy = field(default_factory=SchemaPolicy)
    shared: bool = False
    capabilities: Capabilities = field(default_factory=Capabilities)
    rewrites: bool = False
    kept: frozenset[str] = frozenset()
    ignored: frozenset[str] = frozenset()
    failed: frozenset[str] = frozenset()
    decided: Mapping[tuple[ColumnEventWord, str], Decided] = field(default_factory=dict)
    rereadable: bool = True
    keyed: bool = True
    fold: Callable[[str], str] = str
    fills: Mapping[str, pa.Scalar] = field(default_factory=dict)
    owner: str = ""
    feed: str = ""


@dataclass(frozen=True)
class ColumnEvent:
    """One change of a source table's columns.

    Args:
        event: What happened.
        name: The column's name now, or its last name; empty for the whole table.
        was: Its name before, where it has another one.
        column: The column now.
        before: The column before.
        cycle: Its new name was, through a ring of renames, another column's.
    """

    event: ColumnEventWord
    name: str
    was: str = ""
    column: Column | None = None
    before: Column | None = None
    cycle: bool = False


@dataclass(frozen=True)
class Step:
    """What is done about one event.

    Args:
        event: The event.
        columns: The column's name now, and its name before if it was renamed.
        change_class: What the source's change is.
        policy: The policy that decided; a held change that was decided has the one it came to.
        action: `apply` the changes; `reread` the table; `ignore`: left out by decision; `hold`
            and `refuse`: the table waits, or stops; `nothing` is to be done.
        changes: For the sink; of a held step what applying it would run.
        why: In words.
        before: The type before, in words.
        after: The type now, in words.
        failed: The sink cannot do it, and the policy passes it over.
    """

    event: ColumnEventWord
    columns: tuple[str, ...]
    change_class: ChangeClass
    policy: PolicyWord
    action: Action
    changes: tuple[ColumnChange, ...] = ()
    why: str = ""
    before: str = ""
    after: str = ""
    failed: bool = False


@dataclass(frozen=True)
class EvolutionPlan:
    """What a schema change comes to.

    Args:
        steps: Event by event.
        changes: To hand to the sink, in order; empty while anything is held or refused, and where
            the table is read again as a whole.
        columns: The target's columns once the plan is carried out.
        ignored: Columns of the rows the target lacks by decision (for `conform`).
        failed: Columns the sink refused; rows with a value there are dirty rows.
        kept: Columns the target has and the source no longer has; kept for the next plan.
        hold: Why the table waits for a decision.
        refused: Why the table stops.
        reread: Why the table has to be read again; empty if it has not.
        keep: Columns whose values a reread leaves as they are.
    """

    steps: tuple[Step, ...]
    changes: tuple[ColumnChange, ...]
    columns: tuple[Column, ...]
    ignored: frozenset[str] = frozenset()
    failed: frozenset[str] = frozenset()
    kept: frozenset[str] = frozenset()
    hold: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    reread: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()

    @property
    def waits(self) -> bool:
        """Whether nothing may be done before a person has."""
        return bool(self.hold or self.refused)


def changed_columns(
    columns: Sequence[Column],
    changes: Sequence[ColumnChange],
    fold: Callable[[str], str] = str,
) -> tuple[Column, ...]:
    """Return the columns a table has after changes; those that are there already are passed over.

    Args:
        columns: The table's columns.
        changes: As `Sink.alter_table` takes them.
        fold: How names compare.
    """
    made = {fold(c.name): c for c in columns}
    for change in changes:
        if isinstance(change, AddColumn):
            made.setdefault(fold(change.column.name), change.column)
        elif isinstance(change, DropColumn):
            made.pop(fold(change.name), None)
        elif isinstance(change, RenameColumn):
            made = _renamed(made, fold(change.old), change.new, fold)
        elif fold(change.column.name) in made:
            made[fold(change.column.name)] = change.column
    return tuple(made.values())


def _renamed(
    columns: dict[str, Column], old: str, new: str, fold: Callable[[str], str]
) -> dict[str, Column]:
    return {
        (fold(new) if name == old else name): (
            Column(**{**vars(column), "name": new}) if name == old else column
        )
        for name, column in columns.items()
    }
