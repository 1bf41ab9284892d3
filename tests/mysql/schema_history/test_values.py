"""ALTERs that change no value ask for no reread, and no other does without: measured on servers.

CDC_EXAMPLES sets how many random redefinitions per server are tried (8 in `make test`, 800 in
`make nightly`), CDC_SEED the first seed.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence

import pytest

from resources.model.table import TableId
from resources.mysql.binlog.bodies import Query
from resources.mysql.binlog.ddl import statement_notices
from resources.mysql.binlog.sql_tokens import ServerKind
from resources.mysql.schema_history.apply import Shapes, apply_statement
from resources.mysql.schema_history.tell import told_effect
from tests.mysql.random_ddl import RandomDdl
from tests.mysql.room import Room
from tests.mysql.schema_history.conversions import STRICT, Conversion, Outcome, outcomes
from tests.servers.family import FamilyServer

EXAMPLES = int(os.environ.get("CDC_EXAMPLES", "1"))
FIRST = int(os.environ.get("CDC_SEED", "1"))
PADDED, NO_ZEROS = "PAD_CHAR_TO_FULL_LENGTH", "NO_ZERO_DATE,NO_ZERO_IN_DATE"
ZONE = "Test/Summer"
TABLE = TableId("db", "t")

KEEPS = (
    ("INT", "BIGINT"), ("TINYINT", "SMALLINT"), ("MEDIUMINT", "INT"), ("INT UNSIGNED", "BIGINT"),
    ("SMALLINT UNSIGNED", "MEDIUMINT UNSIGNED"), ("INT(5) ZEROFILL", "BIGINT UNSIGNED"),
    ("BIGINT UNSIGNED", "BIGINT(9) UNSIGNED ZEROFILL"), ("TINYINT(1)", "TINYINT(4)"),
    ("DECIMAL(10,2)", "DECIMAL(14,4)"), ("DECIMAL(30,10)", "DECIMAL(65,20)"),
    ("DECIMAL(5,2) UNSIGNED", "DECIMAL(5,2)"), ("DECIMAL(7)", "DECIMAL(8)"),
    ("FLOAT", "DOUBLE"), ("FLOAT(7,3)", "DOUBLE"), ("FLOAT(7,3)", "FLOAT"), ("FLOAT", "FLOAT(30)"),
    ("DOUBLE(20,3)", "DOUBLE"), ("FLOAT UNSIGNED", "DOUBLE"),
    ("DATETIME", "DATETIME(6)"), ("DATETIME(3)", "DATETIME(4)"), ("TIME", "TIME(3)"),
    ("TIME(3)", "TIME(6)"),
    ("TIMESTAMP(3) NULL", "TIMESTAMP(4) NULL DEFAULT CURRENT_TIMESTAMP(4)"),
    ("TIMESTAMP NULL", "TIMESTAMP(6) NULL"),
    ("VARCHAR(20)", "VARCHAR(50)"), ("VARCHAR(20)", "VARCHAR(300)"), ("VARCHAR(20)", "TINYTEXT"),
    ("VARCHAR(20)", "TEXT"), ("CHAR(20)", "CHAR(30)"), ("TINYTEXT", "MEDIUMTEXT"),
    ("MEDIUMTEXT", "LONGTEXT"), ("VARBINARY(20)", "VARBINARY(300)"), ("VARBINARY(20)", "BLOB"),
    ("TINYBLOB", "LONGBLOB"), ("VARCHAR(50) COLLATE utf8mb4_bin", "VARCHAR(50)"),
    ("VARCHAR(20) CHARACTER SET utf8mb3", "VARCHAR(20)"), ("TEXT CHARACTER SET utf8mb3", "TEXT"),
    ("VARCHAR(20) CHARACTER SET latin1", "TEXT"), ("TEXT CHARACTER SET latin1", "MEDIUMTEXT"),
    ("CHAR(9) CHARACTER SET latin1", "CHAR(9)"), ("LONGTEXT CHARACTER SET latin1", "LONGTEXT"),
    ("INT", "INT COMMENT 'x' DEFAULT 5 FIRST"), ("INT NOT NULL", "INT INVISIBLE"),
    ("YEAR", "YEAR"), ("DATE", "DATE"), ("BIT(9)", "BIT(9)"), ("BINARY(7)", "BINARY(7)"),
)  # fmt: skip
"""Definitions that keep every value, in every mode."""
UNPADDED = (("CHAR(20)", "VARCHAR(20)"), ("CHAR(20)", "TEXT"), ("CHAR(20)", "VARCHAR(40)"))
"""Those that keep every value unless CHAR is read with its blanks."""
STRICTLY = (
    ("ENUM('a','b')", "ENUM('a','b','c')"), ("ENUM('a','b')", "ENUM('c','b','a')"),
    ("ENUM('b','2','12')", "ENUM('2','12','b','')"),
    ("ENUM('a','A') COLLATE utf8mb4_bin", "ENUM('A','b','a') COLLATE utf8mb4_bin"),
    ("ENUM('a','b') COLLATE utf8mb4_bin", "ENUM('a','b')"),
    ("ENUM('a','o') CHARACTER SET latin1", "ENUM('a','日','o') CHARACTER SET utf8mb4"),
    ("SET('a','b')", "SET('a','b','c')"), ("SET('b','a')", "SET('b','a')"),
    ("INT NOT NULL DEFAULT 7", "BIGINT NOT NULL"), ("VARCHAR(9) NOT NULL", "VARCHAR(10) NOT NULL"),
    *((f"VARCHAR(20) CHARACTER SET {name}", "VARCHAR(20)")
      for name in ("ucs2", "utf16", "utf32", "koi8r", "cp866", "tis620", "big5", "cp932",
                   "eucjpms", "euckr", "gb2312", "gbk", "sjis", "ujis")),
)  # fmt: skip
"""Those that keep every value in strict mode, where what would not is refused."""
CHANGES = (
    ("INT", "SMALLINT"), ("INT", "INT UNSIGNED"), ("INT UNSIGNED", "INT"), ("INT", "VARCHAR(20)"),
    ("VARCHAR(20)", "INT"), ("INT", "DECIMAL(20)"), ("DECIMAL(10,2)", "DECIMAL(10,4)"),
    ("DECIMAL(10,2)", "DECIMAL(12,1)"), ("DECIMAL(9,2)", "DECIMAL(9,2) UNSIGNED"),
    ("DOUBLE", "FLOAT"), ("FLOAT", "DOUBLE(20,3)"), ("DOUBLE", "DOUBLE UNSIGNED"),
    ("DATE", "DATETIME"), ("DATETIME", "TIMESTAMP NULL"), ("DATETIME(6)", "DATETIME(3)"),
    ("VARCHAR(20)", "VARCHAR(19)"), ("VARCHAR(20)", "CHAR(20)"), ("TEXT", "VARCHAR(20)"),
    ("TEXT", "TINYTEXT"), ("VARCHAR(20)", "VARBINARY(80)"), ("BINARY(5)", "BINARY(6)"),
    ("BLOB", "BLOB COLLATE utf8mb4_bin"),
    ("VARCHAR(300)", "TINYTEXT"), ("VARBINARY(20)", "VARCHAR(20)"), ("BLOB", "TEXT"),
    ("TEXT CHARACTER SET latin1", "TEXT"), ("VARCHAR(20)", "VARCHAR(20) CHARACTER SET latin1"),
    ("ENUM('a','b')", "ENUM('a')"), ("SET('a','b')", "SET('b','a')"), ("ENUM('a')", "CHAR(1)"),
    ("TIMESTAMP NULL", "TIMESTAMP NOT NULL"), ("TIMESTAMP(3) NULL", "TIMESTAMP(2) NULL"),
    ("TEXT", "LONGTEXT CHARACTER SET binary"),
    ("INT", "BIGINT AUTO_INCREMENT UNIQUE"), ("INT", "INT AS (1) STORED"), ("BIT(3)", "BIT(9)"),
    ("INT AS (1) STORED", "BIGINT AS (1) STORED"), ("POINT", "GEOMETRY"), ("JSON", "INT"),
)  # fmt: skip
"""Definitions that change values, or may, in strict mode too."""


def _redefine(
    pairs: Sequence[tuple[str, str]], mode: str, rest: str = "", legal: bool = False
) -> Conversion:
    return Conversion(tuple(pairs), mode, rest, legal=legal)


def _summer(server: FamilyServer) -> None:
    """Let a server know a zone with a summer that ends on 31 October 2021."""
    server.execute(
        "DELETE FROM mysql.time_zone_name WHERE Name = 'Test/Summer'",
        *(f"DELETE FROM mysql.{name} WHERE Time_zone_id = 777"
          for name in ("time_zone", "time_zone_transition", "time_zone_transition_type")),
        "INSERT INTO mysql.time_zone VALUES (777, 'N')",
        "INSERT INTO mysql.time_zone_name VALUES ('Test/Summer', 777)",
        "INSERT INTO mysql.time_zone_transition_type VALUES (777, 0, 3600, 0, 'CET'),"
        " (777, 1, 7200, 1, 'CEST')",
        "INSERT INTO mysql.time_zone_transition VALUES (777, 1616893200, 1), (777, 1635642000, 0)",
    )  # fmt: skip


def _wrong(found: Sequence[Outcome]) -> list[Outcome]:
    return [o for o in found if o.changed and not o.refused and not o.reread]


def test_definitions_that_keep_every_value_ask_for_no_reread(
    mysql_family: FamilyServer, family_db: str
) -> None:
    _summer(mysql_family)
    found = outcomes(
        Room(mysql_family, family_db),
        [
            _redefine([*KEEPS, *UNPADDED, *STRICTLY], STRICT, legal=True),
            _redefine([*KEEPS, *UNPADDED], "", _COPY),
            _redefine(KEEPS, f"{PADDED},{NO_ZEROS}"),
            _redefine([("VARCHAR(20)", "TEXT"), ("TEXT CHARACTER SET latin1", "")], "", _CONVERT),
        ],
    )  # fmt: skip
    assert [(o.refused, o.changed, o.reread) for o in found] == [("", (), False)] * len(found)


_COPY = ", ALGORITHM=COPY"
_CONVERT = ", CONVERT TO CHARACTER SET utf8mb4"


def test_numbers_given_by_the_server_stay_and_zeros_are_not_numbered_unseen(
    mysql_family: FamilyServer, family_db: str
) -> None:
    room = Room(mysql_family, family_db)
    numbered = "INT UNSIGNED NOT NULL AUTO_INCREMENT UNIQUE"
    grown = ("BIGINT UNSIGNED NOT NULL AUTO_INCREMENT", "BIGINT UNSIGNED NOT NULL")
    pairs = [*((numbered, after) for after in grown), ("INT UNSIGNED NOT NULL, KEY (c0)", grown[0])]
    found = outcomes(room, [_redefine([pair], STRICT) for pair in pairs])
    assert [(o.refused, o.reread) for o in found] == [("", False), ("", False), ("", True)]
    assert [bool(o.changed) for o in found] == [False, False, True]


def test_timestamps_copied_by_a_time_with_two_meanings_ask_for_a_reread(
    mysql_family: FamilyServer, family_db: str
) -> None:
    _summer(mysql_family)
    stamp, grown = ("TIMESTAMP(3) NULL", ""), ("TIMESTAMP NULL", "TIMESTAMP(3) NULL")
    parts = [
        ((("INT", "BIGINT"), stamp), ""),
        ((grown,), ""),
        ((("INT", ""), stamp), _COPY[1:]),
        ((("INT", ""), stamp), "PARTITION BY HASH (id) PARTITIONS 2"),
        ((stamp,), "ADD COLUMN n INT"),
    ]
    room = Room(mysql_family, family_db)
    found = outcomes(room, [Conversion(pairs, zone=ZONE, rest=rest) for pairs, rest in parts])
    assert not _wrong(found), _wrong(found)
    assert [(o.refused, o.reread) for o in found] == [
        ("", room.kind == "mysql" and "ADD" not in o.conversion.rest) for o in found
    ]
    quiet = outcomes(room, [Conversion(pairs, rest=rest) for pairs, rest in parts[:3]])
    assert [(o.refused, o.changed, o.reread) for o in quiet] == [("", (), False)] * len(quiet)


def _effect(before: str, alter: str, mode: int, kind: ServerKind) -> bool:
    """Whether an ALTER of a table that a statement made asks for a reread."""
    shapes = Shapes(kind, charsets={"db": "utf8mb4"})
    create = Query("db", f"CREATE TABLE t (id INT PRIMARY KEY, c {before})")
    [made] = apply_statement(create, shapes, lambda _: True).tables
    assert made.after is not None, made
    shapes = Shapes(kind, {TABLE: made.after}, {"db": "utf8mb4"})
    query = Query("db", alter, sql_mode=mode)
    [effect] = statement_notices(query, lambda _: True, lambda: [TABLE])
    [change] = apply_statement(query, shapes, lambda _: True).tables
    return told_effect(effect, change, shapes, query).rewrites


@pytest.mark.parametrize("kind", [ServerKind("mysql", 90_700), ServerKind("mariadb", 101_100)])
def test_definitions_that_may_change_values_ask_for_a_reread(kind: ServerKind) -> None:
    strict = 1 << 22
    for before, after in CHANGES:
        assert _effect(before, f"ALTER TABLE t MODIFY c {after}", strict, kind), (before, after)
    for before, after in STRICTLY:
        loose = _effect(before, f"ALTER TABLE t MODIFY c {after}", 0, kind)
        assert loose == ("ENUM" in after or "SET" in before), (before, after)
    for before, after in [("INT", "INT NOT NULL"), *KEEPS]:
        ignored = f"ALTER IGNORE TABLE t MODIFY c {after}"
        assert _effect(before, ignored, strict, kind), "rows and values may be left out"
    for before, after in UNPADDED:
        assert _effect(before, f"ALTER TABLE t MODIFY c {after}", strict | 1 << 31, kind)
    assert _effect("INT", "ALTER TABLE t MODIFY c INT NOT NULL", 0, kind)
    assert not _effect("INT", "ALTER TABLE t MODIFY c INT NOT NULL", 1 << 21, kind)
    computed = "INT, g INT AS (c + 1)"
    assert _effect(computed, "ALTER TABLE t MODIFY c BIGINT", strict, kind), "g is computed anew"
    both = "ALTER TABLE t MODIFY c {}, ADD d {}"
    assert not _effect("INT", both.format("BIGINT", "INT DEFAULT 5"), strict, kind)
    assert _effect("INT", both.format("SMALLINT", "INT DEFAULT 5"), strict, kind)
    assert _effect("INT", both.format("BIGINT", "DOUBLE DEFAULT 0.1"), strict, kind)
    swapped = "ALTER TABLE t CHANGE c d BIGINT, ADD c VARCHAR(20) FIRST, RENAME COLUMN id TO i"
    assert not _effect("INT", swapped, strict, kind)


def _random(server: FamilyServer, seed: int) -> Conversion:
    rnd = random.Random(seed)
    types = [t for t in RandomDdl(rnd, server.kind, lambda _: ()).types if "POINT" not in t]
    alike = rnd.choice(["", "CHAR", "TEXT", "INT", "DEC", "FLOAT DOUBLE", "BLOB BIN", "TIME"])
    chosen = [t for t in types if not alike or any(w in t for w in alike.split())]
    before, after = rnd.choice(chosen), rnd.choice(chosen)
    after += rnd.choice(["", "", "", " NOT NULL", " COLLATE utf8mb4_bin", " FIRST"])
    mode = rnd.choice(["", STRICT, STRICT, PADDED, f"{PADDED},{STRICT}", NO_ZEROS, "ANSI,REAL"])
    rest = rnd.choice(["", "", ", ALGORITHM=COPY", _CONVERT, ", ADD x INT"])
    zone = rnd.choice(["+00:00", ZONE])
    return Conversion(((before, after),), mode.replace("REAL", "REAL_AS_FLOAT"), rest, zone)


def test_no_random_definition_changes_a_value_without_asking_for_a_reread(
    mysql_family: FamilyServer, family_db: str
) -> None:
    _summer(mysql_family)
    room = Room(mysql_family, family_db)
    for batch in range(EXAMPLES):
        seeds = range((FIRST + batch) * 8, (FIRST + batch + 1) * 8)
        found = outcomes(room, [_random(mysql_family, seed) for seed in seeds])
        assert not _wrong(found), _wrong(found)


@pytest.mark.nightly
@pytest.mark.parametrize("mode", ["", STRICT, PADDED, NO_ZEROS, f"{STRICT},{NO_ZEROS}"])
def test_no_definition_changes_a_value_without_asking_for_a_reread(
    mysql_family: FamilyServer, family_db: str, mode: str
) -> None:
    pairs = [*KEEPS, *UNPADDED, *STRICTLY, *CHANGES]
    room = Room(mysql_family, family_db)
    found = outcomes(room, [_redefine([pair], mode) for pair in pairs])
    assert not _wrong(found), _wrong(found)
