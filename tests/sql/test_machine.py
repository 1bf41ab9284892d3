"""Random writers against random rounds and crashes: in the end, each row exactly once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from tests.sql.conftest import Place, Reader, Session, place_on

EXAMPLES = {"sqlite": 25, "postgres": 15, "mysql": 10, "mariadb": 8, "oceanbase": 5}
WRITERS = st.integers(0, 2)


class Polling(RuleBasedStateMachine):
    """Three writers and a reader that may lose everything since its last slice."""

    place: Place
    number = 0

    def __init__(self) -> None:
        super().__init__()
        Polling.number += 1
        self.name = f"t{Polling.number}"
        self.place.create(self.name)
        self.writers = [self.place.session() for _ in range(3)]
        self.busy: set[int] = set()
        source = self.place.source(f"{self.place.schema}.{self.name}", page_rows=5)
        self.reader = Reader(source, f"{self.place.schema}.{self.name}")

    def writer(self, number: int) -> Session:
        # SQLite has one writer at a time.
        if self.place.kind == "sqlite" and self.busy:
            (number,) = self.busy
        self.busy.add(number)
        return self.writers[number]

    @rule(writer=WRITERS, rows=st.integers(1, 7))
    def insert(self, writer: int, rows: int) -> None:
        self.writer(writer).insert(rows, self.name)

    @rule(writer=WRITERS, jump=st.integers(2, 1000))
    def insert_explicit_id(self, writer: int, jump: int) -> None:
        session = self.writer(writer)
        # Far enough that other writers' open ids cannot collide with it.
        ahead = 10_000 * (1 + Polling.number) + jump
        greatest = session.run(f"SELECT COALESCE(MAX(id), 0) FROM {self.name}")[0][0]
        session.run(f"INSERT INTO {self.name} (id, a) VALUES ({greatest + ahead}, 2)")
        session.commit()
        self.busy.discard(self.writers.index(session))

    @rule(writer=WRITERS)
    def only_read(self, writer: int) -> None:
        if self.place.kind != "sqlite":
            self.writer(writer).run(f"SELECT COUNT(*) FROM {self.name}")

    @precondition(lambda self: self.busy)
    @rule(data=st.data())
    def commit(self, data: st.DataObject) -> None:
        self.end(data.draw(st.sampled_from(sorted(self.busy)))).commit()

    @precondition(lambda self: self.busy)
    @rule(data=st.data())
    def roll_back(self, data: st.DataObject) -> None:
        self.end(data.draw(st.sampled_from(sorted(self.busy)))).rollback()

    def end(self, number: int) -> Session:
        self.busy.discard(number)
        return self.writers[number]

    @rule()
    def read_round(self) -> None:
        self.reader.round()
        self.never_twice()

    @rule(slices=st.integers(0, 3))
    def read_and_crash(self, slices: int) -> None:
        self.reader.round(slices)
        self.never_twice()

    def never_twice(self) -> None:
        assert len(self.reader.ids) == len(set(self.reader.ids))

    def teardown(self) -> None:
        for number, session in enumerate(self.writers):
            session.commit() if number % 2 else session.rollback()
        for _ in range(3):
            self.reader.round()
        rows = self.place.run(f"SELECT id FROM {self.name} ORDER BY id")
        assert sorted(self.reader.ids) == [row[0] for row in rows]
        counted = self.reader.source.count_check(self.reader.position)
        assert counted.get(self.reader.table, 0) == len(rows)
        self.reader.source.close()
        for session in self.writers:
            session.close()


@pytest.fixture(params=sorted(EXAMPLES))
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Any, int]]:
    with place_on(request.param, request, tmp_path) as place:
        yield type("On", (Polling,), {"place": place}), EXAMPLES[request.param]


def test_every_row_exactly_once(machine: tuple[Any, int]) -> None:
    kind, examples = machine
    run_state_machine_as_test(
        kind,
        settings=settings(
            max_examples=examples,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
