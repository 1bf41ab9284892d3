"""A table that gets another name: one event, followed as the policy says, and nothing mixed."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdc_assets.engine.schema_policy import EventWord, PolicyRule, PolicyWord, SchemaPolicy
from resources.stores.schema_changes import SchemaChange
from tests.e2e import child
from tests.e2e.room import Line
from tests.mysql.room import tcp_settings
from tests.servers.family import FamilyServer

MAKE = "(id INT PRIMARY KEY, v VARCHAR(20))"


@pytest.fixture
def line(mysql: FamilyServer, mysql_db: str, tmp_path: Path) -> Line:
    return Line(mysql, child.Setup(tcp_settings(mysql), mysql_db, tmp_path))


def make(line: Line, *tables: str) -> None:
    for table in tables:
        line.execute(f"CREATE TABLE {table} {MAKE}", f"INSERT INTO {table} VALUES (1, '{table}')")
    line.load(*tables)


def follow(line: Line, word: PolicyWord, *rules: tuple[PolicyWord, str, EventWord]) -> None:
    """Set the policy: a word for all, and words for tables' single events."""
    named = (PolicyRule(w, f"*.{table}", frozenset({event})) for w, table, event in rules)
    line.configure(policy=SchemaPolicy(word, tuple(named)))


def recorded(line: Line) -> dict[str, SchemaChange]:
    """What is on record of renames, by the table's name."""
    with line.pipeline() as pipeline:
        found = [c for c in pipeline.changes.list() if c.event == "rename_table"]
    assert len({c.table for c in found}) == len(found)
    return {c.table.table: c for c in found}


def rename(line: Line, how: str, old: str, new: str) -> None:
    line.execute(f"UPDATE {old} SET v = 'before'", how.format(old, new))
    line.execute(f"INSERT INTO {new} VALUES (2, 'after')")


def test_the_new_name_is_read_and_the_old_target_stays(line: Line) -> None:
    make(line, "a", "b", "other")
    rename(line, "RENAME TABLE {} TO {}", "a", "c")
    rename(line, "ALTER TABLE {} RENAME TO {}", "b", "d")
    gone = {"a": "dropped", "b": "dropped"}
    assert line.followed() == {**gone, "c": "live", "d": "live", "other": "live"}
    changes = recorded(line)
    for old, new in ("ac", "bd"):
        assert line.rows(new) == line.loadable(new)
        assert line.rows(old) == [{"id": 1, "v": "before"}]
        names = (str(line.table(old)), str(line.table(new)))
        assert (changes[old].before, changes[old].after, changes[old].state) == (*names, "ignored")
        assert (changes[new].before, changes[new].after) == names
    line.execute("UPDATE c SET v = 'later'")
    assert line.followed()["c"] == "live"
    assert line.rows("c") == line.loadable("c")


def test_evolve_does_to_the_old_target_what_dropping_does(line: Line) -> None:
    follow(line, "evolve", ("lenient", "b", "drop_table"))
    make(line, "a", "b")
    rename(line, "RENAME TABLE {} TO {}", "a", "c")
    rename(line, "RENAME TABLE {} TO {}", "b", "d")
    assert line.followed() == {"a": "dropped", "b": "dropped", "c": "live", "d": "live"}
    assert (line.has("a"), line.has("b")) == (False, True)
    assert [line.rows(t) for t in "cd"] == [line.loadable(t) for t in "cd"]


def test_what_is_held_waits_under_both_names_until_it_is_applied_or_skipped(line: Line) -> None:
    follow(line, "lenient", ("hold", "*", "rename_table"))
    make(line, "a", "b")
    rename(line, "RENAME TABLE {} TO {}", "a", "c")
    rename(line, "RENAME TABLE {} TO {}", "b", "d")
    assert line.followed() == dict.fromkeys("abcd", "held")
    assert {name: change.state for name, change in recorded(line).items()} == line.states()
    assert [line.has(t) for t in "cd"] == [False, False]
    assert line.rows("a") == [{"id": 1, "v": "before"}]
    with line.pipeline() as pipeline:
        for change in pipeline.changes.held():
            state = "applied" if change.table.table in "ac" else "skipped"
            assert pipeline.changes.decide(change.id, state, "Ann", "so")  # type: ignore[arg-type]
    skipped = {"b": "dropped", "d": "needs_snapshot"}
    assert line.followed() == {"a": "dropped", "c": "live", **skipped}
    assert {t: line.has(t) for t in "abcd"} == {"a": False, "b": True, "c": True, "d": False}
    line.load("d")
    assert [line.rows(t) for t in "cd"] == [line.loadable(t) for t in "cd"]


def test_ignore_leaves_both_alone_and_exception_stops_both(line: Line) -> None:
    words: tuple[PolicyWord, ...] = ("ignore", "exception")
    follow(line, "lenient", *((w, f"{w}_*", "rename_table") for w in words))
    make(line, *(f"{word}_old" for word in words))
    for word in words:
        rename(line, "RENAME TABLE {} TO {}", f"{word}_old", f"{word}_new")
    assert line.followed() == {
        "ignore_old": "dropped",
        "ignore_new": "needs_snapshot",
        "exception_old": "stopped",
        "exception_new": "stopped",
    }
    for word in words:
        assert (line.has(f"{word}_old"), line.has(f"{word}_new")) == (True, False)


def test_two_tables_that_change_names_are_never_mixed(line: Line) -> None:
    words: tuple[PolicyWord, ...] = ("lenient", "evolve", "ignore")
    line.configure(policy=SchemaPolicy("hold", tuple(PolicyRule(w, f"*.{w}_*") for w in words)))
    pairs = {word: (f"{word}_a", f"{word}_b") for word in words}
    make(line, *(table for pair in pairs.values() for table in pair))
    for a, b in pairs.values():
        line.execute(
            f"INSERT INTO {a} VALUES (2, 'x')", f"RENAME TABLE {a} TO x, {b} TO {a}, x TO {b}"
        )
        line.execute(f"INSERT INTO {a} VALUES (3, 'y')", f"UPDATE {b} SET v = 'z' WHERE id = 2")
    states, changes = line.followed(), recorded(line)
    for word in ("lenient", "evolve"):
        for table in pairs[word]:
            assert (states[table], changes[table].state) == ("live", "applied"), table
            assert line.rows(table) == line.loadable(table)
    a, b = pairs["ignore"]
    assert (states[a], states[b]) == ("needs_snapshot", "needs_snapshot")
    assert line.rows(a) == [{"id": 1, "v": a}, {"id": 2, "v": "x"}]
    assert line.rows(b) == [{"id": 1, "v": b}]
