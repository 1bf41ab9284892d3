"""Tables that are in the sink before a pipeline fills them: `existing` of a sink's section."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from cdc_assets.engine.existing import Existing
from cdc_assets.engine.refold import refold_table
from cdc_assets.engine.routing import Router, RouteRule
from cdc_assets.engine.run import run_snapshot, run_sync, run_tables
from resources.errors import ConfigError
from resources.failpoints import FailpointReached
from resources.model.table import Column, TableId, TableSchema
from resources.sinks.contract import Feed, Fence, TargetId, TargetTable
from resources.sinks.memory import MemorySink
from resources.sinks.shape import target_schema
from tests.armed import armed
from tests.engine.world import World

T0 = TableId("db", "t0")
OTHER = Feed("another", T0)
COLUMNS = (Column("id", pa.int64(), nullable=False), Column("v", pa.string()))


def world_with(
    path: Path, existing: Existing, history: str, names: tuple[str, ...] = ("id", "v")
) -> World:
    """A world whose sink has `db.t0` with one row, of nobody's; its source has two rows."""
    world = World(path, history=history, existing=existing)
    columns = tuple(replace(COLUMNS[min(i, 1)], name=n) for i, n in enumerate(names))
    target = TargetTable(TargetId("db", "t0"), TableSchema(T0, columns, ("id",)))
    sink = MemorySink(world.sink_name)
    sink.create_table(target)
    row = pa.table([[9], *([["theirs"]] * (len(names) - 1))], schema=target_schema(target))
    sink.merge(target, row, row.select(["id"]).slice(0, 0), Fence(OTHER, None, 1, 1))
    sink._store.state.watermarks.clear()
    table = world.source.create("t0")
    if history != "snapshot":
        run_sync(world.pipeline())  # the origin
    world.source.commit((table, 1, (1, "a")), (table, 2, (2, "b")))
    return world


def fill(world: World) -> str:
    """Load the table or merge its log; returns why it was not, empty if it was."""
    if world.options.history == "snapshot":
        try:
            run_snapshot(world.pipeline(), T0)
        except ConfigError as error:
            return str(error)
        return ""
    run_sync(world.pipeline())
    (report,) = run_tables(world.pipeline(), [T0])  # a table that was refused waits for its merge
    if report.outcome == "current":
        return ""
    return "" if report.outcome == "applied" else report.reason


OURS = {1: "a", 2: "b"}
BOTH = {**OURS, 9: "theirs"}
KEPT = {9: "theirs"}
CASES = {
    "plain": (Existing(), OURS, BOTH),
    "recreated": (Existing("recreate"), OURS, OURS),
    "truncated": (Existing(rows="truncate"), OURS, OURS),
    "left as it is": (Existing("ignore"), OURS, BOTH),
    "appended to": (Existing(rows="append"), "a load takes the place of all rows", BOTH),
    "refused": (Existing("error"), "is there already, with 1 rows and the columns (id", None),
    "refused for its rows": (Existing(rows="error"), "is there already, with 1 rows", None),
    "recreated but for rows": (Existing("recreate", "error"), "is there already", None),
}


@pytest.mark.parametrize("history", ["snapshot", "none"])
@pytest.mark.parametrize("case", CASES)
def test_a_table_there_is_taken_as_the_file_says(tmp_path: Path, case: str, history: str) -> None:
    existing, loaded, logged = CASES[case]
    existing = replace(existing, where="shop.yaml:9:3")
    expected = loaded if history == "snapshot" or logged is None else logged
    world = world_with(tmp_path, existing, history)
    why = fill(world)
    if isinstance(expected, dict):
        assert (why, world.rows("t0")) == ("", expected)
        world.source.commit((T0, 1, None))
        run_sync(world.pipeline())  # its own by now: nothing is refused or emptied again
        assert world.rows("t0") == {k: v for k, v in expected.items() if k != 1}
        return
    for _ in range(2):  # a resumed load is refused as well, though it was begun
        assert expected in why and "shop.yaml:9:3" in why
        assert world.rows("t0") == KEPT
        why = fill(world)


@pytest.mark.parametrize("history", ["snapshot", "none"])
@pytest.mark.parametrize("table", ["error", "recreate", "ignore"])
def test_a_missing_table_is_made_unless_others_make_it(
    tmp_path: Path, table: str, history: str
) -> None:
    world = world_with(tmp_path, Existing(table), history)  # type: ignore[arg-type]
    MemorySink(world.sink_name).drop_table(TargetId("db", "t0"))
    why = fill(world)
    if table == "ignore":
        assert "is not there" in why and "(id int64" in why
    else:
        assert (why, world.rows("t0")) == ("", OURS)


@pytest.mark.parametrize("history", ["snapshot", "none"])
def test_a_table_that_is_left_as_it_is_must_have_the_columns(tmp_path: Path, history: str) -> None:
    world = world_with(tmp_path, Existing("ignore"), history, ("id", "v", "more"))
    assert "more" in fill(world)
    world = world_with(tmp_path, Existing("recreate"), history, ("id", "v", "more"))
    assert (fill(world), world.rows("t0")) == ("", OURS)


@pytest.mark.parametrize("history", ["snapshot", "none"])
@pytest.mark.parametrize("existing", [Existing("recreate"), Existing(rows="truncate")])
def test_a_table_that_another_feed_fills_is_not_destroyed(
    tmp_path: Path, existing: Existing, history: str
) -> None:
    world = world_with(tmp_path, existing, history)
    sink = MemorySink(world.sink_name)
    target = TargetTable(TargetId("db", "t0"), TableSchema(T0, COLUMNS, ("id",)))
    none = sink.read_table(target.id).slice(0, 0)
    sink.merge(target, none, none.select(["id"]), Fence(OTHER, None, 1, 1))
    assert "is filled by another/db.t0 too" in fill(world)
    assert world.rows("t0") == KEPT


@pytest.mark.parametrize("existing", [Existing("recreate"), Existing("error")])
def test_tables_that_share_a_target_join_what_the_first_has_made(
    tmp_path: Path, existing: Existing
) -> None:
    router = Router((RouteRule(("db.*",), "db.all", merge=True),))
    world = World(tmp_path, existing=existing, router=router)
    names = [world.source.create("t0"), world.source.create("t1")]
    for number, table in enumerate(names):
        world.source.commit((table, number, (number, "x")))
        run_snapshot(world.pipeline(), table)
    assert world.rows("all") == {0: "x", 1: "x"}
    run_snapshot(world.pipeline(), names[0])
    assert world.rows("all") == {0: "x", 1: "x"}


KILLS = {
    "snapshot": ("copy.before_chunk", "copy.before_finish", "sink.finish.after_swap"),
    "none": ("apply.after_recreate", "apply.before_merge", "sink.after_insert"),
}


@pytest.mark.parametrize(
    ("history", "point"), [(h, point) for h, points in KILLS.items() for point in points]
)
def test_a_run_killed_while_a_table_is_made_anew_is_repeated(
    tmp_path: Path, history: str, point: str
) -> None:
    world = world_with(tmp_path, Existing("recreate"), history)
    with armed(f"{point}:raise"), pytest.raises(FailpointReached):
        fill(world)
    assert (fill(world), world.rows("t0")) == ("", OURS)


@pytest.mark.parametrize("existing", [Existing("error"), Existing(rows="error")])
def test_a_table_left_empty_by_a_killed_run_is_nobodys(tmp_path: Path, existing: Existing) -> None:
    world = world_with(tmp_path, existing, "none")
    MemorySink(world.sink_name).drop_table(TargetId("db", "t0"))
    with armed("apply.before_merge:raise"), pytest.raises(FailpointReached):
        fill(world)
    assert (fill(world), world.rows("t0")) == ("", OURS)


def test_a_table_left_as_it_is_stays_when_it_is_folded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = world_with(tmp_path, Existing("ignore"), "log")
    assert (fill(world), world.rows("t0")) == ("", BOTH)

    def refuse(self: MemorySink, target: TargetId) -> None:
        raise AssertionError(f"{target} was dropped")

    monkeypatch.setattr(MemorySink, "drop_table", refuse)
    refold_table(world.pipeline(), T0)
    assert world.rows("t0") == OURS
