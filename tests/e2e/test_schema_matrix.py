"""Every schema event under every policy, on real servers, with a kill at each step between.

All tables of a run are born while they are captured, changed in turns with rows in between, and
followed by one pipeline whose policy differs by table. Its processes are killed by SIGKILL at every
named point of capture, ALTER, load and merge, each going on where the last one died.
"""

from __future__ import annotations

import shutil
from functools import partial
from itertools import takewhile
from pathlib import Path

import pytest

from tests.e2e.pairings import Pairing
from tests.e2e.pairings import pairing as pairing
from tests.e2e.points import ALTER, CAPTURE, CAPTURED, LOAD, MERGE
from tests.e2e.room import NIGHTLY
from tests.e2e.schema_cases import CASES, SchemaCase
from tests.e2e.schema_matrix import Matrix
from tests.sinks.postgres_room import room as room

STEPS = ((*CAPTURE, *ALTER, *LOAD), (CAPTURED[0], *MERGE), (CAPTURED[1],))
"""Where runs die after the first statements of all tables, the second, the third."""


@pytest.mark.timeout(600)
def test_every_event_under_every_policy_with_a_kill_at_every_step(
    pairing: Pairing, tmp_path: Path
) -> None:
    url = pairing.room.url(pairing.room.database("matrix")) if pairing.room else ""
    matrix = Matrix(pairing.server, pairing.database, tmp_path, url)
    matrix.begin()
    for number in range(max(len(case.statements) for case in CASES)):
        matrix.step(number)
        for point in STEPS[number] if number < len(STEPS) else ():
            # The first table passes and the second one dies, so that every run gets on.
            count = 1 if point in (*CAPTURE, *CAPTURED) else 2
            assert matrix.is_killed(point, count), f"no run came to {point}"
        matrix.sync()
    matrix.check()
    matrix.decide()


@NIGHTLY
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_one_event_under_every_policy_with_kills_anywhere(
    pairing: Pairing, tmp_path: Path, case: SchemaCase
) -> None:
    """Every time from the same beginning: the first run is killed, a second one ends it."""
    stage = Stage(pairing, tmp_path, case)
    killed = [
        (point, count)
        for point in (*CAPTURE, *CAPTURED, *ALTER, *LOAD, *MERGE)
        for count in takewhile(partial(stage.goes_on_after, point), (1, 2, 4, 8))
    ]
    assert {point for point, _ in killed} >= {*CAPTURE, *CAPTURED}
    stage.goes_on_after("no point")
    stage.matrix.decide()
    print(f"{case.name}: {len(killed)} kills")


class Stage:
    """One case, its statements done, and a pipeline that is put back to before them.

    Args:
        pairing: Source and target.
        folder: Where all files go.
        case: The case.
    """

    def __init__(self, pairing: Pairing, folder: Path, case: SchemaCase) -> None:
        self.room, self.folder = pairing.room, folder
        self.target = self.room.database(str(folder)) if self.room else ""
        url = self.room.url(self.target) if self.room else ""
        (folder / "run").mkdir()
        self.matrix = Matrix(pairing.server, pairing.database, folder / "run", url, (case,))
        self.matrix.begin()
        shutil.copytree(folder / "run", folder / "kept")
        self._copy_target(self.target, f"{self.target}_kept")
        for number in range(len(case.statements)):
            self.matrix.step(number)

    def goes_on_after(self, point: str, count: int = 1) -> bool:
        """Kill a run at a point, end it by another, and check; whether the first was killed."""
        shutil.rmtree(self.folder / "run")
        shutil.copytree(self.folder / "kept", self.folder / "run")
        self._copy_target(f"{self.target}_kept", self.target)
        killed = self.matrix.is_killed(point, count)
        self.matrix.sync()
        self.matrix.check()
        return killed

    def _copy_target(self, old: str, new: str) -> None:
        if self.room is not None:
            self.room.run(
                "postgres",
                f"DROP DATABASE IF EXISTS {new} WITH (FORCE)",
                f"CREATE DATABASE {new} TEMPLATE {old}",
            )
