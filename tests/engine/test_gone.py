"""Tables that are gone before they were read again, and decisions about columns made anew since."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdc_assets.engine.records import passed_over
from cdc_assets.engine.route import target_id
from cdc_assets.engine.run import run_snapshot, run_sync
from cdc_assets.engine.schema_policy import SchemaPolicy
from resources.model.table import TableId
from resources.stores.schema_changes import ChangeState, SchemaChange
from tests.engine.world import World
from tests.scripted import Event

TABLE = TableId("db", "t0")


def status(world: World) -> str:
    state = world.pipeline().tables.get(TABLE)
    assert state is not None
    return state.status


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize(("word", "left"), [("lenient", {1: "a"}), ("evolve", None)])
def test_a_table_that_is_gone_waits_for_no_load(
    tmp_path: Path, at_once: bool, word: str, left: dict[int, str] | None
) -> None:
    world = World(tmp_path, reread=False, policy=SchemaPolicy(word))  # type: ignore[arg-type]
    table = world.source.create("t0")
    world.source.commit((table, 1, (1, "a")))
    run_snapshot(world.pipeline(), table)
    world.source.commit(notice=Event(table, notice="statement", rewrites=True))
    if not at_once:
        run_sync(world.pipeline())
        assert status(world) == "needs_snapshot"
    world.source.commit((table, 1, (1, "b")))
    world.source.commit(notice=Event(table, notice="drop", rewrites=True))
    for _ in range(2):
        run_sync(world.pipeline())
        assert status(world) == "dropped"
    with world.pipeline().sink() as sink:
        found = sink.read_schema(target_id(world.pipeline().routes(TABLE)[0]))
    assert (None if found is None else world.rows("t0")) == left
    world.source.commit(notice=Event(table, notice="create", rewrites=False))
    world.source.commit((table, 2, (2, "new")))
    run_sync(world.pipeline())
    assert (status(world), world.rows("t0")) == ("live", {2: "new"})


def changed(seq: int, event: str, column: str, state: ChangeState) -> SchemaChange:
    return SchemaChange(
        TABLE, "db.t0", seq, event, column, "", "", "", "", "lossy", "hold", "", "", state
    )


@pytest.mark.parametrize(
    ("later", "passed"),
    [
        ([], True),
        ([changed(9, "alter_column_type", "a", "held")], True),
        ([changed(9, "alter_comment", "a", "applied")], True),
        ([changed(9, "drop_column", "b", "applied")], True),
        ([changed(9, "alter_column_type", "a", "applied")], False),
        (
            [changed(8, "drop_column", "a", "ignored"), changed(9, "add_column", "a", "applied")],
            False,
        ),
        ([changed(9, "create_table", "", "applied")], False),
    ],
)
def test_a_skip_holds_until_the_column_is_changed_again(
    tmp_path: Path, later: list[SchemaChange], passed: bool
) -> None:
    pipeline = World(tmp_path).pipeline()
    [held] = pipeline.changes.record([changed(5, "alter_column_type", "a", "held")])
    assert pipeline.changes.decide(held.id, "skipped", "Ann", "not now")
    pipeline.changes.record(later)
    target = target_id(pipeline.routes(TABLE)[0])
    assert (passed_over(pipeline, TABLE, target, "alter_column_type") == {"a"}) == passed
