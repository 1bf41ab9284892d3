"""Log files without a server, of one that names no columns: tables come with their CREATE TABLE."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from resources.model.change import UNDECODABLE, LogSlice
from resources.mysql.log_files_source import BinlogFilesSource
from tests.mysql.room import Room
from tests.mysql.schema_history.stage import kept_after


def _rows(slices: Sequence[LogSlice]) -> list[tuple[Any, ...]]:
    found = [row for part in slices for b in part.batches for row in b.rows.to_pylist()]
    return [(row["id"], row["a"], row["b"]) for row in found]


def test_tables_are_followed_from_their_create_on_and_over_a_restart(
    room: Room, tmp_path: Path
) -> None:
    room.execute("CREATE TABLE old (id INT PRIMARY KEY, a INT)", "FLUSH BINARY LOGS")
    room.execute(
        "CREATE TABLE IF NOT EXISTS old (id INT PRIMARY KEY, b INT)",
        "CREATE TABLE t (id INT PRIMARY KEY, a INT, b INT) CHARACTER SET utf8mb4",
        "INSERT INTO t VALUES (1, 2, 3)",
        "INSERT INTO old VALUES (1, 2)",
        "ALTER TABLE t MODIFY b INT AFTER id",
        "FLUSH BINARY LOGS",
        "INSERT INTO t (id, a, b) VALUES (2, 4, 5)",
    )
    names = [row[0] for row in room.server.execute("SHOW BINARY LOGS")][-2:]
    for name in names:
        shutil.copy(room.server.datadir / name, tmp_path)
    files = BinlogFilesSource(str(tmp_path), pipeline="p", include=[f"{room.database}.*"])
    start, end = files.start_position(), files.current_position()
    second = replace(start, file=names[1], gtid_set="")
    first = list(files.stream_changes(start, second, bool))
    notices = [n for part in first for n in part.notices if n.kind == UNDECODABLE]
    assert [(n.table, n.rewrites) for n in notices] == [(room.table("old"), True)]
    assert "no CREATE TABLE came of" in notices[0].detail
    assert _rows(first) == [(1, 2, 3)]
    rest = list(files.stream_changes(first[-1].end, end, bool, kept_after(first, {})))
    assert _rows(rest) == [(2, 4, 5)]
