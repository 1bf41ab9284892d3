"""What each schema change comes to under each policy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from cdc_assets.engine.schema_policy import (
    QUIET_EVENTS,
    PolicyRule,
    PolicyWord,
    SchemaPolicy,
    decide_table_event,
)
from resources.model.column_change import (
    AddColumn,
    ColumnChange,
    DropColumn,
    RenameColumn,
    RetypeColumn,
)
from resources.model.table import Column, TableId, TableSchema
from tests.engine.evolution_model import TABLE
from tests.engine.evolve_room import COPY, ID, LIVE, NARROW, NEW, TEXT, WIDE, A, B, plan

NOTHING: tuple[ColumnChange, ...] = ()
Case = tuple[tuple[Column, ...], dict[str, str], bool, dict[str, tuple[str, Any]]]

# after, origins, rewrites, and by policy the step's action and the changes (or what waits, why)
MATRIX: dict[str, Case] = {
    "add_column": (
        (ID, A, NEW, B),
        {"c": ""},
        False,
        {
            "lenient": ("apply", (AddColumn(NEW),)),
            "evolve": ("apply", (AddColumn(NEW),)),
            "try_evolve": ("apply", (AddColumn(NEW),)),
            "ignore": ("ignore", NOTHING),
            "exception": ("refuse", "column c date32[day] is added"),
            "hold": ("hold", "column c date32[day] is added"),
        },
    ),
    "drop_column": (
        (ID, B),
        {},
        False,
        {
            "lenient": ("nothing", NOTHING),
            "evolve": ("apply", (DropColumn("a"),)),
            "try_evolve": ("apply", (DropColumn("a"),)),
            "ignore": ("ignore", NOTHING),
            "exception": ("refuse", "column a is dropped"),
            "hold": ("hold", "column a is dropped"),
        },
    ),
    "rename_column": (
        (ID, COPY, B),
        {"x": "a"},
        False,
        {
            "lenient": ("apply", (AddColumn(COPY, copy_of="a"),)),
            "evolve": ("apply", (RenameColumn("a", "x"),)),
            "try_evolve": ("apply", (RenameColumn("a", "x"),)),
            "ignore": ("ignore", NOTHING),
            "exception": ("refuse", "column a is renamed to x"),
            "hold": ("hold", "column a is renamed to x"),
        },
    ),
    "widened": (
        (ID, WIDE, B),
        {},
        False,
        {
            "lenient": ("apply", (RetypeColumn(WIDE),)),
            "evolve": ("apply", (RetypeColumn(WIDE),)),
            "try_evolve": ("apply", (RetypeColumn(WIDE),)),
            "ignore": ("ignore", NOTHING),
            "exception": ("refuse", "column a int32 is widened to int64"),
            "hold": ("hold", "column a int32 is widened to int64"),
        },
    ),
    "narrowed": (
        (ID, NARROW, B),
        {},
        False,
        {
            "lenient": ("nothing", NOTHING),
            "evolve": ("reread", NOTHING),
            "try_evolve": ("reread", NOTHING),
            "ignore": ("ignore", NOTHING),
            "exception": ("refuse", "column a was int (int32) and is tinyint (int8)"),
            "hold": ("hold", "column a was int (int32) and is tinyint (int8)"),
        },
    ),
    "retyped": (
        (ID, TEXT, B),
        {},
        True,
        {
            "lenient": ("hold", "column a is int (int32) in the target and text (string) on"),
            "evolve": ("reread", NOTHING),
            "try_evolve": ("reread", NOTHING),
            "ignore": ("ignore", NOTHING),
            "exception": ("refuse", "column a was int (int32) and is text (string)"),
            "hold": ("hold", "column a was int (int32) and is text (string)"),
        },
    ),
    "reordered": (
        (B, ID, A),
        {},
        False,
        dict.fromkeys(("lenient", "evolve", "exception", "hold"), ("nothing", NOTHING)),
    ),
    "nullability": (
        (ID, replace(A, nullable=False), B),
        {},
        False,
        dict.fromkeys(("lenient", "evolve", "exception", "hold"), ("nothing", NOTHING)),
    ),
}
CLASSES = {
    "add_column": "safe",
    "drop_column": "destructive",
    "rename_column": "safe",
    "widened": "widening",
    "narrowed": "lossy",
    "retyped": "lossy",
    "reordered": "safe",
    "nullability": "safe",
}


@pytest.mark.parametrize(
    ("name", "word"), [(name, word) for name, case in MATRIX.items() for word in case[3]]
)
def test_event_by_policy(name: str, word: PolicyWord) -> None:
    after, origins, rewrites, expected = MATRIX[name]
    made = plan(*after, origins=origins, rewrites=rewrites, policy=SchemaPolicy(word))
    action, what = expected[word]
    step = made.steps[0]
    quiet = step.event in QUIET_EVENTS
    assert (step.action, step.change_class) == (action, CLASSES[name])
    assert step.policy == ("lenient" if quiet else word)
    if action in ("hold", "refuse"):
        assert made.waits
        (why,) = made.hold if action == "hold" else made.refused
        assert why.startswith(f"shop.t: {what}")
        assert (made.changes, made.columns, made.reread) == ((), LIVE, ())
        return
    assert (made.waits, made.changes) == (False, what)
    assert bool(made.reread) == (rewrites or action == "reread")


def test_what_is_left_out_or_kept_is_said() -> None:
    ignored = plan(ID, A, NEW, B, origins={"c": ""}, policy=SchemaPolicy("ignore"))
    assert (ignored.ignored, ignored.kept) == ({"c"}, frozenset())
    dropped = plan(ID, B)
    assert (dropped.kept, [c.name for c in dropped.columns]) == ({"a"}, ["id", "a", "b"])
    renamed = plan(ID, COPY, B, origins={"x": "a"}, policy=SchemaPolicy("ignore"))
    assert (renamed.ignored, renamed.kept) == ({"x"}, {"a"})


def test_a_key_column_moves_to_its_new_name_under_lenient_too() -> None:
    key = replace(ID, name="nr")
    made = plan(key, A, B, origins={"nr": "id"}, key=("nr",))
    assert made.changes == (RenameColumn("id", "nr"),)
    assert (made.reread, made.kept) == ((), frozenset())


def test_names_that_differ_in_case_only_are_one_to_a_sink_that_folds_it() -> None:
    upper = replace(A, name="A")
    made = plan(ID, upper, B, origins={"A": "a"}, fold=str.lower)
    assert (made.changes, made.columns, made.reread) == ((), LIVE, ())
    assert plan(ID, upper, B, origins={"A": "a"}).changes == (AddColumn(upper, copy_of="a"),)


def test_labels_added_at_the_end_keep_the_kind() -> None:
    few = Column("a", pa.string(), "enum('x')", kind="enum", labels=("x",))
    more = Column("a", pa.string(), "enum('x','y')", kind="enum", labels=("x", "y"))
    live = (LIVE[0], few, B)
    before = TableSchema(TABLE, (ID, few, B), ("id",))
    made = plan(ID, more, B, live=live, before=before)
    assert made.changes == (RetypeColumn(more),)
    assert made.steps[0].change_class == "widening"


def test_the_first_rule_that_is_for_a_change_decides() -> None:
    policy = SchemaPolicy(
        "evolve",
        (
            PolicyRule("hold", "shop.*", frozenset({"drop_column"})),
            PolicyRule("ignore", "*.log"),
            PolicyRule("exception", "shop.log"),
        ),
    )
    log, other = TableId("shop", "log"), TableId("other", "t")
    assert policy.word(log, "drop_column") == "hold"
    assert policy.word(log, "add_column") == "ignore"
    assert policy.word(other, "drop_column") == "evolve"
    assert policy.word(log, "alter_comment") == "lenient", "a quiet change has to be named"
    quiet = SchemaPolicy("evolve", (PolicyRule("exception", events=frozenset({"alter_comment"})),))
    assert quiet.word(log, "alter_comment") == "exception"
    comment = plan(ID, replace(A, comment="new"), B, policy=quiet)
    assert comment.refused


@pytest.mark.parametrize(
    ("event", "word", "shared", "action"),
    [
        ("create_table", "lenient", False, "apply"),
        ("create_table", "ignore", False, "ignore"),
        ("truncate_table", "lenient", True, "apply"),
        ("truncate_table", "ignore", False, "ignore"),
        ("truncate_table", "exception", False, "refuse"),
        ("truncate_table", "hold", False, "hold"),
        ("drop_table", "lenient", False, "nothing"),
        ("drop_table", "evolve", False, "apply"),
        ("drop_table", "evolve", True, "nothing"),
        ("rename_table", "lenient", False, "nothing"),
        ("rename_table", "try_evolve", False, "apply"),
        ("rename_table", "evolve", True, "nothing"),
        ("rename_table", "exception", False, "refuse"),
    ],
)
def test_events_of_whole_tables(event: Any, word: PolicyWord, shared: bool, action: str) -> None:
    decision = decide_table_event(SchemaPolicy(word), TABLE, event, shared)
    assert decision.action == action
    assert decision.change_class == ("safe" if event == "create_table" else "destructive")
