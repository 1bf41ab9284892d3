"""Tables for schema cases under policies, one each, in one database and one pipeline."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import get_args

from cdc_assets.engine.run import run_sync
from cdc_assets.engine.schema_policy import QUIET_EVENTS, PolicyRule, PolicyWord, SchemaPolicy
from resources.sinks.contract import TargetId
from tests.e2e import child
from tests.e2e.room import Line
from tests.e2e.schema_cases import ARRIVED, CASES, SchemaCase
from tests.e2e.schema_checks import CHECKS, End, Rows, by_key, follows, target_of
from tests.mysql.room import tcp_settings
from tests.servers.family import FamilyServer

WORDS: tuple[PolicyWord, ...] = get_args(PolicyWord)


class Matrix(Line):
    """Every case under every policy.

    Args:
        server: The source server.
        database: An empty database on it.
        home: Folder of the pipeline.
        postgres: URL of the target; a DuckDB file if empty.
        cases: The cases.
    """

    def __init__(
        self,
        server: FamilyServer,
        database: str,
        home: Path,
        postgres: str = "",
        cases: Sequence[SchemaCase] = CASES,
    ) -> None:
        options = {"policy": _policy(cases), "segment_rows": 5000, "sink_hold": 60.0}
        super().__init__(
            server,
            child.Setup(
                tcp_settings(server), database, home, options, postgres=postgres, stops=True
            ),
        )
        self.tables = {f"{c.name}__{word}": (c, word) for c in cases for word in WORDS}
        self.before: dict[str, Rows] = {}

    def begin(self) -> None:
        """Take the tables from their CREATE on."""
        self.sync()  # the log begins before the tables are made
        born = {t: case for t, (case, _) in self.tables.items() if case.base}
        self.execute(*(f"CREATE TABLE {t} {case.base}" for t, case in born.items()))
        self.execute(*(f"INSERT INTO {t} VALUES {case.rows}" for t, case in born.items()))
        self.sync()
        states = self.states()
        assert states == dict.fromkeys(born, "live"), "tables are taken from their CREATE on"
        self.before = self._sources()

    def step(self, number: int) -> bool:
        """Run the statement of that number of every case; whether any has one."""
        statements = [
            case.statements[number].format(t=table)
            for table, (case, _) in self.tables.items()
            if number < len(case.statements)
        ]
        self.execute(*statements)
        return bool(statements)

    def check(self) -> None:
        """Every table is what its policy wants."""
        for end in self._ends():
            CHECKS[end.word](end)

    def decide(self) -> None:
        """Apply everything held, until nothing is; all of it is as if the policy had followed."""
        for _ in range(5):
            with self.pipeline() as pipeline:
                held = pipeline.changes.held()
                for change in held:
                    assert pipeline.changes.decide(change.id, "applied", "Ann", "as planned")
                run_sync(pipeline)
            if not held:
                break
        assert not held, f"still held: {held}"
        for end in self._ends():
            if end.word == "hold":
                follows(end)

    def _ends(self) -> list[End]:
        states, aside, sources = self.states(), self._aside(), self._sources()
        ends = []
        with self.sink() as sink:
            for table, case, word in self._names():
                target = TargetId(self.database, table)
                found = None if sink.read_schema(target) is None else sink.read_table(target)
                rows, columns = target_of(found, table)
                end = End(
                    table,
                    case,
                    word,
                    states.get(table, ""),
                    sources.get(table, {}),
                    self.before.get(table, {}),
                    rows,
                    columns,
                    frozenset(aside.get(table, ())),
                )
                ends.append(end)
        return ends

    def _names(self) -> Iterator[tuple[str, SchemaCase, PolicyWord]]:
        """Every table there was, under all of its names."""
        for table, (case, word) in self.tables.items():
            yield table, case, word
            if case.becomes:
                yield case.becomes.format(t=table), ARRIVED, word

    def _aside(self) -> Mapping[str, set[int]]:
        found: dict[str, set[int]] = {}
        with self.pipeline() as pipeline:
            for row in pipeline.dirty.open_rows():
                found.setdefault(row.table.table, set()).add(json.loads(row.key)["id"])
        return found

    def _sources(self) -> dict[str, Rows]:
        found = {}
        connection = self.server.connect(database=self.database)
        with connection, connection.cursor() as cursor:
            cursor.execute("SHOW TABLES")
            for (table,) in cursor.fetchall():
                cursor.execute(f"SELECT * FROM `{table}`")
                names = [d[0] for d in cursor.description]
                rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
                found[table] = by_key(rows, table)
        return found


def _policy(cases: Sequence[SchemaCase]) -> SchemaPolicy:
    """Each table's last word is its policy; a case of a quiet event names it."""
    born = [
        PolicyRule("evolve", f"*.{case.name}__*", frozenset({"create_table"}))
        for case in cases
        if case.base
    ]
    named = [
        PolicyRule(word, f"*.{case.name}__{word}", frozenset({case.event}))
        for case in cases
        if case.event in QUIET_EVENTS
        for word in WORDS
    ]
    plain = [PolicyRule(word, f"*.*__{word}") for word in WORDS]
    return SchemaPolicy("lenient", (*born, *named, *plain))
