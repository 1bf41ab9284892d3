"""Masked keys: rows set aside are put back right, and copies that break begin anew."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from cdc_assets.engine.pending import Merging
from cdc_assets.engine.replay import replay_dirty
from cdc_assets.engine.report import CaptureReport, SyncReport
from cdc_assets.engine.rules import Transforms
from cdc_assets.engine.run import capture_through, run_snapshot, run_sync
from cdc_assets.engine.transforms.rule import Mask, TransformRule
from resources.errors import FencedOut
from resources.model.table_id import TableId
from resources.sinks.contract import TargetId
from tests.engine.world import World, crashing
from tests.scripted import POISON, Row

TARGET = TargetId("db", "t0")
HIDDEN = Transforms((TransformRule(("db.*",), masks=(Mask("id", "hash", salt="salt"),)),))


def hidden(key: int) -> str:
    return hashlib.sha256(b"salt" + str(key).encode()).hexdigest()


def in_target(world: World) -> dict[Any, str | None]:
    return {r["id"]: r["v"] for r in world.pipeline().open_sink().read_table(TARGET).to_pylist()}


def wanted(rows: dict[int, Row]) -> dict[str, str | None]:
    return {hidden(key): text for key, text in rows.values()}


def loaded(path: Path, rows: int = 8) -> tuple[World, TableId]:
    world = World(path, transforms=HIDDEN)
    table = world.source.create("t0")
    for key in range(rows):
        world.source.commit((table, key, (key, "before")))
    run_snapshot(world.pipeline(), table)
    return world, table


def test_undecodable_rows_with_masked_keys_are_read_again_and_none_is_deleted(
    tmp_path: Path,
) -> None:
    world, table = loaded(tmp_path)
    world.source.commit((table, 1, (1, POISON)), (table, 2, (2, POISON)), (table, 3, (3, POISON)))
    run_sync(world.pipeline())
    keys = {row.key for row in world.pipeline().dirty.open_rows()}
    assert keys == {f'{{"id":"{hidden(key)}"}}' for key in (1, 2, 3)}
    replay_dirty(world.pipeline())  # it still cannot be decoded
    assert len(in_target(world)) == 8
    assert world.pipeline().dirty.count_open() == 3
    world.source.tables[table].pop(3)
    world.source.poison = False
    replay_dirty(world.pipeline())
    assert in_target(world) == wanted(world.source.tables[table])
    assert world.pipeline().dirty.count_open() == 0


def test_undecodable_rows_of_a_copy_are_known_by_their_masked_keys(tmp_path: Path) -> None:
    world = World(tmp_path, transforms=HIDDEN)
    table = world.source.create("t0")
    world.source.commit((table, 1, (1, POISON)), (table, 2, (2, "x")), (table, 3, (3, POISON)))
    run_snapshot(world.pipeline(), table)
    keys = {row.key for row in world.pipeline().dirty.open_rows()}
    assert keys == {f'{{"id":"{hidden(key)}"}}' for key in (1, 3)}
    world.source.commit((table, 1, (1, "mended")))
    run_sync(world.pipeline())
    world.source.poison = False
    replay_dirty(world.pipeline())
    assert in_target(world) == wanted(world.source.tables[table])


def test_a_later_change_of_a_masked_key_closes_the_row_set_aside(tmp_path: Path) -> None:
    world, table = loaded(tmp_path)
    world.source.commit((table, 1, (1, POISON)), (table, 2, (2, POISON)))
    run_sync(world.pipeline())
    world.source.commit((table, 1, (1, "after")))
    run_sync(world.pipeline())
    (open_row,) = world.pipeline().dirty.open_rows()
    assert hidden(2) in open_row.key


def test_a_row_read_again_is_not_put_over_a_newer_one_merged_meanwhile(tmp_path: Path) -> None:
    world, table = loaded(tmp_path, rows=2)
    world.source.commit((table, 1, (1, POISON)))
    run_sync(world.pipeline())
    world.source.poison = False
    begun = world.pipeline()
    token = begun.leases.next_token()  # a run that began before the replay
    looks = iter([False, True])

    def merge_meanwhile() -> None:
        if next(looks, False):
            world.source.commit((table, 1, (1, "newer")))
            last, end = capture_through(begun, begun.source.current_position())
            Merging(begun, token, SyncReport(CaptureReport(end, end))).table(table, last)

    world.source.on_read = merge_meanwhile
    with pytest.raises(FencedOut):
        replay_dirty(world.pipeline())
    assert in_target(world) == {hidden(0): "before", hidden(1): "newer"}
    assert world.pipeline().dirty.count_open() == 0


@pytest.mark.parametrize("kill", ["copy.after_chunk", "copy.before_copied", "copy.before_finish"])
def test_a_copy_whose_bounds_are_not_kept_begins_anew_and_is_whole(
    tmp_path: Path, kill: str
) -> None:
    world = World(tmp_path, transforms=HIDDEN)
    table = world.source.create("t0")
    for key in range(10):
        world.source.commit((table, key, (key, "before")))
    crashing(kill, lambda: run_snapshot(world.pipeline(), table))
    broken = world.pipeline().snapshots.open_snapshot(table)
    assert broken is not None
    assert world.pipeline().snapshots.chunks(broken.load_id) == []
    for key in (0, 4, 9):  # what the first copy read is gone by now
        world.source.commit((table, key, None))
    world.source.commit((table, 11, (11, "after")))
    report, _ = run_snapshot(world.pipeline(), table)
    assert report.resumed == (kill == "copy.before_finish")  # all chunks were in
    assert in_target(world) == wanted(world.source.tables[table])
