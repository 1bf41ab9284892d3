"""Tables with a feature each, changed at random: how tests prove that target = f(source).

In: features. Out: `Bench`, which changes the tables, loads and merges them, and compares every
target with what the source server makes of its table by the same words.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cdc_assets.engine.routing import OWNER
from cdc_assets.engine.rules import Transforms
from tests.e2e import child
from tests.e2e.features import FUNCTIONS, FUNCTIONS_FILE, Feature, Row
from tests.e2e.room import NIGHTLY, Line
from tests.mysql.room import tcp_settings
from tests.servers.family import FamilyServer

SEEDS = [1, *(pytest.param(n, marks=NIGHTLY) for n in range(2, 12))]
KILLS = ("apply.before_merge", "apply.after_commit", "capture.after_commit", "sink.before_commit")


class Bench(Line):
    """Tables of one shape with a feature each, and one pipeline over all of them.

    Args:
        server: The source server.
        database: An empty database on it.
        home: Folder of the pipeline.
        features: The features.
        options: Engine options beside the features' rules.
        columns: The tables' columns.
        values: What random changes put into them.
        seed: Makes the changes repeatable.
    """

    def __init__(
        self,
        server: FamilyServer,
        database: str,
        home: Path,
        features: Sequence[Feature],
        options: Mapping[str, Any],
        columns: Mapping[str, str],
        values: Mapping[str, Callable[[random.Random], str]],
        seed: int,
    ) -> None:
        functions = home / FUNCTIONS_FILE
        functions.write_text(FUNCTIONS)
        rules = tuple(
            replace(f.rule, functions=str(functions) if f.rule.functions else "")
            for f in features
            if f.rule is not None
        )
        rest = {"transforms": Transforms(rules), "segment_rows": 60, "apply_rows": 40}
        super().__init__(
            server, child.Setup(tcp_settings(server), database, home, {**rest, **options})
        )
        self.features, self.values = features, values
        self.tables = tuple(table for f in features for table in f.tables)
        self.random = random.Random(seed)
        shape = ", ".join(f"`{name}` {type_}" for name, type_ in columns.items())
        self.execute(*(f"CREATE TABLE {table} ({shape})" for table in self.tables))

    def change(self, count: int) -> None:
        """Change every table so many times at random, keys included."""
        self.execute(*(self._statement(t) for t in self.tables for _ in range(count)))

    def check(self) -> None:
        """Every target is what its feature says."""
        for one in self.features:
            self._check(one)

    def _statement(self, table: str) -> str:
        rnd = self.random
        key, kind = rnd.randrange(12), rnd.randrange(6)
        row = {name: value(rnd) for name, value in self.values.items()}
        if kind < 2:
            listed = ", ".join([str(key), str(rnd.randrange(40)), *row.values()])
            return f"INSERT IGNORE INTO {table} VALUES ({listed})"
        if kind == 2:
            return f"DELETE FROM {table} WHERE id = {key}"
        keys = {"id": str(rnd.randrange(12)), "code": str(rnd.randrange(40))}
        names = rnd.sample([*row, *keys], rnd.choice((1, 2, 4)))
        changed = ", ".join(f"`{name}` = {(row | keys)[name]}" for name in names)
        return f"UPDATE IGNORE {table} SET {changed} WHERE id = {key}"

    def _selected(self, one: Feature, where: str) -> list[Row]:
        rows: list[Row] = []
        for table in one.tables:
            part = one.select.replace("{table}", table.rpartition("_")[2])
            rows += self.select(f"SELECT {part} FROM {table} WHERE {where}")
        return [one.finish(row) for row in rows]

    def _check(self, one: Feature) -> None:
        expected = self._selected(one, f"({one.where}) AND NOT IFNULL({one.aside}, FALSE)")
        wanted = Counter(map(_comparable, expected))
        refused = {
            row["id"]
            for table in one.tables
            for row in self.select(f"SELECT id FROM {table} WHERE ({one.where}) AND ({one.aside})")
        }
        for name in one.targets:
            rows = self.target(name.replace("{db}", self.database)).to_pylist()
            found = Counter(_comparable(row) for row in rows if not row.get(one.deleted))
            assert not (missing := wanted - found), f"{name}: missing {missing}"
            # What is set aside may be there as it was before.
            extra = [dict(row) for row in (found - wanted).elements()]
            assert all(row.get("id") in refused for row in extra), f"{name}: extra {extra}"
        with self.pipeline() as pipeline:
            dirty = [r for t in one.tables for r in pipeline.dirty.open_rows(self.table(t))]
        aside = {json.loads(row.key)["id"] for row in dirty}
        assert aside == refused, f"{one.tables}: {aside} are set aside, {refused} should be"


def _comparable(row: Row) -> tuple[Any, ...]:
    return tuple(
        (name, int(value) if isinstance(value, bool) else value)
        for name, value in sorted(row.items())
        if name != OWNER
    )


def run_history(bench: Bench) -> None:
    """Snapshots in the middle of changes, runs that are killed, and a table read again."""
    bench.change(20)
    bench.load(*bench.tables)
    for kill in KILLS:
        bench.change(12)
        # In the middle: some tables are in, some are not.
        count = 1 if kill.startswith("capture") else (len(bench.tables) + 1) // 2
        assert bench.is_killed(kill, count), f"no run came to {kill}"
        bench.change(4)
        bench.sync()
    bench.check()
    bench.load(*bench.tables)  # over what the log made
    bench.change(5)
    bench.sync()
    bench.check()
