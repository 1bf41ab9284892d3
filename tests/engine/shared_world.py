"""A scripted source whose change log several sinks in memory share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cdc_assets.engine.pipeline import Pipeline
from cdc_assets.engine.sharing import join_log
from resources.sinks.contract import Sink, TargetId
from resources.sinks.memory import MemorySink
from resources.stores.change_log import ChangeLog
from tests.engine.world import World


class SharedWorld(World):
    """Sinks by name: each is a pipeline `p__<name>` on the log `p`; the name `` is `p` itself.

    Args:
        path: Everything lies below it.
        sinks: Names of the sinks there are at first.
        options: Engine options.
    """

    def __init__(self, path: Path, sinks: Sequence[str] = ("one", "two"), **options: Any) -> None:
        super().__init__(path, **options)
        self.sinks = list(sinks)
        self.places: dict[str, str] = {}
        self.own: dict[str, dict[str, Any]] = {}

    def open(self, sink: str) -> Pipeline:
        """Open the pipeline of a sink as a run would, without making it known to the log."""
        names = {name: f"p__{name}" if name else "p" for name in self.sinks}
        return Pipeline(
            names[sink],
            replace(self.options, **self.own.get(sink, {})),
            self.source,
            lambda: self.open_sink(sink),
            self.db,
            ChangeLog(self.db, "p", str(self.path / "log")),
            f"run{next(self.runs)}",
            place=self.place(sink),
            siblings=tuple(names[n] for n in self.sinks if n != sink),
        )

    def of(self, sink: str) -> Pipeline:
        """Open the pipeline of a sink, known to the log."""
        pipeline = self.open(sink)
        join_log(pipeline)
        return pipeline

    def place(self, sink: str) -> str:
        return self.places.get(sink, sink)

    def open_sink(self, sink: str) -> Sink:
        return MemorySink(f"{self.sink_name}-{self.place(sink)}", reject=self.reject)

    def held(self, sink: str, table: str) -> dict[int, str | None]:
        """Rows of a target by their key."""
        found = self.open_sink(sink).read_table(TargetId("db", table)).to_pylist()
        assert len({r["id"] for r in found}) == len(found)
        return {r["id"]: r["v"] for r in found}
