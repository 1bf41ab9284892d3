"""Editing a running pipeline: no target is ever a mix of what two versions of its rules make."""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdc_assets.engine.configs import EDITED
from cdc_assets.engine.refold import refold_table
from cdc_assets.engine.replay import replay_dirty
from cdc_assets.engine.routing import Router, RouteRule
from cdc_assets.engine.rules import Transforms
from cdc_assets.engine.run import run_snapshot, run_sync, run_tables
from cdc_assets.engine.transforms.rule import TransformRule
from resources.errors import ConfigError, SchemaMismatch
from resources.model.table_id import TableId
from resources.sinks.contract import TargetId
from tests.engine.world import World, commit, crashing, snapshot, transaction
from tests.scripted import Event

TABLE = TableId("db", "t0")
FILTERS = ("", "id < 4", "id % 2 = 0")
PASSES = {"": lambda _: True, "id < 4": lambda k: k < 4, "id % 2 = 0": lambda k: k % 2 == 0}
COPY_KILLS = ["copy.after_chunk", "copy.before_finish", "copy.after_finish"]
steps = st.lists(
    st.one_of(
        st.tuples(st.just("commit"), transaction),
        st.tuples(st.just("edit"), st.sampled_from(FILTERS)),
        st.tuples(st.just("sync"), st.sampled_from(["apply.after_commit"]) | st.none()),
        st.tuples(st.just("merge"), st.none()),
        st.tuples(st.just("snapshot"), st.sampled_from(COPY_KILLS) | st.none()),
        st.tuples(st.just("refold"), st.sampled_from(["refold.after_drop"]) | st.none()),
    ),
    max_size=10,
)


def edit(world: World, condition: str) -> None:
    rule = TransformRule(("db.*",), filter=condition)
    world.options = replace(world.options, transforms=Transforms((rule,) if condition else ()))


def wanted(world: World, condition: str) -> dict[int, str | None]:
    return {k: v for k, v in world.expected("t0").items() if PASSES[condition](k)}


def found(world: World) -> dict[int, str | None]:
    try:
        return world.rows("t0")
    except SchemaMismatch:  # a table that never had a row has no target
        return {}


def refold(world: World) -> None:
    with contextlib.suppress(ConfigError):  # the log does not have all of it
        refold_table(world.pipeline(), TABLE)


def follow(path: Path, steps: list[tuple[str, Any]], *, born: bool) -> None:
    world, condition = World(path), ""
    if born:
        run_sync(world.pipeline())
        world.source.commit(
            notice=Event(world.source.create("t0"), notice="create", rewrites=False)
        )
    world.source.create("t0")
    for step, what in steps:
        if step == "commit":
            commit(world, [(0, *change[1:]) for change in what])
        elif step == "edit":
            condition = what
            edit(world, condition)
        elif step == "merge":
            run_tables(world.pipeline(), [TABLE])
        elif step == "snapshot":
            crashing(what, lambda: snapshot(world, "t0", []))
        elif step == "refold":
            crashing(what, lambda: refold(world))
        else:
            crashing(what, lambda: run_sync(world.pipeline()))
        state = world.pipeline().tables.get(TABLE)
        if step == "sync" and what is None and state is not None and state.status == "live":
            assert found(world) == wanted(world, condition)
    run_snapshot(world.pipeline(), TABLE)
    run_sync(world.pipeline())
    assert found(world) == wanted(world, condition)


@given(steps, st.booleans())
@settings(max_examples=12, deadline=None)
def test_a_live_target_is_what_the_rules_of_now_make(
    steps: list[tuple[str, Any]], born: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        follow(Path(folder), steps, born=born)


@pytest.mark.nightly
@given(steps, st.booleans())
@settings(max_examples=400, deadline=None)
def test_a_live_target_is_what_the_rules_of_now_make_at_length(
    steps: list[tuple[str, Any]], born: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        follow(Path(folder), steps, born=born)


def test_a_copy_begun_by_other_rules_is_not_gone_on_with(tmp_path: Path) -> None:
    world = World(tmp_path)
    commit(world, [(0, k, k, "a") for k in range(1, 9)])
    edit(world, "id < 4")
    crashing("copy.after_chunk", lambda: snapshot(world, "t0", []))
    edit(world, "id % 2 = 0")
    run_snapshot(world.pipeline(), TABLE)
    assert world.rows("t0") == wanted(world, "id % 2 = 0")


def test_merging_a_table_by_hand_does_not_mix_rules_and_taking_an_edit_back_goes_on(
    tmp_path: Path,
) -> None:
    world = World(tmp_path)
    commit(world, [(0, 1, 1, "a"), (0, 5, 5, "b")])
    run_snapshot(world.pipeline(), TABLE)
    edit(world, "id < 4")
    commit(world, [(0, 2, 2, "c")])
    run_sync(world.pipeline())
    (report,) = run_tables(world.pipeline(), [TABLE])
    assert report.outcome == "needs_snapshot"
    assert report.reason.startswith(EDITED)
    assert world.rows("t0") == {1: "a", 5: "b"}
    edit(world, "")
    run_sync(world.pipeline())
    assert world.rows("t0") == {1: "a", 5: "b", 2: "c"}


def test_dirty_rows_are_not_put_back_by_other_rules_than_the_targets(tmp_path: Path) -> None:
    world = World(tmp_path)
    commit(world, [(0, 1, 1, "a")])
    run_snapshot(world.pipeline(), TABLE)
    world.reject = lambda column, value: column == "v" and value == "b"
    commit(world, [(0, 2, 2, "b")])
    run_sync(world.pipeline())
    world.reject = None
    edit(world, "id < 2")
    (report,) = replay_dirty(world.pipeline())
    assert report.outcome == "needs_snapshot"
    assert world.rows("t0") == {1: "a"}
    edit(world, "")
    replay_dirty(world.pipeline())
    assert world.rows("t0") == {1: "a", 2: "b"}


def test_an_excluded_column_leaves_the_target_when_it_is_read_again(tmp_path: Path) -> None:
    world = World(tmp_path)
    commit(world, [(0, 1, 1, "secret")])
    run_snapshot(world.pipeline(), TABLE)
    rule = TransformRule(("db.*",), exclude=("v",))
    world.options = replace(world.options, transforms=Transforms((rule,)))
    run_snapshot(world.pipeline(), TABLE)
    found = world.pipeline().open_sink().read_table(TargetId("db", "t0"))
    assert found.to_pylist() == [{"id": 1}]


def test_a_route_to_another_target_waits_for_it_to_be_loaded(tmp_path: Path) -> None:
    world = World(tmp_path)
    commit(world, [(0, 1, 1, "a")])
    run_snapshot(world.pipeline(), TABLE)
    router = Router((RouteRule(("db.t0",), "wh.t0"),))
    world.options = replace(world.options, router=router)
    report = run_sync(world.pipeline()).tables.get(TABLE)
    state = world.pipeline().tables.get(TABLE)
    assert state is not None
    assert state.status == "needs_snapshot"
    assert "goes to wh.t0 now" in state.reason
    assert report is None or report.outcome == "needs_snapshot"
    run_snapshot(world.pipeline(), TABLE)
    found = world.pipeline().open_sink().read_table(TargetId("wh", "t0"))
    assert [row["id"] for row in found.to_pylist()] == [1]


def test_a_table_is_folded_again_only_from_a_log_that_has_all_of_it(tmp_path: Path) -> None:
    world = World(tmp_path)
    run_sync(world.pipeline())
    table = world.source.create("t0")
    world.source.commit(notice=Event(table, notice="create", rewrites=False))
    commit(world, [(0, k, k, "a") for k in range(1, 7)])
    run_sync(world.pipeline())
    edit(world, "id < 4")
    commit(world, [(0, 1, None, ""), (0, 2, 9, "b")])
    run_sync(world.pipeline())
    assert world.rows("t0") == dict.fromkeys(range(1, 7), "a")
    crashing("refold.after_drop", lambda: refold_table(world.pipeline(), TABLE))
    refold_table(world.pipeline(), TABLE)
    assert world.rows("t0") == wanted(world, "id < 4")
    other = world.source.create("t1")
    run_snapshot(world.pipeline(), other)
    with pytest.raises(ConfigError, match="does not have every row"):
        refold_table(world.pipeline(), other)
