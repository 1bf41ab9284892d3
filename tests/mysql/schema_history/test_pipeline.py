"""A pipeline on a server whose log names no columns, from snapshot to target, through kills."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.e2e import child
from tests.e2e.room import Line
from tests.mysql.room import tcp_settings
from tests.servers.family import FamilyServer

KILLS = ("capture.before_commit", "capture.after_commit", "segment.after_rename")


@pytest.fixture
def line(nameless: FamilyServer, family_db: str, tmp_path: Path) -> Line:
    # Tables wait to be read again, so that the tests see which ones had to be.
    setup = child.Setup(tcp_settings(nameless), family_db, tmp_path, {"reread": False})
    line = Line(nameless, setup)
    line.execute(
        "CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(10), b VARCHAR(10))",
        "CREATE TABLE u (id INT PRIMARY KEY, e ENUM('x','y'), n BIGINT UNSIGNED)",
        "INSERT INTO t VALUES (1, 'a1', 'b1'), (2, 'a2', 'b2')",
        "INSERT INTO u VALUES (1, 'x', 18446744073709551615)",
    )
    line.load("t", "u")
    return line


def test_ddl_and_kills_between_end_equal(line: Line) -> None:
    rows = iter(range(10, 1000))

    def change() -> None:
        for _ in range(3):
            number = next(rows)
            line.execute(
                f"INSERT INTO t (id, b, a) VALUES ({number}, 'b{number}', 'a{number}')",
                f"UPDATE t SET a = 'new', b = 'other' WHERE id = {number - 2}",
                f"INSERT INTO u (id, n, e) VALUES ({number}, {number}, 'y')",
                f"DELETE FROM u WHERE id = {number - 3}",
            )

    change()
    for kill in KILLS:
        line.execute("ALTER TABLE t ADD INDEX (b)", "ALTER TABLE u ALTER n SET DEFAULT 3")
        change()
        line.execute("DROP INDEX b ON t", "CREATE TABLE IF NOT EXISTS v (id INT PRIMARY KEY)")
        change()
        assert line.is_killed(kill)
        change()
        outcomes = line.outcomes()
        assert {outcomes[table][0] for table in "tu"} == {"applied"}, outcomes
        line.require_equal("t", "u")
    # Columns of one type change places: no table map shows it.
    line.execute("ALTER TABLE t MODIFY a VARCHAR(10) AFTER b", "ALTER TABLE u ADD m INT FIRST")
    change()
    assert line.is_killed("capture.after_commit")
    change()
    line.sync()
    line.load("t", "u")
    change()
    outcomes = line.outcomes()
    assert {outcomes[table][0] for table in "tu"} == {"applied"}
    line.require_equal("t", "u")


def test_a_table_altered_behind_the_log_stops_alone_and_shows_both_shapes(line: Line) -> None:
    line.execute("INSERT INTO t VALUES (3, 'a3', 'b3')")
    line.sync()
    line.execute("SET sql_log_bin = 0", "ALTER TABLE t ADD COLUMN c INT")
    line.execute("INSERT INTO t VALUES (4, 'a4', 'b4', 4)", "INSERT INTO u VALUES (2, 'y', 2)")
    outcomes = line.outcomes()
    outcome, reason = outcomes["t"]
    assert outcome == "needs_snapshot"
    assert "cannot be decoded: another number of columns: by its history it is (id int" in reason
    assert "a varchar(10), b varchar(10)), the log has (long, varchar(" in reason
    assert outcomes["u"][0] == "applied"
    line.require_equal("u")
    line.load("t")
    line.execute("UPDATE t SET c = 5, a = 'x'", "INSERT INTO u VALUES (3, 'x', 3)")
    outcomes = line.outcomes()
    assert {outcomes[table][0] for table in "tu"} == {"applied"}
    line.require_equal("t", "u")


def test_what_was_captured_by_an_edited_file_is_not_followed_behind_its_back(line: Line) -> None:
    """A table left out for a while may have become another one meanwhile."""
    line.execute("INSERT INTO t VALUES (3, 'a3', 'b3')")
    line.sync()
    others = replace(line.setup, tables="u")
    line.execute("ALTER TABLE t MODIFY a VARCHAR(10) AFTER b", "INSERT INTO u VALUES (2, 'y', 2)")
    assert child.run(others, "sync")
    line.execute("INSERT INTO t VALUES (4, 'b4', 'a4')", "INSERT INTO u VALUES (3, 'y', 2)")
    line.sync()
    line.load("t")
    line.execute("INSERT INTO t VALUES (5, 'b5', 'a5')")
    assert line.outcomes()["t"][0] == "applied"
    line.require_equal("t", "u")
