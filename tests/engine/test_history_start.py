"""Tables that are not loaded: they begin empty and hold what the log has from the origin on."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdc_assets.engine.run import SyncOptions, run_sync
from resources.errors import ConfigError
from resources.model.place import FilePlace
from tests.engine.world import World
from tests.scripted import Event


def test_a_table_emptied_before_its_first_row_begins_there(tmp_path: Path) -> None:
    world = World(tmp_path, history="none")
    table = world.source.create("t0")
    run_sync(world.pipeline())  # the origin
    for kind in ("drop", "truncate"):
        world.source.commit(notice=Event(table, notice=kind))
        report = run_sync(world.pipeline())
        assert report.tables[table].outcome == ("dropped" if kind == "drop" else "current")
    world.source.commit((table, 1, (1, "a")), (table, 2, (2, "b")))
    report = run_sync(world.pipeline())
    assert report.tables[table].outcome == "applied"
    assert world.rows("t0") == {1: "a", 2: "b"}


@pytest.mark.parametrize("kind", ["truncate", "drop", "create"])
def test_a_table_that_is_emptied_or_made_anew_begins_there(tmp_path: Path, kind: str) -> None:
    world = World(tmp_path, history="none")
    table = world.source.create("t0")
    run_sync(world.pipeline())  # the origin
    world.source.commit((table, 1, (1, "a")))
    world.source.tables[table].clear()
    world.source.commit(notice=Event(table, notice=kind, rewrites=kind != "create"))
    if kind == "drop":
        run_sync(world.pipeline())
        assert world.rows("t0") == {1: "a"}  # kept, as the policy says, until it is made again
    world.source.commit((table, 2, (2, "b")))
    assert run_sync(world.pipeline()).tables[table].outcome == "applied"
    assert world.rows("t0") == {2: "b"}


@pytest.mark.parametrize("kind", ["alter", "statement", "create"])
@pytest.mark.parametrize("rows_first", [True, False])
def test_any_other_rewriting_asks_for_another_load(
    tmp_path: Path, kind: str, rows_first: bool
) -> None:
    world = World(tmp_path, history="none")
    table = world.source.create("t0")
    run_sync(world.pipeline())  # the origin
    if rows_first:
        world.source.commit((table, 1, (1, "a")))
    world.source.commit(notice=Event(table, notice=kind))
    world.source.commit((table, 2, (2, "b")))
    report = run_sync(world.pipeline()).tables[table]
    # What a target has is left to a person; a target without rows waits to be made.
    assert report.outcome == ("held" if rows_first and kind != "create" else "needs_snapshot")
    assert rows_first or "pipeline of another name" in report.reason


def test_a_polled_or_scripted_source_without_places_cannot_stop_at_one(tmp_path: Path) -> None:
    world = World(tmp_path, history="none")
    with pytest.raises(ConfigError, match="no places to stop at"):
        run_sync(world.pipeline(), SyncOptions(stop_at=FilePlace("log.000001")))
