"""Single promises of a stream whose log does not name its columns."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Any

import pymysql
import pytest

from resources.errors import UnsupportedEvent
from resources.model.change import LogSlice
from tests.mysql.binlog.log import rows_of
from tests.mysql.room import Room


def _read(room: Room, *statements: str) -> list[LogSlice]:
    with closing(room.source()) as source:
        start = source.current_position()
        room.execute(*statements)
        return list(source.stream_changes(start, source.current_position(), bool))


def _values(slices: Sequence[LogSlice], table: str) -> list[dict[str, Any]]:
    return [
        {name: value for name, value in row.items() if not name.startswith("_cdc_")}
        for row in rows_of(slices, table)
    ]


@pytest.mark.parametrize("image", ["MINIMAL", "NOBLOB"])
def test_rows_that_lack_columns_are_refused_all_the_same(room: Room, image: str) -> None:
    room.execute(
        "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(20), b TEXT)",
        "INSERT INTO t VALUES (1, 'secret', 'x')",
    )
    with pytest.raises(UnsupportedEvent) as error:
        _read(room, f"SET SESSION binlog_row_image = {image}", "UPDATE t SET v = 'other'")
    assert "binlog_row_image = FULL" in error.value.remedy
    assert "secret" not in str(error.value)


def test_row_metadata_may_change_at_any_time(room: Room) -> None:
    slices = _read(
        room,
        "CREATE TABLE t (id INT PRIMARY KEY, a INT)",
        "INSERT INTO t VALUES (1, 1)",
        "SET GLOBAL binlog_row_metadata = FULL",
        "INSERT INTO t VALUES (2, 2)",
        "ALTER TABLE t ADD COLUMN b INT FIRST",
        "INSERT INTO t VALUES (30, 3, 300)",
        "SET GLOBAL binlog_row_metadata = MINIMAL",
        "ALTER TABLE t RENAME COLUMN a TO c",
        "INSERT INTO t VALUES (40, 4, 400)",
    )
    assert _values(slices, "t") == [
        {"id": 1, "a": 1},
        {"id": 2, "a": 2},
        {"b": 30, "id": 3, "a": 300},
        {"b": 40, "id": 4, "c": 400},
    ]
    assert len({batch.schema.names for part in slices for batch in part.batches}) == 3


@pytest.mark.parametrize("metadata", ["FULL", "MINIMAL", "NO_LOG"])
def test_hashes_of_long_unique_keys_are_no_columns(
    mariadb: Any, mariadb_db: str, metadata: str
) -> None:
    """MariaDB logs them behind the columns of the table; no statement ever shows them."""
    room = Room(mariadb, mariadb_db)
    mariadb.execute(f"SET GLOBAL binlog_row_metadata = {metadata}")
    try:
        slices = _read(
            room,
            "CREATE TABLE t (id INT PRIMARY KEY, a TEXT UNIQUE, b VARCHAR(3000), UNIQUE (b, id))"
            " CHARACTER SET utf8mb4",
            "INSERT INTO t VALUES (1, 'x', 'y')",
            "ALTER TABLE t ADD COLUMN c INT",
            "UPDATE t SET c = 5, a = NULL",
            "ALTER TABLE t DROP INDEX a",
            "INSERT INTO t VALUES (2, 'z', NULL, 6)",
        )
        schema = room.schema("t")
    finally:
        mariadb.execute("SET GLOBAL binlog_row_metadata = FULL")
    assert _values(slices, "t") == [
        {"id": 1, "a": "x", "b": "y"},
        {"id": 1, "a": None, "b": "y", "c": 5},
        {"id": 2, "a": "z", "b": None, "c": 6},
    ]
    assert slices[-1].batches[-1].schema.fingerprint() == schema.fingerprint()


def test_settings_of_one_statement_do_not_hide_it(mariadb: Any, mariadb_db: str) -> None:
    room = Room(mariadb, mariadb_db)
    set_for = "SET STATEMENT max_statement_time = 100 FOR"
    try:
        room.execute("SET GLOBAL binlog_row_metadata = NO_LOG")
        slices = _read(
            room,
            f"{set_for} CREATE TABLE t (id INT PRIMARY KEY, a INT, b INT)",
            "INSERT INTO t VALUES (1, 2, 3)",
            f"{set_for} ALTER TABLE t MODIFY b INT AFTER id",
            "INSERT INTO t (id, a, b) VALUES (2, 4, 5)",
            f"{set_for} TRUNCATE TABLE t",
        )
    finally:
        room.execute("SET GLOBAL binlog_row_metadata = FULL")
    assert _values(slices, "t") == [{"id": 1, "a": 2, "b": 3}, {"id": 2, "b": 5, "a": 4}]
    notices = [(n.kind, n.rewrites) for part in slices for n in part.notices]
    assert notices == [("create", False), ("alter", False), ("truncate", True)]


def test_an_alter_in_two_phases_takes_effect_once(mariadb: Any, mariadb_db: str) -> None:
    room = Room(mariadb, mariadb_db)
    swap = "ALTER TABLE t RENAME COLUMN a TO b, RENAME COLUMN b TO a"
    two_phases = "SET SESSION binlog_alter_two_phase = ON"
    try:
        room.execute("SET GLOBAL binlog_row_metadata = NO_LOG")
        slices = _read(
            room,
            "CREATE TABLE t (id INT PRIMARY KEY, a INT, b INT)",
            "INSERT INTO t VALUES (1, 2, 3)",
            two_phases,
            swap,
            "INSERT INTO t (id, a, b) VALUES (2, 4, 5)",
            swap + ", ALGORITHM=COPY",
            "INSERT INTO t (id, a, b) VALUES (3, 7, 7)",
        )
    finally:
        room.execute("SET GLOBAL binlog_row_metadata = FULL")
    assert _values(slices, "t") == [
        {"id": 1, "a": 2, "b": 3},
        {"id": 2, "b": 5, "a": 4},
        {"id": 3, "a": 7, "b": 7},
    ]
    kinds = [n.kind for part in slices for n in part.notices]
    assert kinds == ["create", "alter", "alter"]


def test_an_alter_taken_back_changes_nothing(mariadb: Any, mariadb_db: str) -> None:
    room = Room(mariadb, mariadb_db)
    failing = "ALTER TABLE t RENAME COLUMN a TO b, RENAME COLUMN b TO a, ADD UNIQUE (c)"
    try:
        room.execute("SET GLOBAL binlog_row_metadata = NO_LOG")
        with closing(room.source()) as source:
            start = source.current_position()
            room.execute(
                "CREATE TABLE t (id INT PRIMARY KEY, a INT, b INT, c INT)",
                "INSERT INTO t VALUES (1, 2, 3, 4), (2, 2, 3, 4)",
            )
            with pytest.raises(pymysql.err.IntegrityError):
                room.execute("SET SESSION binlog_alter_two_phase = ON", failing)
            room.execute("INSERT INTO t (id, a, b, c) VALUES (3, 5, 6, 7)")
            slices = list(source.stream_changes(start, source.current_position(), bool))
    finally:
        room.execute("SET GLOBAL binlog_row_metadata = FULL")
    assert [(row["a"], row["b"]) for row in _values(slices, "t")] == [(2, 3), (2, 3), (5, 6)]
    assert [n.kind for part in slices for n in part.notices] == ["create"]
