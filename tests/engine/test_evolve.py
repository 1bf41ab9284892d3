"""What each schema change comes to under each policy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from cdc_assets.engine.evolution import EvolutionPlan, Situation
from cdc_assets.engine.evolve import plan_evolution
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
from resources.sinks.contract import Capabilities
from tests.engine.evolution_model import ABLE, TABLE

ID = Column("id", pa.int64(), "bigint", nullable=False)
A, B = Column("a", pa.int32(), "int"), Column("b", pa.string(), "text")
NEW = Column("c", pa.date32(), "date")
WIDE, NARROW = Column("a", pa.int64(), "bigint"), Column("a", pa.int8(), "tinyint")
TEXT = Column("a", pa.string(), "text")
COPY = replace(A, name="x")
BEFORE = TableSchema(TABLE, (ID, A, B), ("id",))
LIVE = (replace(ID, nullable=True), A, B)
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


def situation(*after: Column, **changes: Any) -> Situation:
    key = changes.pop("key", ("id",))
    plain = Situation(LIVE, TableSchema(TABLE, after, key), BEFORE, {}, capabilities=ABLE)
    return replace(plain, **changes)


def plan(*after: Column, **changes: Any) -> EvolutionPlan:
    return plan_evolution(situation(*after, **changes))


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


def test_evolve_reads_again_into_the_very_type() -> None:
    for column in (NARROW, TEXT):
        made = plan(ID, column, B, policy=SchemaPolicy("evolve"))
        assert made.columns == (LIVE[0], column, B)
        assert made.keep == ()
    hand = Column("hand", pa.int8())
    made = plan(ID, TEXT, B, policy=SchemaPolicy("evolve"), live=(*LIVE, hand))
    assert made.changes == (DropColumn("a"), AddColumn(TEXT))
    assert (made.keep, made.columns[-1]) == (("hand",), TEXT)


def test_values_changed_without_row_events_are_read_again_under_every_policy() -> None:
    for word in ("lenient", "evolve", "try_evolve", "ignore", "exception", "hold"):
        made = plan(ID, A, B, rewrites=True, policy=SchemaPolicy(word))
        assert made.reread == ("stored values changed without row events",)
        assert made.steps[0].change_class == "lossy"
    named = SchemaPolicy("lenient", (PolicyRule("hold", events=frozenset({"rewrite"})),))
    assert plan(ID, A, B, rewrites=True, policy=named).hold
    skipped = plan(ID, A, B, rewrites=True, policy=named, decided={("rewrite", ""): "skipped"})
    assert (skipped.waits, skipped.reread) == (False, ())


def test_a_name_used_again_is_read_again() -> None:
    old = plan(ID, B)
    again = plan(
        ID, A, B, before=TableSchema(TABLE, (ID, B), ("id",)), origins={"a": ""}, kept=old.kept
    )
    assert again.reread == ("new column a has the name of one that was there before",)
    assert (again.changes, again.kept, again.keep) == ((), frozenset(), ())


def test_a_rename_onto_the_name_of_a_column_that_was_there_is_read_again() -> None:
    number = Column("b", pa.int32())
    told = ("new column b has the values of a",)
    both = TableSchema(TABLE, (ID, A, number), ("id",))
    live = (*LIVE[:2], number)
    at_once = plan(ID, number, origins={"b": "a"}, before=both, live=live)
    assert (at_once.reread, at_once.changes, at_once.kept) == (told, (), {"a"})
    later = plan(
        ID, number, origins={"b": "a"}, live=live, kept=frozenset({"b"}),
        before=TableSchema(TABLE, (ID, A), ("id",)),
    )  # fmt: skip
    assert (later.reread, later.keep) == (told, ("a",))


@pytest.mark.parametrize("word", ["lenient", "evolve"])
def test_a_column_left_out_is_read_when_it_comes_under_another_name(word: PolicyWord) -> None:
    s = situation(
        ID, COPY, B, origins={"x": "a"}, live=(LIVE[0], B), ignored=frozenset({"a"}),
        policy=SchemaPolicy(word),
    )  # fmt: skip
    made = plan_evolution(s)
    assert made.columns[-1] == COPY
    assert made.reread == ("new column x has the values of a",)
    again = plan_evolution(replace(s, live=made.columns))
    assert (again.reread, again.changes, again.ignored) == (made.reread, (), frozenset())


def test_a_rename_that_is_ignored_still_leaves_no_wrong_value() -> None:
    own = Column("x", pa.int32())
    made = plan(ID, COPY, B, origins={"x": "a"}, live=(*LIVE, own), policy=SchemaPolicy("ignore"))
    assert made.reread == ("column x of the target has the values of another one",)


def test_a_table_made_anew_by_a_load_is_not_altered_before() -> None:
    made = plan(ID, WIDE, B, NEW, origins={"c": ""}, rewrites=True)
    assert (made.changes, made.keep) == ((), ())
    assert made.columns == (LIVE[0], WIDE, B, NEW)
    shared = plan(ID, WIDE, B, NEW, origins={"c": ""}, rewrites=True, shared=True)
    assert shared.changes == (AddColumn(NEW), RetypeColumn(WIDE))


def test_a_copy_of_another_type_is_widened_after_it_is_made() -> None:
    wide = replace(WIDE, name="x")
    made = plan(ID, wide, B, origins={"x": "a"})
    assert made.changes == (AddColumn(COPY, copy_of="a"), RetypeColumn(wide))
    text = replace(TEXT, name="x")
    made = plan(ID, text, B, origins={"x": "a"})
    assert (made.changes, made.keep) == ((AddColumn(text),), ("a",))
    assert made.reread == ("new column x has the values of a",)


def test_a_key_column_moves_to_its_new_name_under_lenient_too() -> None:
    key = replace(ID, name="nr")
    made = plan(key, A, B, origins={"nr": "id"}, key=("nr",))
    assert made.changes == (RenameColumn("id", "nr"),)
    assert (made.reread, made.kept) == ((), frozenset())


def test_another_key_is_read_again() -> None:
    made = plan(ID, A, B, key=("id", "b"))
    assert made.reread == ("the key was (id), now it is (id, b)",)
    assert [(s.event, s.action, s.change_class) for s in made.steps] == [
        ("alter_key", "reread", "lossy")
    ]
    assert plan(ID, A, B, key=("id", "b"), keyed=False).steps == ()
    none = plan(ID, A, B, key=())
    assert "rows cannot be merged without a key" in none.hold[0]


def test_another_key_takes_kept_columns_away_only_when_decided() -> None:
    s = situation(ID, B, key=("b",))
    held = plan_evolution(s)
    assert held.hold == (
        "shop.t: the key was (id), now it is (b), and reading the table again takes column a "
        "away: apply, skip or replace it by the pipeline's decide job",
    )
    made = plan_evolution(replace(s, decided={("alter_key", ""): "applied"}))
    assert (made.waits, made.keep, [c.name for c in made.columns]) == (False, (), ["id", "b"])
    by_hand = plan_evolution(replace(s, decided={("alter_key", ""): "replaced"}))
    assert (by_hand.waits, by_hand.reread, by_hand.columns) == (False, (), LIVE)
    skipped = plan_evolution(replace(s, decided={("alter_key", ""): "skipped"}))
    assert "it cannot be skipped" in skipped.hold[0]


def test_a_new_key_column_is_never_left_out() -> None:
    made = plan(ID, A, B, NEW, origins={"c": ""}, key=("id", "c"), policy=SchemaPolicy("ignore"))
    assert "column c cannot be left out: it is in the key" in made.hold[0]


@pytest.mark.parametrize(
    ("decision", "changes", "ignored"),
    [("applied", (AddColumn(NEW),), set()), ("skipped", (), {"c"}), ("replaced", (), {"c"})],
)
def test_a_held_change_goes_on_once_it_is_decided(
    decision: str, changes: tuple[ColumnChange, ...], ignored: set[str]
) -> None:
    s = situation(ID, A, NEW, B, origins={"c": ""}, policy=SchemaPolicy("hold"))
    held = plan_evolution(s)
    assert held.steps[0].changes == (AddColumn(NEW),), "a person sees what would be done"
    made = plan_evolution(replace(s, decided={("add_column", "c"): decision}))
    assert (made.waits, made.changes, made.ignored) == (False, changes, ignored)


def test_a_decided_change_of_type_is_read_again() -> None:
    s = situation(ID, TEXT, B)
    assert plan_evolution(s).waits
    made = plan_evolution(replace(s, decided={("alter_column_type", "a"): "applied"}))
    assert (made.reread, made.columns[1]) == (
        ("column a was int (int32) and is text (string)",),
        TEXT,
    )


@pytest.mark.parametrize("kind", ["add", "drop", "rename", "retype"])
def test_what_the_sink_cannot_do_is_held_or_passed_over(kind: str) -> None:
    cases: dict[str, tuple[tuple[Column, ...], dict[str, str], str]] = {
        "add": ((ID, A, B, NEW), {"c": ""}, "c"),
        "drop": ((ID, B), {}, "a"),
        "rename": ((ID, COPY, B), {"x": "a"}, "x"),
        "retype": ((ID, WIDE, B), {}, "a"),
    }
    after, origins, name = cases[kind]
    less = Capabilities(schema_changes=ABLE.schema_changes - {kind})
    s = situation(*after, origins=origins, capabilities=less)
    held = plan_evolution(replace(s, policy=SchemaPolicy("evolve")))
    assert f"this sink cannot {kind} columns" in held.hold[0]
    passed = plan_evolution(replace(s, policy=SchemaPolicy("try_evolve")))
    assert (passed.waits, passed.changes, passed.columns) == (False, (), LIVE)
    assert (passed.steps[0].action, passed.steps[0].failed) == ("ignore", True)
    assert passed.failed == (set() if kind == "drop" else {name})
    refused = replace(s, capabilities=ABLE, policy=SchemaPolicy("try_evolve"))
    assert plan_evolution(replace(refused, failed=frozenset({name}))).changes == ()


def test_a_type_beyond_the_sink_is_held() -> None:
    wide = Column("a", pa.decimal256(50, 2))
    small = replace(ABLE, decimal_precision=38)
    made = plan(ID, wide, B, capabilities=small)
    assert "this sink cannot hold column a decimal256(50, 2) exactly" in made.hold[0]
    made = plan(ID, A, B, replace(wide, name="c"), origins={"c": ""}, capabilities=small)
    assert made.waits
    refusing = replace(ABLE, refused_types=frozenset({"date32[day]"}))
    assert plan(ID, A, B, NEW, origins={"c": ""}, capabilities=refusing).waits


def test_a_table_that_cannot_be_read_again_waits() -> None:
    s = situation(ID, A, B, rewrites=True, rereadable=False)
    assert plan_evolution(s).hold == (
        "shop.t: the table cannot be read again, though stored values changed without row "
        "events: apply, skip or replace it by the pipeline's decide job",
    )
    made = plan_evolution(replace(s, decided={("rewrite", ""): "applied"}))
    assert (made.waits, made.reread) == (False, ())


def test_only_shapes_are_known() -> None:
    made = plan(ID, COPY, B, origins=None)
    assert [(s.event, s.columns) for s in made.steps] == [
        ("drop_column", ("a",)),
        ("add_column", ("x",)),
    ]
    assert (made.changes, made.reread) == ((AddColumn(COPY),), ())
    filled = plan(ID, A, B, replace(NEW, nullable=False), origins=None)
    assert filled.reread == ("the values rows have in new column c are unknown",)
    cut = plan(ID, NARROW, B, origins=None)
    assert "what became of the values of column a" in cut.reread[0]
    assert cut.columns == LIVE


def test_a_rename_stops_before_a_column_of_the_targets_own() -> None:
    own = Column("x", pa.int8())
    made = plan(ID, COPY, B, origins={"x": "a"}, live=(*LIVE, own), policy=SchemaPolicy("evolve"))
    assert "but the target has a column x of its own" in made.hold[0]


def test_a_column_missing_in_the_target_comes_back() -> None:
    made = plan(ID, WIDE, B, live=(LIVE[0], B))
    assert made.columns[-1] == WIDE
    assert made.reread == ("column a is missing in the target",)
    left_out = plan(ID, WIDE, B, live=(LIVE[0], B), ignored=frozenset({"a"}))
    assert (left_out.changes, left_out.reread, left_out.ignored) == ((), (), {"a"})


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
        ("rename_table", "exception", False, "refuse"),
    ],
)
def test_events_of_whole_tables(event: Any, word: PolicyWord, shared: bool, action: str) -> None:
    decision = decide_table_event(SchemaPolicy(word), TABLE, event, shared)
    assert decision.action == action
    assert decision.change_class == ("safe" if event == "create_table" else "destructive")
