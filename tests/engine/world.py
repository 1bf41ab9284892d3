"""A scripted source with everything a run needs around it, and ways to disturb a run."""

from __future__ import annotations

import contextlib
import itertools
import json
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from cdc_assets.engine.pipeline import EngineOptions, Pipeline
from cdc_assets.engine.run import run_snapshot
from resources.failpoints import FailpointReached
from resources.sinks.contract import TargetId
from resources.sinks.memory import MemorySink
from resources.stores.change_log import ChangeLog
from resources.stores.database import StateDatabase
from tests.armed import armed
from tests.scripted import ScriptedSource

_names = (f"world{i}" for i in itertools.count())


def capture_filter(*include: str) -> str:
    return json.dumps({"include": list(include), "exclude": []})


class World:
    """A scripted source, a state database, a change log and a memory sink that outlive runs."""

    def __init__(self, path: Path, **options: Any) -> None:
        self.source = ScriptedSource()
        self.sink_name = next(_names)
        self.path = path / self.sink_name
        self.db = StateDatabase(f"sqlite:///{self.path}/state.db")
        defaults: dict[str, Any] = {
            "chunk_rows": 3,
            "parallel": 2,
            "segment_rows": 5,
            "apply_rows": 4,
            "wait_for_capture": 5.0,
        }
        self.options = EngineOptions(capture_filter("db.*"), **{**defaults, **options})
        self.runs = itertools.count()
        self.reject: Any = None

    def pipeline(self) -> Pipeline:
        log = ChangeLog(self.db, "p", str(self.path / "log"))
        return Pipeline(
            "p", self.options, self.source, self._sink, self.db, log, f"run{next(self.runs)}"
        )

    def _sink(self) -> MemorySink:
        return MemorySink(self.sink_name, reject=self.reject)

    def rows(self, table: str) -> dict[int, str | None]:
        found = self._sink().read_table(TargetId("db", table)).to_pylist()
        assert len({r["id"] for r in found}) == len(found)
        return {r["id"]: r["v"] for r in found}

    def expected(self, table: str) -> dict[int, str | None]:
        rows = self.source.tables[self.source.create(table)]
        return {k: r[1] for k, r in rows.items()}


KILLS = [
    "capture.before_commit",
    "capture.after_commit",
    "apply.before_merge",
    "apply.after_commit",
    "copy.before_chunk",
    "copy.after_chunk",
    "copy.before_copied",
    "copy.before_finish",
    "copy.after_finish",
    "segment.after_rename",
    "sink.before_commit",
]
change = st.tuples(
    st.integers(0, 1), st.integers(0, 8), st.integers(0, 8) | st.none(), st.text("abc", max_size=2)
)
transaction = st.lists(change, min_size=1, max_size=4)
step = st.one_of(
    st.tuples(st.just("commit"), transaction),
    st.tuples(st.just("sync"), st.sampled_from(KILLS) | st.none()),
    st.tuples(
        st.just("snapshot"),
        st.tuples(
            st.integers(0, 1), st.sampled_from(KILLS) | st.none(), st.lists(transaction, max_size=4)
        ),
    ),
    st.tuples(st.just("hours"), st.integers(-1, 30)),
)


def commit(world: World, changes: list[tuple[int, int, int | None, str]]) -> None:
    source = world.source
    for table, key, new, text in changes:
        name = source.create(f"t{table}")
        source.commit((name, key, None if new is None else (new, text)))


def crashing(kill: str | None, run: Any) -> None:
    """Run with a crash armed at a named point; the run may or may not get there."""
    if kill is None:
        run()
        return
    with armed(f"{kill}:raise"), contextlib.suppress(FailpointReached):
        run()


def snapshot(world: World, table: str, meanwhile: list[Any]) -> None:
    pending = iter(meanwhile)

    def disturb() -> None:
        changes = next(pending, None)
        if changes:
            commit(world, changes)

    world.source.on_read = disturb
    try:
        run_snapshot(world.pipeline(), world.source.create(table))
    finally:
        world.source.on_read = lambda: None
