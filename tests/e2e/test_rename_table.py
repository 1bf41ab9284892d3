"""A table that gets another name: one event, followed as the policy says, and nothing mixed."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdc_assets.engine.schema_policy import PolicyRule, PolicyWord, SchemaPolicy
from resources.model.table import TableId
from resources.stores.schema_changes import SchemaChange
from tests.e2e.line import Line
from tests.servers.family import FamilyServer

MAKE = "(id INT PRIMARY KEY, v VARCHAR(20))"


@pytest.fixture
def line(mysql: FamilyServer, mysql_db: str, tmp_path: Path) -> Line:
    line = Line(mysql, mysql_db, tmp_path, "")
    line.configure(reread=True)
    for table in ("a", "b"):
        line.execute(f"CREATE TABLE {table} {MAKE}", f"INSERT INTO {table} VALUES (1, '{table}')")
    line.load("a", "b")
    return line


def follow(line: Line, word: PolicyWord, **events: PolicyWord) -> None:
    rules = [PolicyRule(w, events=frozenset({e})) for e, w in events.items()]  # type: ignore[arg-type]
    line.configure(policy=SchemaPolicy(word, tuple(rules)))


def recorded(line: Line) -> list[SchemaChange]:
    with line.pipeline() as pipeline:
        return [c for c in pipeline.changes.list() if c.event == "rename_table"]


def decide(line: Line, state: str) -> None:
    with line.pipeline() as pipeline:
        for change in pipeline.changes.held():
            assert pipeline.changes.decide(change.id, state, "Ann", "so")  # type: ignore[arg-type]


def rename(line: Line, how: str = "RENAME TABLE a TO c") -> dict[str, str]:
    line.execute("UPDATE a SET v = 'before'", how)
    line.execute("INSERT INTO c VALUES (2, 'after')")
    return line.sync()


@pytest.mark.parametrize("how", ["RENAME TABLE a TO c", "ALTER TABLE a RENAME TO c"])
def test_the_new_name_is_read_and_the_old_target_stays(line: Line, how: str) -> None:
    assert rename(line, how) == {"a": "dropped", "b": "live", "c": "live"}
    assert line.target("c") == line.source("c")
    assert line.target("a") == [{"id": 1, "v": "before"}]
    names = [str(TableId(line.database, name)) for name in "ac"]
    assert [(c.before, c.after, c.state) for c in recorded(line) if c.table.table == "a"] == [
        (*names, "ignored")
    ]
    assert all([c.before, c.after] == names for c in recorded(line))
    line.execute("UPDATE c SET v = 'later'")
    assert line.sync()["c"] == "live"
    assert line.target("c") == line.source("c")


@pytest.mark.parametrize(("drop", "left"), [("evolve", False), ("lenient", True)])
def test_evolve_does_to_the_old_target_what_dropping_does(
    line: Line, drop: PolicyWord, left: bool
) -> None:
    follow(line, "evolve", drop_table=drop)
    assert rename(line) == {"a": "dropped", "b": "live", "c": "live"}
    assert line.has("a") == left
    assert line.target("c") == line.source("c")


def test_what_is_held_waits_under_both_names(line: Line) -> None:
    follow(line, "lenient", rename_table="hold")
    assert rename(line) == {"a": "held", "b": "live", "c": "held"}
    assert (line.has("c"), line.target("a")) == (False, [{"id": 1, "v": "before"}])
    assert rename_states(line) == {"a": "held", "c": "held"}
    decide(line, "applied")
    assert line.sync() == {"a": "dropped", "b": "live", "c": "live"}
    assert not line.has("a"), "decided: the table is gone under its name"
    assert line.target("c") == line.source("c")


def test_what_is_skipped_is_left_out(line: Line) -> None:
    follow(line, "lenient", rename_table="hold")
    rename(line)
    decide(line, "skipped")
    assert line.sync() == {"a": "dropped", "b": "live", "c": "needs_snapshot"}
    assert (line.has("a"), line.has("c")) == (True, False)
    line.load("c")
    assert line.target("c") == line.source("c")


def test_ignore_leaves_both_alone_and_exception_stops_both(line: Line) -> None:
    follow(line, "lenient", rename_table="ignore")
    assert rename(line) == {"a": "dropped", "b": "live", "c": "needs_snapshot"}
    assert (line.has("a"), line.has("c")) == (True, False)
    follow(line, "lenient", rename_table="exception")
    line.execute("RENAME TABLE b TO d")
    states = line.sync()
    assert (states["b"], states["d"]) == ("stopped", "stopped")
    assert line.has("b")


def rename_states(line: Line) -> dict[str, str]:
    return {change.table.table: change.state for change in recorded(line)}


@pytest.mark.parametrize("word", ["lenient", "evolve", "ignore"])
def test_two_tables_that_change_names_are_never_mixed(line: Line, word: PolicyWord) -> None:
    follow(line, word)
    line.execute("INSERT INTO a VALUES (2, 'a')", "RENAME TABLE a TO x, b TO a, x TO b")
    line.execute("INSERT INTO a VALUES (3, 'of b')", "UPDATE b SET v = 'of a' WHERE id = 2")
    states = line.sync()
    if word == "ignore":
        assert states == {"a": "needs_snapshot", "b": "needs_snapshot"}
        assert line.target("a") == [{"id": 1, "v": "a"}, {"id": 2, "v": "a"}]
        assert line.target("b") == [{"id": 1, "v": "b"}]
        return
    assert states == {"a": "live", "b": "live"}
    assert [line.target(t) for t in "ab"] == [line.source(t) for t in "ab"]
    assert rename_states(line) == {"a": "applied", "b": "applied"}
