"""`keep: needed`: the change log has the columns that its rules read, and targets stay right."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdc_assets.engine.configs import changed_configs, log_is_whole
from cdc_assets.engine.refold import refold_table
from cdc_assets.engine.rules import Transforms
from cdc_assets.engine.run import run_snapshot, run_sync
from cdc_assets.engine.transforms.rule import TransformRule
from resources.errors import ConfigError, SchemaMismatch
from resources.model.change import CHANGE_FIELDS
from resources.model.table_id import TableId
from resources.sinks.contract import TargetId
from tests.engine.world import World, commit, crashing, transaction
from tests.scripted import POISON, Event

TABLE = TableId("db", "t0")
CHANGES = [field.name for field in CHANGE_FIELDS]
RULES: dict[str, dict[str, Any]] = {
    "whole": {},
    "ids": {"projection": ("id",)},
    "filtered": {"projection": ("id",), "filter": "v <> 'a'"},
    "twice": {"projection": ("id", "id * 2 AS twice")},
    "texts": {"projection": ("id", "UPPER(v) AS v")},
}


def made(rule: str, key: int, text: str | None) -> dict[str, Any] | None:
    """Return what a rule makes of a row, None if it is not in the target."""
    return {
        "whole": {"id": key, "v": text},
        "ids": {"id": key},
        "filtered": {"id": key} if text is not None and text != "a" else None,
        "twice": {"id": key, "twice": 2 * key},
        "texts": {"id": key, "v": text.upper() if text is not None else None},
    }[rule]


def edit(world: World, rule: str, keep: Any = "needed") -> None:
    rules = (TransformRule(("db.*",), **RULES[rule]),) if RULES[rule] else ()
    world.options = replace(world.options, transforms=Transforms(rules, keep))


def wanted(world: World, rule: str) -> list[dict[str, Any]]:
    rows = (made(rule, key, text) for key, text in sorted(world.expected("t0").items()))
    return [row for row in rows if row is not None]


def found(world: World, rule: str) -> list[dict[str, Any]]:
    """Return the target's rows, in the columns of the rule: others may be there from before."""
    try:
        rows = world.pipeline().open_sink().read_table(TargetId("db", "t0"))
    except SchemaMismatch:  # a table that never had a row has no target
        return []
    names = list(made(rule, 1, "x") or ())
    return sorted(rows.select(names).to_pylist(), key=lambda row: row["id"])


def stored(world: World) -> set[tuple[str, ...]]:
    return {tuple(b.rows.schema.names) for b in world.pipeline().log.read(TABLE, 0)}


def begun(path: Path, rule: str) -> World:
    """Return a world in which the table was made while it was followed: the log has all of it."""
    world = World(path)
    edit(world, rule)
    run_sync(world.pipeline())
    world.source.commit(notice=Event(world.source.create("t0"), notice="create", rewrites=False))
    commit(world, [(0, k, k, "abc"[k % 3]) for k in range(1, 7)])
    run_sync(world.pipeline())
    return world


@pytest.mark.parametrize(
    ("rule", "names"),
    [("whole", ["id", "v"]), ("ids", ["id"]), ("twice", ["id"]), ("filtered", ["id", "v"])],
)
def test_the_change_log_has_the_columns_that_are_needed_and_no_other(
    tmp_path: Path, rule: str, names: list[str]
) -> None:
    world = begun(tmp_path, rule)
    commit(world, [(0, 1, 9, "b"), (0, 2, None, "")])
    run_sync(world.pipeline())
    assert stored(world) == {(*names, *CHANGES)}
    assert found(world, rule) == wanted(world, rule)


def test_rows_set_aside_keep_no_more(tmp_path: Path) -> None:
    world = begun(tmp_path, "ids")
    commit(world, [(0, 1, 1, POISON)])
    run_sync(world.pipeline())
    (row,) = world.pipeline().dirty.open_rows()
    assert pa.ipc.open_stream(row.image).read_all().column_names == ["id"]


@pytest.mark.parametrize("compacted", [False, True])
def test_only_columns_asked_for_are_read_back(tmp_path: Path, compacted: bool) -> None:
    world = begun(tmp_path, "whole")
    log = world.pipeline().log
    if compacted:
        (window,) = {s.window for s in log.segments.list_segments(0, None) if s.window}
        log.compact(window)
        log.purge("9")
    whole = [b.rows.select(["id", *CHANGES]).to_pylist() for b in log.read(TABLE, 0)]
    read = list(log.read(TABLE, 0, columns=lambda _schema: ("id",)))
    assert [b.rows.schema.names for b in read] == [["id", *CHANGES]] * len(whole)
    assert [b.rows.to_pylist() for b in read] == whole


@pytest.mark.parametrize(
    ("before", "after", "enough"),
    [
        ("ids", "twice", True),
        ("texts", "filtered", True),
        ("whole", "texts", True),
        ("ids", "texts", False),
        ("twice", "filtered", False),
        ("ids", "whole", False),
    ],
)
def test_an_edit_is_folded_again_where_the_log_has_its_columns_and_else_read_again(
    tmp_path: Path, before: str, after: str, enough: bool
) -> None:
    world = begun(tmp_path, before)
    edit(world, after)
    ((_, why),) = changed_configs(world.pipeline())
    assert ("refold" in why) == enough
    assert log_is_whole(world.pipeline(), TABLE) == enough
    if enough:
        refold_table(world.pipeline(), TABLE)
    else:
        with pytest.raises(ConfigError, match="does not have every row"):
            refold_table(world.pipeline(), TABLE)
        run_snapshot(world.pipeline(), TABLE)
    assert found(world, after) == wanted(world, after)


@pytest.mark.parametrize("rule", ["whole", "texts"])
def test_rows_that_lack_columns_are_not_merged_once_the_edit_is_taken_back(
    tmp_path: Path, rule: str
) -> None:
    world = begun(tmp_path, rule)
    edit(world, "ids")
    commit(world, [(0, 1, 1, "newer")])
    run_sync(world.pipeline())
    edit(world, rule)
    world.options = replace(world.options, reread=False)
    report = run_sync(world.pipeline()).tables[TABLE]
    assert report.outcome == "needs_snapshot"
    assert "keep: needed" in report.reason
    run_snapshot(world.pipeline(), TABLE)
    assert found(world, rule) == wanted(world, rule)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("commit"), transaction),
        st.tuples(
            st.just("edit"),
            st.tuples(st.sampled_from(sorted(RULES)), st.sampled_from(["needed", "all"])),
        ),
        st.tuples(st.just("sync"), st.sampled_from(["apply.after_commit"]) | st.none()),
        st.tuples(st.just("snapshot"), st.sampled_from(["copy.after_chunk"]) | st.none()),
        st.tuples(st.just("refold"), st.none()),
    ),
    max_size=9,
)


def follow(path: Path, steps: list[tuple[str, Any]]) -> None:
    rule = "ids"
    world = begun(path, rule)
    for step, what in steps:
        if step == "commit":
            commit(world, [(0, *change[1:]) for change in what])
        elif step == "edit":
            rule, keep = what
            edit(world, rule, keep)
        elif step == "snapshot":
            crashing(what, lambda: run_snapshot(world.pipeline(), TABLE))
        elif step == "refold" and log_is_whole(world.pipeline(), TABLE):
            refold_table(world.pipeline(), TABLE)
        else:
            crashing(what, lambda: run_sync(world.pipeline()))
        state = world.pipeline().tables.get(TABLE)
        if step == "sync" and what is None and state is not None and state.status == "live":
            assert found(world, rule) == wanted(world, rule)
    run_snapshot(world.pipeline(), TABLE)
    run_sync(world.pipeline())
    assert found(world, rule) == wanted(world, rule)


@given(steps)
@settings(max_examples=8, deadline=None)
def test_a_live_target_is_what_the_rules_make_whatever_was_kept(
    steps: list[tuple[str, Any]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        follow(Path(folder), steps)


@pytest.mark.nightly
@given(steps)
@settings(max_examples=300, deadline=None)
def test_a_live_target_is_what_the_rules_make_whatever_was_kept_at_length(
    steps: list[tuple[str, Any]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        follow(Path(folder), steps)
