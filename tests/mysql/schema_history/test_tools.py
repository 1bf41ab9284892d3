"""What gh-ost and pt-online-schema-change do is one change of the real table."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from itertools import count
from typing import Any

import pytest

from resources.model.change import UNDECODABLE, LogSlice, TableNotice
from resources.model.position import BinlogPosition, ServerIdentity
from resources.model.table import TableId
from resources.mysql.binlog.bodies import Query
from resources.mysql.binlog.ddl import TableEffect, statement_notices
from resources.mysql.binlog.sql_tokens import ServerKind
from resources.mysql.catalog import TablePatterns
from resources.mysql.schema_history.apply import Shapes, apply_statement
from resources.mysql.schema_history.history import SchemaHistory
from tests.mysql.binlog.log import rows_of
from tests.mysql.room import Room
from tests.mysql.schema_history.recorded import BEFORE, Run, play, run_of, runs
from tests.mysql.schema_history.stage import kept_after
from tests.mysql.schema_history.tools import repeat, tools

KINDS = {"mysql": ServerKind("mysql", 90704), "mariadb": ServerKind("mariadb", 101119)}
ORIGINS = {
    "add": ("id", "", "a", "b"),
    "drop": ("id", "b"),
    "drop-old": ("id", "b"),
    "modify": ("id", "a", "b"),
    "change": ("id", "a", "b"),
    "rename": ("id", "a", "b"),
    "default": ("id", "a", "b", ""),
    "anew": ("id", "b", "a"),
    "two-step": ("id", "a", "b", ""),
    "timestamp": ("", "id", "a", "b"),
    "named": ("id", "a", "b", ""),
    "checkpoint": ("id", "a", "b", ""),
    "keep-old": ("id", "a", "b", ""),
}
"""What the columns of each run's table were called before it."""
KEEP_ROWS = {"add", "drop-old", "two-step", "timestamp", "named", "checkpoint"}
"""Runs of gh-ost that change no value: columns without values, or fewer of them."""
NOTHING = {"no-swap", "no-swap-drop"}
SWAPS = [run for run in runs() if run.name in ORIGINS]


def _keeps_rows(run: Run) -> bool:
    return run.server == "mysql" and run.tool == "gh-ost" and run.name in KEEP_ROWS


def _told(run: Run) -> list[TableEffect]:
    """What a run's statements tell, of a catalog that had just the table before them."""
    kind, patterns = KINDS[run.server], TablePatterns(("rec.*",))
    identity = ServerIdentity(kind.flavor, "one")
    table = TableId("rec", "orders")
    blank = Shapes(kind, charsets={"rec": "utf8mb4"})
    (made,) = apply_statement(Query("rec", BEFORE), blank, patterns.match).tables
    assert made.after is not None
    history = SchemaHistory(kind, patterns.match, "rec.*", {}, lambda _: [(made.after, start)])
    start = BinlogPosition("binlog.000001", 4, "", identity)
    history.begin(start, [table], lambda: {"rec": "utf8mb4"})
    out: list[TableEffect] = []
    for at, sql in enumerate(run.statements("rec"), 5):
        query = Query("rec", sql)
        words = statement_notices(query, patterns.match, lambda: {table})
        out += history.follow(query, f"binlog.000001:{at}", words)
    return out


@pytest.mark.parametrize("run", SWAPS, ids=str)
def test_a_whole_run_is_one_change_of_the_real_table(run: Run) -> None:
    (effect,) = _told(run)
    assert (effect.table, effect.kind, effect.was) == (TableId("rec", "orders"), "alter", None)
    blank = Shapes(KINDS[run.server], charsets={"rec": "utf8mb4"})
    (then,) = apply_statement(Query("rec", run.then), blank, bool).tables
    assert then.after is not None
    assert effect.shape == then.after.schema, "as the server shows it"
    assert effect.origins == ORIGINS[run.name]
    assert effect.rewrites != _keeps_rows(run)


@pytest.mark.parametrize("run", [r for r in runs() if r.name in NOTHING], ids=str)
def test_a_copy_that_takes_no_place_is_nothing(run: Run) -> None:
    assert _told(run) == []


@pytest.mark.parametrize("run", [r for r in runs() if r.name == "new-name"], ids=str)
def test_a_copy_by_a_name_of_no_tool_is_a_table_that_is_renamed(run: Run) -> None:
    told = [(e.table.table, e.kind, e.rewrites) for e in _told(run)]
    copy = [("orders_fresh", "create", False), ("orders_fresh", "alter", False)]
    assert told[:2] == copy
    assert sorted(told[2:]) == [("orders", "rename", True), ("orders_fresh", "rename_away", True)]


def test_every_recording_is_of_a_run_that_is_judged() -> None:
    assert {run.name for run in runs()} == {*ORIGINS, *NOTHING, "new-name"}


def _notices(read: Sequence[LogSlice]) -> list[TableNotice]:
    notices = [notice for part in read for notice in part.notices]
    assert (notices[0].kind, notices[0].detail[:12]) == ("create", "CREATE TABLE")
    return notices[1:]


def _followed(read: Sequence[LogSlice], notice: TableNotice) -> list[dict[str, Any]]:
    """The rows that a target has which takes the notice at its word, by key."""
    rows: dict[Any, dict[str, Any]] = {}
    for part in read:
        changes = rows_of([part], "orders")
        told = notice in part.notices
        earlier = [row for row in changes if not told or row["_cdc_seq"] <= notice.seq]
        rows |= {row["id"]: _plain(row) for row in earlier}
        if told:
            rows = {key: _under_new_names(row, notice) for key, row in rows.items()}
        rows |= {row["id"]: _plain(row) for row in changes[len(earlier) :]}
    return [rows[key] for key in sorted(rows)]


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if not name.startswith("_cdc_")}


def _under_new_names(row: dict[str, Any], notice: TableNotice) -> dict[str, Any]:
    assert notice.shape is not None
    pairs = zip(notice.shape.names, notice.origins, strict=True)
    return {name: row[origin] if origin else None for name, origin in pairs}


def _there(room: Room) -> list[dict[str, Any]]:
    names = room.schema("orders").names
    connection = room.server.connect(database=room.database)
    with closing(connection), connection.cursor() as cursor:
        cursor.execute("SELECT * FROM orders ORDER BY id")
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _read(room: Room, run: Run, cut: int | None = None) -> list[LogSlice]:
    """What the log says of a run played anew; with a cut, read in two parts."""
    read: list[LogSlice] = []
    kept: dict[TableId, str] = {}
    ids = count(100)
    with closing(room.source()) as source:
        start = source.current_position()
        room.execute(BEFORE, "INSERT INTO orders VALUES (1, 'a1', 'b1'), (2, 'a2', 'b2')")
        for log in (run.log[:cut], run.log[cut:]) if cut is not None else (run.log,):
            play(room, log, ids)
            read += source.stream_changes(start, source.current_position(), bool, kept)
            start, kept = read[-1].end, kept_after(read, {})
    return read


@pytest.mark.parametrize(
    ("tool", "name", "cut"),
    [
        ("gh-ost", "add", 10),
        ("gh-ost", "drop-old", None),
        ("gh-ost", "two-step", 15),
        ("pt-online-schema-change", "change", None),
    ],
)
def test_a_target_that_follows_a_run_has_what_the_server_has(
    room: Room, tool: str, name: str, cut: int | None
) -> None:
    run = run_of(tool, room.kind, name)
    _require_followed(room, run, _read(room, run, cut))


def _require_followed(room: Room, run: Run, read: Sequence[LogSlice]) -> None:
    """Require one change of the real table, and that a target that follows it is right."""
    (notice,) = _notices(read)
    assert (notice.table.table, notice.kind) == ("orders", "alter")
    assert notice.rewrites != _keeps_rows(run)
    assert notice.shape == room.schema("orders")
    assert notice.origins == ORIGINS[run.name]
    assert not [n for part in read for n in part.notices if n.kind == UNDECODABLE]
    if notice.rewrites:  # old rows are read again
        return
    assert _followed(read, notice) == _there(room)


@pytest.mark.nightly
@pytest.mark.parametrize("name", sorted(ORIGINS))
@pytest.mark.parametrize("tool", tools())
def test_the_tools_still_do_what_was_recorded(room: Room, tool: str, name: str) -> None:
    for run in (r for r in SWAPS if (r.tool, r.server, r.name) == (tool, room.kind, name)):
        with closing(room.source()) as source:
            start = source.current_position()
            room.execute(BEFORE, "INSERT INTO orders VALUES (1, 'a1', 'b1'), (2, 'a2', 'b2')")
            repeat(run, room)
            room.execute("INSERT INTO orders (id) VALUES (5000)")
            read = list(source.stream_changes(start, source.current_position(), bool, {}))
        _require_followed(room, run, read)
