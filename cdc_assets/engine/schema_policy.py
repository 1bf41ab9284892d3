"""What a pipeline does with which schema change: the words of its file, and the look-up.

In: rules by table pattern and kind of change. Out: one policy word for a change of a table, and
what it means for changes of whole tables.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from resources.model.patterns import matches
from resources.model.table_id import TableId

PolicyWord: TypeAlias = Literal["evolve", "try_evolve", "lenient", "ignore", "exception", "hold"]
"""`evolve` does what the source did; `try_evolve` as well, passing over what the sink cannot;
`lenient` never drops, renames or narrows anything; `ignore` leaves the target as it is;
`exception` stops the table; `hold` waits for a person's decision."""
ColumnEventWord: TypeAlias = Literal[
    "add_column",
    "drop_column",
    "rename_column",
    "alter_column_type",
    "alter_key",
    "reorder_columns",
    "alter_nullability",
    "alter_comment",
    "rewrite",
]
"""`rewrite`: stored values or rows changed without row events."""
TableEventWord: TypeAlias = Literal["create_table", "drop_table", "truncate_table", "rename_table"]
EventWord: TypeAlias = ColumnEventWord | TableEventWord
ChangeClass: TypeAlias = Literal["safe", "widening", "lossy", "destructive"]
"""`safe` touches no value; `widening` gives a type that holds every value of the one before;
`lossy` may not hold them; `destructive` takes columns, rows or a table away."""
Action: TypeAlias = Literal["apply", "ignore", "hold", "refuse", "reread", "nothing"]

QUIET_EVENTS: frozenset[EventWord] = frozenset(
    {"reorder_columns", "alter_nullability", "alter_comment", "rewrite"}
)
"""What changes nothing about a target's columns: only a rule that names it stops it."""


@dataclass(frozen=True)
class PolicyRule:
    """One rule.

    Args:
        policy: What to do.
        tables: Pattern of the source tables it is for.
        events: The changes it is for; empty for all but the quiet ones.
    """

    policy: PolicyWord
    tables: str = "*.*"
    events: frozenset[EventWord] = frozenset()


@dataclass(frozen=True)
class SchemaPolicy:
    """The policies of a pipeline.

    Args:
        default: For what no rule is for.
        rules: The first one that is for a change decides.
    """

    default: PolicyWord = "lenient"
    rules: tuple[PolicyRule, ...] = ()

    def word(self, table: TableId, event: EventWord) -> PolicyWord:
        """Return the policy for a change of a source table."""
        quiet = event in QUIET_EVENTS
        for rule in self.rules:
            named = event in rule.events
            if (named or not (rule.events or quiet)) and matches(rule.tables, table):
                return rule.policy
        return "lenient" if quiet else self.default


@dataclass(frozen=True)
class TableDecision:
    """What to do about a change of a whole table.

    Args:
        event: The change.
        change_class: What it is.
        policy: The policy that decided.
        action: `apply`, `nothing`, `ignore`, `hold` or `refuse`.
    """

    event: TableEventWord
    change_class: ChangeClass
    policy: PolicyWord
    action: Action


def decide_table_event(
    policy: SchemaPolicy,
    table: TableId,
    event: TableEventWord,
    shared: bool = False,
    *,
    arrives: bool = False,
) -> TableDecision:
    """Return what to do when a source table is created, dropped, emptied or renamed.

    Emptying a table changes rows, so every policy that lets changes through applies it. A target
    whose table is dropped is dropped under `evolve` alone, and never while it has other feeds. Of
    a table renamed away under `evolve` the target becomes what `drop_table` says. Under the name
    that a table gets, every policy that lets changes through has it read.

    Args:
        policy: The pipeline's.
        table: The name that is concerned.
        event: What happened to it.
        shared: Whether several feeds share the target.
        arrives: Of a rename, whether the name is the new one.
    """
    word = policy.word(table, event)
    change_class: ChangeClass = "safe" if event == "create_table" else "destructive"
    stopped: dict[PolicyWord, Action] = {"ignore": "ignore", "exception": "refuse", "hold": "hold"}
    action: Action = stopped.get(word, "apply")
    leaves = event == "drop_table" or (event == "rename_table" and not arrives)
    if action == "apply" and leaves and (shared or word == "lenient"):
        action = "nothing"
    elif action == "apply" and leaves and event == "rename_table":
        return replace(decide_table_event(policy, table, "drop_table"), event=event)
    return TableDecision(event, change_class, word, action)
