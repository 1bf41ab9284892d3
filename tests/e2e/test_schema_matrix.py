"""Every schema event under every policy, on real servers, with crashes at the steps between.

All tables of a run are born while they are captured, changed in turns with rows in between, and
followed by one pipeline whose policy differs by table. `make nightly` runs every server with every
sink and kills processes; `make test` runs each server and each sink once.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from cdc_assets.engine.run import run_sync
from cdc_assets.engine.schema_policy import PolicyRule, PolicyWord, SchemaPolicy
from resources.failpoints import FailpointReached
from resources.model.table import TableId
from resources.sinks.contract import Sink, TargetId
from tests.armed import armed
from tests.e2e import child
from tests.e2e.schema_cases import CASES, SchemaCase
from tests.mysql.room import tcp_settings
from tests.sinks.postgres_room import room as room

WORDS: tuple[PolicyWord, ...] = get_args(PolicyWord)
FIRST_KILLS = (
    ("apply.before_alter", 2),
    ("apply.after_alter", 3),
    ("apply.before_truncate", 1),
    ("copy.before_alter", 1),
    ("copy.before_finish", 2),
    ("copy.after_finish", 1),
)
LATER_KILLS = (("apply.after_commit", 3), ("sink.before_commit", 5))
Rows = dict[Any, dict[str, Any]]


class Matrix:
    """Every case under every policy: one table each, in one database, one pipeline."""

    def __init__(self, server: Any, database: str, home: Path, postgres: str) -> None:
        self.server, self.database = server, database
        born = PolicyRule("evolve", "*.*", frozenset({"create_table"}))
        rules = (born, *(PolicyRule(word, f"*.*__{word}") for word in WORDS))
        policy = SchemaPolicy("lenient", rules)
        options = {"policy": policy, "segment_rows": 5000, "sink_hold": 60.0}
        self.setup = child.Setup(tcp_settings(server), database, home, options, postgres=postgres)
        self.tables = {f"{c.name}__{word}": (c, word) for c in CASES for word in WORDS}

    def execute(self, statements: Iterator[str] | list[str]) -> None:
        connection = self.server.connect(database=self.database)
        with connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def sync(self) -> dict[str, tuple[str, str]]:
        """Sync once; returns outcome and reason by table."""
        pipeline = child.open_pipeline(self.setup)
        try:
            report = run_sync(pipeline)
            return {t.table: (r.outcome, r.reason) for t, r in report.tables.items()}
        finally:
            pipeline.close()

    def crash(self, kill: str, count: int) -> bool:
        """Sync until a named point was reached that many times; returns whether it was."""
        try:
            with armed(f"{kill}:raise:{count}"):
                self.sync()
        except FailpointReached:
            return True
        return False

    def states(self) -> dict[str, str]:
        pipeline = child.open_pipeline(self.setup)
        try:
            return {t.table: s.status for t, s in pipeline.tables.all().items()}
        finally:
            pipeline.close()

    def apply_held(self) -> None:
        """Decide that everything held is applied, until nothing is."""
        for _ in range(5):
            pipeline = child.open_pipeline(self.setup)
            try:
                held = pipeline.changes.held()
                for change in held:
                    assert pipeline.changes.decide(change.id, "applied", "Ann", "as planned")
            finally:
                pipeline.close()
            if not held:
                return
            self.sync()
        raise AssertionError(f"still held: {held}")

    def dirty(self, table: str) -> set[int]:
        """Keys of the rows set aside."""
        pipeline = child.open_pipeline(self.setup)
        try:
            rows = pipeline.dirty.open_rows(table=TableId(self.database, table))
            return {json.loads(row.key)["id"] for row in rows}
        finally:
            pipeline.close()

    def source(self, table: str) -> Rows:
        connection = self.server.connect(database=self.database)
        with connection, connection.cursor() as cursor:
            cursor.execute(f"SELECT * FROM `{table}`")
            names = [d[0] for d in cursor.description]
            rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        return {_key(row): row for row in rows}

    def target(self, sink: Sink, table: str) -> tuple[set[str], Rows] | None:
        target = TargetId(self.database, table)
        if sink.read_schema(target) is None:
            return None
        found = sink.read_table(target)
        rows = {_key(row): row for row in found.to_pylist()}
        assert len(rows) == found.num_rows, f"{table} has a key twice"
        return set(found.column_names), rows


def _key(row: dict[str, Any]) -> Any:
    return (row["id"], row["a"]) if row.get("b") == "second of 1" else row["id"]


NIGHTLY = pytest.mark.nightly


@pytest.fixture(
    params=[
        "mysql-duckdb",
        "mariadb-postgres",
        pytest.param("mysql-postgres", marks=NIGHTLY),
        pytest.param("mariadb-duckdb", marks=NIGHTLY),
    ]
)
def matrix(request: pytest.FixtureRequest, tmp_path: Path) -> Matrix:
    kind, _, sink = request.param.partition("-")
    server = request.getfixturevalue(kind)
    database = request.getfixturevalue(f"{kind}_db")
    url = ""
    if sink == "postgres":
        room = request.getfixturevalue("room")
        url = room.url(room.database("matrix"))
    return Matrix(server, database, tmp_path, url)


@pytest.mark.timeout(600)
def test_every_event_under_every_policy_with_crashes_between(matrix: Matrix) -> None:
    matrix.sync()  # the log begins before the tables are made
    matrix.execute(f"CREATE TABLE {t} {case.base}" for t, (case, _) in matrix.tables.items())
    matrix.execute(f"INSERT INTO {t} VALUES {case.rows}" for t, (case, _) in matrix.tables.items())
    matrix.sync()
    assert set(matrix.states().values()) == {"live"}, "tables are taken from their CREATE on"
    crashes = 0
    for step in range(max(len(case.statements) for case in CASES)):
        for table, (case, _) in matrix.tables.items():
            matrix.execute([s.format(t=table) for s in case.statements[step : step + 1]])
        for kill, count in LATER_KILLS if step else FIRST_KILLS:
            crashes += matrix.crash(kill, count)
        matrix.sync()
    assert crashes >= 7, "too few runs were crashed for this test to mean anything"
    _check(matrix, {"held": "hold", "stopped": "exception"})
    matrix.apply_held()
    matrix.sync()
    _check_decided(matrix)


def _check(matrix: Matrix, waiting: dict[str, str]) -> None:
    states = matrix.states()
    with contextlib.closing(child.open_sink(matrix.setup)) as sink:
        for table, (case, word) in matrix.tables.items():
            state, found = states[table], matrix.target(sink, table)
            if state in waiting and word == waiting[state]:
                assert found is not None, table
                assert set(found[1]) == {1, 2, 3}, f"{table}: {found[1]}"
                continue
            CHECKS[word](matrix, table, case, state, found)


def _check_decided(matrix: Matrix) -> None:
    """What was held and then applied is as if the policy had been to follow."""
    with contextlib.closing(child.open_sink(matrix.setup)) as sink:
        for table, (case, word) in matrix.tables.items():
            if word == "hold":
                found = matrix.target(sink, table)
                exactly_the_source(matrix, table, case, matrix.states()[table], found)


def exactly_the_source(
    matrix: Matrix, table: str, case: SchemaCase, state: str, found: Any
) -> None:
    if case.dropped:
        assert (state, found) == ("dropped", None), table
        return
    assert state == "live", f"{table}: {state}"
    source = matrix.source(table)
    columns, rows = found
    if case.name != "made_anew":
        assert columns == set(next(iter(source.values()))), table
    assert rows == source, table


def everything_of_the_source_and_more(
    matrix: Matrix, table: str, case: SchemaCase, state: str, found: Any
) -> None:
    columns, rows = found
    if case.name == "to_text":  # no type holds INT and VARCHAR
        assert (state, set(rows)) == ("held", {1, 2, 3}), table
        return
    if case.dropped:
        assert (state, set(rows)) == ("dropped", {1, 2, 3}), table
        return
    assert state == "live", f"{table}: {state}"
    assert set(case.gone) <= columns, table
    source = matrix.source(table)
    assert {k: _only(row, source[k]) for k, row in rows.items()} == source, table
    if case.name == "drop":
        assert [rows[k]["a"] for k in (1, 2, 4)] in ([10, 20, None], [None, 20, None]), table
    if case.name == "rename":
        assert rows[1]["b"] == "x1", table


def as_it_was(matrix: Matrix, table: str, case: SchemaCase, state: str, found: Any) -> None:
    columns, rows = found
    if case.dropped:
        assert (state, set(rows)) == ("dropped", {1, 2, 3}), table
        return
    assert state == "live", f"{table}: {state}"
    assert not set(case.new) & columns, table
    assert set(case.gone) <= columns, table
    source = matrix.source(table)
    if case.name == "truncate":
        assert set(rows) == {1, 2, 3, 9}, table
        return
    aside = matrix.dirty(table)
    assert bool(aside) == (case.name in ("widen", "to_text")), f"{table}: {aside}"
    for key in source.keys() - aside:
        common = columns & set(source[key])
        assert {c: rows[key][c] for c in common} == {c: source[key][c] for c in common}, table
    assert rows.keys() - source.keys() <= aside, table


def stopped(matrix: Matrix, table: str, case: SchemaCase, state: str, found: Any) -> None:
    # Changes that touch no column's name, type or key go on.
    assert case.event in ("reorder_columns", "alter_nullability"), f"{table}: {state}"
    exactly_the_source(matrix, table, case, state, found)


CHECKS: dict[PolicyWord, Any] = {
    "evolve": exactly_the_source,
    "try_evolve": exactly_the_source,
    "lenient": everything_of_the_source_and_more,
    "ignore": as_it_was,
    "exception": stopped,
    "hold": stopped,
}


def _only(row: dict[str, Any], like: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in like}
