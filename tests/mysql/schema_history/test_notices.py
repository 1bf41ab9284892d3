"""What every statement form tells of the tables it is about, against the server's catalog."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

import pytest

from resources.model.change import TableNotice
from resources.model.table import TableId, TableSchema
from resources.mysql.source import MySQLSource
from tests.mysql.room import Room, settings_for
from tests.mysql.schema_history.stage import kept_after
from tests.servers.family import FamilyServer

ONE, TWO, OUT = "forms_one", "forms_two", "forms_out"
MAKE = (
    "CREATE TABLE a (id INT PRIMARY KEY, v VARCHAR(10), n INT)",
    "INSERT INTO a VALUES (1, 'x', 2)",
    "CREATE TABLE b (id INT PRIMARY KEY, w INT)",
)

Told = tuple[str, str, bool, str, str]
"""Of a notice: table, kind, whether it rewrites, origins (`*` for as they were), its other name."""


@dataclass(frozen=True)
class Form:
    """A statement and what is told of it; `Told` is shortened from the right."""

    sql: str
    told: tuple[tuple[object, ...], ...]
    only: str = ""


def _form(sql: str, *told: tuple[object, ...], only: str = "") -> Form:
    return Form(sql, told, only)


ALTERS = (
    _form("ALTER TABLE a ADD COLUMN w INT AFTER id", ("a", "alter", False, "id  v n")),
    _form("ALTER TABLE a ADD f INT NULL FIRST, ADD g INT", ("a", "alter", False, " id w v n ")),
    _form("ALTER TABLE a RENAME COLUMN v TO v2", ("a", "alter", False, "f id w v n g")),
    _form("ALTER TABLE a CHANGE v2 v3 VARCHAR(30) FIRST", ("a", "alter", False, "v2 f id w n g")),
    _form(
        "ALTER TABLE a RENAME COLUMN f TO w, RENAME COLUMN w TO f",
        ("a", "alter", False, "v3 f id w n g"),
    ),
    _form(
        "ALTER TABLE a RENAME COLUMN f TO f2, MODIFY w INT",
        ("a", "alter", False, "v3 w id f n g"),
    ),
    _form("ALTER TABLE a RENAME COLUMN f2 TO f", ("a", "alter", False, "v3 w id f2 n g")),
    _form("ALTER TABLE a CHANGE f w INT, CHANGE w f INT", ("a", "alter", False, "v3 w id f n g")),
    _form("ALTER TABLE a MODIFY n BIGINT AFTER v3", ("a", "alter", False, "v3 n f id w g")),
    _form("ALTER TABLE a MODIFY g SMALLINT", ("a", "alter", True, "*")),
    _form("ALTER TABLE a DROP COLUMN w, DROP g", ("a", "alter", False, "v3 n f id")),
    _form("ALTER TABLE a ADD d INT NOT NULL DEFAULT 5", ("a", "alter", False, "v3 n f id ")),
    _form("ALTER TABLE a ADD (p INT, q INT)", ("a", "alter", False, "v3 n f id d  ")),
    _form("ALTER TABLE a DROP p, ADD p CHAR(5)", ("a", "alter", False, "v3 n f id d q ")),
    _form("CREATE UNIQUE INDEX i ON a (n)", ("a", "alter", False, "*")),
    _form("DROP INDEX i ON a", ("a", "alter", False, "*")),
    _form("ALTER TABLE a COMMENT 'more', ADD KEY (f)", ("a", "alter", False, "*")),
    _form("ALTER TABLE a DROP PRIMARY KEY, ADD PRIMARY KEY (id, d)", ("a", "alter", True, "*")),
    _form("TRUNCATE TABLE a", ("a", "truncate", True)),
    _form("ALTER TABLE a ADD IF NOT EXISTS q INT", ("a", "alter", False, "*"), only="mariadb"),
    _form("ALTER TABLE a DROP IF EXISTS zz", ("a", "alter", False, "*"), only="mariadb"),
)
TABLES = (
    _form("CREATE TABLE IF NOT EXISTS a (id INT)"),
    _form("CREATE TABLE IF NOT EXISTS c (id INT PRIMARY KEY)", ("c", "create", False)),
    _form("CREATE TABLE d LIKE a", ("d", "create", False)),
    _form("CREATE TABLE e (x INT) SELECT id, v FROM a", ("e", "create", False)),
    _form("CREATE TEMPORARY TABLE e (id INT)"),
    _form("CREATE OR REPLACE TABLE c (k INT PRIMARY KEY)", ("c", "create", True), only="mariadb"),
    _form("CREATE OR REPLACE TABLE c LIKE a", ("c", "create", True), only="mariadb"),
    _form(
        "ALTER TABLE a RENAME TO a2",
        ("a", "rename_away", True, "", "a2"),
        ("a2", "rename", True, "*", "a"),
    ),
    _form(
        "ALTER TABLE a2 RENAME a, ADD COLUMN z INT FIRST",
        ("a", "rename", True, " id v n", "a2"),
        ("a2", "rename_away", True, "", "a"),
    ),
    _form(
        "RENAME TABLE b TO b2, a TO b",
        ("a", "rename_away", True, "", "b"),
        ("b", "rename", True, "*", "a"),
        ("b2", "rename", True, "*", "b"),
    ),
    _form(
        "RENAME TABLE b TO x, b2 TO b, x TO b2",
        ("b", "rename", True, "*", "b2"),
        ("b2", "rename", True, "*", "b"),
    ),
    _form(
        "RENAME TABLE b TO x, x TO y",
        ("b", "rename_away", True, "", "y"),
        ("y", "rename", True, "*", "b"),
    ),
    _form("RENAME TABLE y TO x, x TO y", ("y", "rename", True)),
    _form(
        f"RENAME TABLE y TO {TWO}.y, b2 TO y",
        ("b2", "rename_away", True, "", "y"),
        ("y", "rename", True, "*", "b2"),
        ("two.y", "rename", True, "*", "y"),
    ),
    _form(f"RENAME TABLE d TO {OUT}.d", ("d", "rename_away", True)),
    _form(f"RENAME TABLE {OUT}.d TO d", ("d", "rename", True, "")),
    _form(
        f"ALTER TABLE d RENAME {TWO}.d",
        ("d", "rename_away", True, "", "two.d"),
        ("two.d", "rename", True, ""),
    ),
    _form("DROP TABLE IF EXISTS nowhere, y", ("y", "drop", True)),
    _form("DROP TABLE IF EXISTS nowhere"),
    _form("CREATE TABLE nowhere (id INT PRIMARY KEY)", ("nowhere", "create", False)),
    _form(f"DROP DATABASE {TWO}", ("two.d", "drop", True), ("two.y", "drop", True)),
)


@pytest.fixture(params=["MINIMAL", pytest.param("FULL", marks=pytest.mark.nightly)])
def metadata(request: pytest.FixtureRequest, mysql_family: FamilyServer) -> Iterator[FamilyServer]:
    """A server that names columns in its log, and one that does not."""
    value = request.param
    if value == "MINIMAL" and mysql_family.kind == "mariadb":
        value = "NO_LOG"
    mysql_family.execute(f"SET GLOBAL binlog_row_metadata = {value}")
    try:
        yield mysql_family
    finally:
        mysql_family.execute("SET GLOBAL binlog_row_metadata = FULL")


@pytest.fixture
def rooms(metadata: FamilyServer) -> Iterator[Room]:
    """Two captured databases and one that is not, with tables."""
    names = (ONE, TWO, OUT)
    drop = [f"DROP DATABASE IF EXISTS {name}" for name in names]
    metadata.execute(*drop, *(f"CREATE DATABASE {name}" for name in names))
    room = Room(metadata, ONE)
    room.execute(*MAKE)
    yield room
    metadata.execute(*drop)


@dataclass(frozen=True)
class Step:
    """A form that ran: the captured tables before and after, and what was told."""

    form: Form
    before: Mapping[TableId, TableSchema]
    after: Mapping[TableId, TableSchema]
    notices: Sequence[TableNotice]


def _source(server: FamilyServer) -> MySQLSource:
    include = [f"{ONE}.*", f"{TWO}.*"]
    return MySQLSource(settings_for(server), pipeline="test", include=include)


def _steps(room: Room, forms: Sequence[Form]) -> list[Step]:
    """Run forms on a pipeline that has read the tables before, and read all that was told."""
    ran = [form for form in forms if form.only in ("", room.kind)]
    with closing(_source(room.server)) as source:
        ends, tables = [source.current_position()], [source.read_schemas(source.list_tables())]
        kept = kept_after(list(source.stream_changes(ends[0], ends[0], bool, {})), {})
        for form in ran:
            room.execute(form.sql)
            ends.append(source.current_position())
            tables.append(source.read_schemas(source.list_tables()))
        slices = list(source.stream_changes(ends[0], ends[-1], bool, kept))
    assert not [row for part in slices for row in part.rejected]
    told: list[list[TableNotice]] = [[] for _ in ran]
    offsets = [end.offset for end in ends]
    for notice in (n for part in slices for n in part.notices):
        at = bisect_left(offsets, int(notice.position.rpartition(":")[2]))
        told[at - 1].append(notice)
    return [Step(*facts) for facts in zip(ran, tables, tables[1:], told, strict=False)]


def _name(table: TableId) -> str:
    return f"two.{table.table}" if table.database == TWO else table.table


def _require_told(step: Step) -> None:
    loud = [n for n in step.notices if n.rewrites or n.shape or n.kind != "alter"]
    told = sorted((_name(n.table), n.kind, n.rewrites, n.origins, _other_name(n)) for n in loud)
    assert len(told) == len(step.form.told), (step.form.sql, told)
    for found, wanted in zip(told, sorted(step.form.told, key=str), strict=True):
        assert found[:3] == wanted[:3], step.form.sql
        if len(wanted) > 3 and wanted[3] != "*":
            assert " ".join(found[3]) == wanted[3], step.form.sql
        assert found[4] == (wanted[4] if len(wanted) > 4 else None), step.form.sql


def _other_name(notice: TableNotice) -> str | None:
    other = notice.was or notice.now
    return None if other is None else _name(other)


def _require_as_catalog(step: Step) -> None:
    """Require the catalog's own shape of every notice, and a notice of every table that changed."""
    for notice in step.notices:
        if notice.kind in ("drop", "rename_away"):
            assert notice.table not in step.after, step.form.sql
        elif notice.shape is not None:
            assert notice.shape == step.after[notice.table], step.form.sql
            before = step.before.get(notice.was or notice.table)
            assert len(notice.origins) in (0, len(notice.shape.columns)), step.form.sql
            if before is not None and notice.kind != "create":
                assert set(notice.origins) - {""} <= set(before.names), step.form.sql
    shown = {n.table for n in step.notices if n.shape is not None or n.rewrites}
    for table in {*step.before, *step.after}:
        same = step.before.get(table) == step.after.get(table)
        assert same or table in shown, (step.form.sql, table)


@pytest.mark.parametrize("forms", [ALTERS, TABLES], ids=["alters", "tables"])
def test_notices_tell_what_the_catalog_says_after_each_statement(
    rooms: Room, forms: Sequence[Form]
) -> None:
    for step in _steps(rooms, forms):
        _require_told(step)
        _require_as_catalog(step)
        if any(told[3:4] == ("*",) for told in step.form.told):
            assert all(
                notice.origins == notice.shape.names for notice in step.notices if notice.shape
            ), step.form.sql
