"""What gh-ost and pt-online-schema-change do is one change of the real table.

The statements are the tools' own, as their sources put them together.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

import pytest

from resources.model.change import UNDECODABLE, LogSlice, TableNotice
from resources.model.table import TableId
from tests.mysql.binlog.log import rows_of
from tests.mysql.room import Room
from tests.mysql.schema_history.stage import kept_after

ALTER = "ADD COLUMN c VARCHAR(10) NULL AFTER id, DROP COLUMN b"
TABLE = "CREATE TABLE orders (id INT PRIMARY KEY, a VARCHAR(10), b VARCHAR(10))"


def gh_ost_begins(database: str, alter: str) -> list[str]:
    return [
        f"drop /* gh-ost */ table if exists `{database}`.`_orders_gho`",
        f"drop /* gh-ost */ table if exists `{database}`.`_orders_del`",
        f"drop /* gh-ost */ table if exists `{database}`.`_orders_ghc`",
        f"create /* gh-ost */ table `{database}`.`_orders_ghc` ("
        " id bigint unsigned auto_increment, last_update timestamp not null DEFAULT"
        " CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, hint varchar(64) charset ascii not null,"
        " value varchar(4096) charset ascii not null, primary key(id), unique key hint_uidx(hint)"
        " ) auto_increment=256 comment='gh-ost'",
        f"create /* gh-ost */ table `{database}`.`_orders_gho` like `{database}`.`orders`",
        f"alter /* gh-ost */ table `{database}`.`_orders_gho` {alter}",
        f"insert /* gh-ost */ into `{database}`.`_orders_ghc` (id, hint, value) values"
        " (NULLIF(2, 0), 'state', 'GhostTableMigrated') on duplicate key update"
        " last_update=NOW(), value=VALUES(value)",
    ]


def gh_ost_copies(database: str, columns: str) -> str:
    return (
        f"insert /* gh-ost `{database}`.`orders` */ ignore into `{database}`.`_orders_gho`"
        f" ({columns}) (select {columns} from `{database}`.`orders` force index (`PRIMARY`)"
        " lock in share mode)"
    )


def gh_ost_ends(database: str) -> list[str]:
    return [
        f"create /* gh-ost */ table `{database}`.`_orders_del` ("
        " id int auto_increment primary key ) engine=InnoDB comment='ghost-cut-over-sentry'",
        f"drop /* gh-ost */ table if exists `{database}`.`_orders_del`",
        f"rename /* gh-ost */ table `{database}`.`orders` to `{database}`.`_orders_del`,"
        f" `{database}`.`_orders_gho` to `{database}`.`orders`",
        f"drop /* gh-ost */ table if exists `{database}`.`_orders_ghc`",
        f"drop /* gh-ost */ table if exists `{database}`.`_orders_del`",
    ]


def pt_osc(room: Room, alter: str, columns: str) -> list[str]:
    """pt-online-schema-change, which shows the table to itself first."""
    db, (create,) = room.database, _shown(room)
    new = create.replace("CREATE TABLE `orders`", f"CREATE TABLE `{db}`.`_orders_new`")
    prefix = f"pt_osc_{db}_orders"[:60]
    values = ", ".join(f"NEW.{name}" for name in columns.split(", "))
    begin = "FOR EACH ROW BEGIN DECLARE CONTINUE HANDLER FOR 1146 begin end; "
    delete = f"DELETE IGNORE FROM `{db}`.`_orders_new` WHERE "
    replace = f"REPLACE INTO `{db}`.`_orders_new` ({columns}) VALUES ({values})"
    return [
        new,
        f"ALTER TABLE `{db}`.`_orders_new` {alter}",
        f"CREATE TRIGGER `{prefix}_del` AFTER DELETE ON `{db}`.`orders` {begin}{delete}"
        f"`{db}`.`_orders_new`.`id` <=> OLD.`id`; END ",
        f"CREATE TRIGGER `{prefix}_upd` AFTER UPDATE ON `{db}`.`orders` {begin}{delete}"
        f"!(OLD.`id` <=> NEW.`id`) AND `{db}`.`_orders_new`.`id` <=> OLD.`id`; {replace}; END ",
        f"CREATE TRIGGER `{prefix}_ins` AFTER INSERT ON `{db}`.`orders` {begin}{replace};END ",
        f"INSERT LOW_PRIORITY IGNORE INTO `{db}`.`_orders_new` ({columns}) SELECT {columns} FROM"
        f" `{db}`.`orders` LOCK IN SHARE MODE /*pt-online-schema-change 7 copy table*/",
        "INSERT INTO orders (id, a, b) VALUES (4, 'a4', 'b4')",
        f"ANALYZE TABLE `{db}`.`_orders_new` /* pt-online-schema-change */",
        f"RENAME TABLE `{db}`.`orders` TO `{db}`.`_orders_old`,"
        f" `{db}`.`_orders_new` TO `{db}`.`orders`",
        f"DROP TABLE IF EXISTS `{db}`.`_orders_old`",
        f"DROP TRIGGER IF EXISTS `{db}`.`{prefix}_del`",
    ]


def _shown(room: Room) -> list[str]:
    session = room.server.connect(database=room.database)
    with closing(session), session.cursor() as cursor:
        cursor.execute("SHOW CREATE TABLE orders")
        return [row[1] for row in cursor.fetchall()]


def _read(room: Room, statements: Sequence[str], cut: int | None = None) -> list[LogSlice]:
    """What the log says of statements; with a cut, read in two parts, the first one at once."""
    read: list[LogSlice] = []
    kept: dict[TableId, str] = {}
    with closing(room.source()) as source:
        start = source.current_position()
        room.execute(TABLE, "INSERT INTO orders VALUES (1, 'a1', 'b1'), (2, 'a2', 'b2')")
        for part in (statements[:cut], statements[cut:]) if cut is not None else (statements,):
            room.execute(*part)
            read += source.stream_changes(start, source.current_position(), bool, kept)
            start, kept = read[-1].end, kept_after(read, {})
    return read


def _notices(read: Sequence[LogSlice]) -> list[TableNotice]:
    return [notice for part in read for notice in part.notices if notice.kind != "create"]


@pytest.mark.parametrize("cut", [None, 6, 9])
def test_gh_ost_is_one_change_without_loss_of_a_row(room: Room, cut: int | None) -> None:
    alter = "ADD COLUMN c VARCHAR(10) NULL AFTER id"
    statements = [
        *gh_ost_begins(room.database, alter),
        gh_ost_copies(room.database, "id, a, b"),
        "INSERT INTO orders VALUES (3, 'a3', 'b3')",
        gh_ost_copies(room.database, "id, a, b"),
        *gh_ost_ends(room.database),
        "INSERT INTO orders VALUES (4, 'c4', 'a4', 'b4')",
    ]
    read = _read(room, statements, cut)
    assert [(n.table.table, n.kind, n.rewrites) for n in _notices(read)] == [
        ("orders", "alter", False)
    ]
    detail = _notices(read)[0].detail
    assert "(id int" in detail
    assert "c varchar(10), a varchar(10), b varchar(10))" in detail
    rows = [row for part in read for row in rows_of([part], "orders")]
    assert [row["id"] for row in rows] == [1, 2, 3, 4]
    assert rows[-1] == {**rows[-1], "c": "c4", "a": "a4", "b": "b4"}


@pytest.mark.parametrize(
    "alter", ["DROP COLUMN a, ADD COLUMN a VARCHAR(10) DEFAULT 'x'", "ADD UNIQUE (a)"]
)
def test_gh_ost_that_leaves_values_out_asks_for_the_table_again(room: Room, alter: str) -> None:
    statements = [
        *gh_ost_begins(room.database, alter),
        gh_ost_copies(room.database, "id, b"),
        *gh_ost_ends(room.database),
    ]
    (notice,) = _notices(_read(room, statements))
    assert (notice.kind, notice.rewrites) == ("alter", True)


def test_pt_online_schema_change_is_one_change_to_be_read_again(room: Room) -> None:
    """With `--where` or unsafe options it leaves rows out, and no statement of its says so."""
    room.execute(TABLE)
    statements = pt_osc(room, ALTER, "id, a")
    room.execute("DROP TABLE orders")
    read = _read(room, [*statements, "INSERT INTO orders VALUES (5, 'c5', 'a5')"])
    assert [(n.table.table, n.kind, n.rewrites) for n in _notices(read)] == [
        ("orders", "alter", True)
    ]
    assert not [n for part in read for n in part.notices if n.kind == UNDECODABLE]
    last = rows_of(read, "orders")[-1]
    assert {name: last[name] for name in ("id", "c", "a")} == {"id": 5, "c": "c5", "a": "a5"}
    assert "b" not in last
