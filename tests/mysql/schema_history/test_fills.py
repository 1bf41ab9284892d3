"""What rows have in columns added with a value: told exactly, or the table is read again.

Every definition is tried on servers: the value a notice tells is what a SELECT gives for rows that
were there. CDC_EXAMPLES sets how many times 25 random definitions per server are tried (once in
`make test`, 100 times in `make nightly`), CDC_SEED the first seed.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pymysql

from resources.model.change import TableNotice
from resources.mysql.connection import connect
from resources.mysql.identifiers import quote_table
from resources.mysql.result_set import select_arrow, select_list
from resources.mysql.source import MySQLSource
from tests.mysql.room import Room
from tests.mysql.schema_history.stage import kept_after
from tests.servers.family import FamilyServer

EXAMPLES = int(os.environ.get("CDC_EXAMPLES", "1"))
FIRST = int(os.environ.get("CDC_SEED", "1"))
SURE = (
    "INT NOT NULL DEFAULT 7", "INT DEFAULT -7", "INT NOT NULL DEFAULT '42'", "INT NOT NULL",
    "TINYINT(1) NOT NULL DEFAULT 1", "BOOL DEFAULT TRUE", "BOOLEAN NOT NULL DEFAULT false",
    "TINYINT UNSIGNED DEFAULT 255", "MEDIUMINT NOT NULL DEFAULT '-8388608'", "SMALLINT NOT NULL",
    "BIGINT UNSIGNED NOT NULL DEFAULT 18446744073709551615", "BIGINT DEFAULT '9007199254740993'",
    "INT(5) ZEROFILL NOT NULL DEFAULT 42", "INT NULL", "INT DEFAULT NULL", "INT",
    "DECIMAL(10,2) NOT NULL DEFAULT '1.50'", "DECIMAL(65,30) NOT NULL",
    "DECIMAL(10,2) DEFAULT -0.5",
    "DECIMAL(5,5) DEFAULT 0.00001", "DECIMAL(12,3) UNSIGNED NOT NULL DEFAULT 123456789.123",
    "FLOAT NOT NULL", "DOUBLE NOT NULL", "BIT(9) NOT NULL DEFAULT b'101'", "BIT DEFAULT 1",
    "BIT(3) NOT NULL", "YEAR NOT NULL DEFAULT 2020", "YEAR DEFAULT '1999'",
    "VARCHAR(20) NOT NULL DEFAULT 'some text'", "VARCHAR(20) DEFAULT ''", "VARCHAR(20) NOT NULL",
    "CHAR(5) NOT NULL DEFAULT 'it''s'", "CHAR(5) NOT NULL", 'VARCHAR(9) DEFAULT "double"',
    "VARCHAR(20) CHARACTER SET latin1 DEFAULT 'abc'", "VARCHAR(8) CHARSET ucs2 DEFAULT 'abc'",
    "VARCHAR(9) COLLATE utf8mb4_bin NOT NULL DEFAULT 'X'", "TEXT NOT NULL", "LONGTEXT NOT NULL",
    "BLOB NOT NULL", "VARBINARY(9) NOT NULL", "VARBINARY(9) DEFAULT ''", "BINARY(3) NOT NULL",
    "ENUM('x','y z','it''s') NOT NULL", "ENUM('x','y z') NOT NULL DEFAULT 'y z'",
    "ENUM('a','b') DEFAULT 'b'", "SET('p','q','r') NOT NULL", "SET('p','q','r') DEFAULT 'p,r'",
    "SET('p','q') NOT NULL DEFAULT ''", "DATE NOT NULL DEFAULT '2020-02-29'",
    "DATE DEFAULT '9999-12-31'", "DATETIME NOT NULL DEFAULT '2020-01-01 02:03:04'",
    "DATETIME(6) DEFAULT '1000-01-01 00:00:00.000001'",
    "DATETIME(3) DEFAULT '2020-01-01 00:00:00.5'",
    "DATETIME NOT NULL DEFAULT '1970-01-01'", "TIME NOT NULL DEFAULT '-12:34:56'",
    "TIME(3) DEFAULT '838:59:59'", "TIME(2) NOT NULL DEFAULT '00:00:00.25'", "TIME NOT NULL",
    "TIMESTAMP NULL", "TIMESTAMP NULL DEFAULT NULL", "INT NOT NULL DEFAULT 3 FIRST",
    "INT NOT NULL DEFAULT 3 AFTER id", "INT NOT NULL DEFAULT 3 COMMENT 'DEFAULT 4'",
    "INT INVISIBLE DEFAULT 5", "DATETIME NULL DEFAULT NULL ON UPDATE CURRENT_TIMESTAMP",
    "DATETIME DEFAULT '2020-01-01 00:00:00' ON UPDATE CURRENT_TIMESTAMP", "JSON", "GEOMETRY",
)  # fmt: skip
"""Definitions whose value is told."""
UNSURE = (
    "FLOAT NOT NULL DEFAULT 0.1", "DOUBLE DEFAULT 1",
    "TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP",
    "TIMESTAMP NOT NULL DEFAULT '2020-01-01 00:00:00'", "DATETIME DEFAULT CURRENT_TIMESTAMP",
    "INT NOT NULL DEFAULT 1.5", "INT NOT NULL DEFAULT '1e1'", "DECIMAL(5,1) DEFAULT 0.15",
    "INT NOT NULL DEFAULT 0x10", "VARCHAR(9) DEFAULT x'41'", "VARCHAR(9) DEFAULT 'ä'",
    "VARCHAR(9) DEFAULT 'a '", "VARCHAR(9) DEFAULT 'a\\\\b'", "VARCHAR(9) DEFAULT 7",
    "VARCHAR(9) DEFAULT _latin1'abc'", "VARCHAR(9) DEFAULT 'a' 'b'",
    "VARBINARY(9) DEFAULT 'a'", "BINARY(3) DEFAULT 'a'", "ENUM('a','b') NOT NULL DEFAULT 'B'",
    "SET('p','q','r') DEFAULT 'r,p'", "DATE DEFAULT '20200101'", "DATE DEFAULT 20200101",
    "DATE DEFAULT '2020-1-1'", "DATETIME DEFAULT '2020-01-01T00:00:00'",
    "DATETIME DEFAULT '2020-01-01 00:00:00.6'", "TIME DEFAULT '1:2:3'", "TIME DEFAULT '123'",
    "YEAR DEFAULT 99", "YEAR NOT NULL", "BIT(9) DEFAULT 'a'", "INT AS (1 + 1) STORED",
    "INT DEFAULT (1 + 1)", "VARCHAR(36) DEFAULT (uuid())", "INT NOT NULL UNIQUE AUTO_INCREMENT",
    "TEXT DEFAULT ('abc')", "DATE NOT NULL", "DATETIME NOT NULL DEFAULT '0000-00-00 00:00:00'",
    "JSON NOT NULL", "POINT NOT NULL",
)  # fmt: skip
"""Definitions whose value is not told, as it may be stored otherwise than it is written."""
_TYPES = (
    "TINYINT", "SMALLINT UNSIGNED", "MEDIUMINT", "INT", "INT UNSIGNED", "BIGINT", "BIGINT UNSIGNED",
    "BOOL", "DECIMAL(10,2)", "DECIMAL(30,10) UNSIGNED", "DECIMAL(5,5)", "FLOAT", "DOUBLE", "BIT(5)",
    "YEAR", "DATE", "DATETIME", "DATETIME(3)", "TIME", "TIME(6)", "TIMESTAMP", "CHAR(4)",
    "VARCHAR(5)", "VARCHAR(20) CHARACTER SET latin1", "VARCHAR(5) CHARACTER SET swe7", "TEXT",
    "TINYTEXT", "BINARY(3)", "VARBINARY(4)", "BLOB", "ENUM('a','b','1','A ')", "SET('a','b','c')",
    "ENUM('x') CHARACTER SET gbk",
)  # fmt: skip
_VALUES = (
    "0", "1", "-1", "7", "'7'", "'007'", "'-0'", "+3", "127", "128", "255", "65535", "65536",
    "8388608", "2147483648", "4294967295", "9223372036854775807", "'18446744073709551615'", "1.5",
    "'1.50'", "0.00001", "-0.5", "'12345678.99'", "99999999.999", "1e3", "TRUE", "false", "''",
    "'a'", "'b'", "'A'", "'a,b'", "'b,a'", "'a,a'", "'A '", "'x'", "' a'", "'a '", "'abcde'",
    "'it''s'", "'[a]'", "'{~}'", "'\\\\'", "'ü'", "b'101'", "b'11111'", "B'0'", "0x41", "X'41'",
    "'2020-02-29'", "'2021-02-29'", "'0000-00-00'", "'2020-00-00'", "'2020-01-01 00:00:00'",
    "'2020-01-01 23:59:59.999'", "'12:34:56'", "'-838:59:59'", "'839:00:00'", "'00:00:00.000001'",
    "'99:99:99'", "2020", "'2020'", "1901", "2155", "2156", "0000", "'0'", "69", "NULL",
    "CURRENT_TIMESTAMP", "(1+1)", "DATE'2020-01-01'", "N'a'", "_utf8mb4'a'",
)  # fmt: skip


@dataclass(frozen=True)
class Added:
    """A column that was added to a table with rows.

    Args:
        definition: Its definition.
        values: What rows that were there have in it, by SELECT.
        notice: What the log told.
    """

    definition: str
    values: set[Any]
    notice: TableNotice

    @property
    def told(self) -> set[Any]:
        """What they have by the notice."""
        names = self.notice.shape.names if self.notice.shape else ()
        [name] = (n for n, was in zip(names, self.notice.origins, strict=True) if not was)
        return {dict(self.notice.fills).get(name, pa.scalar(None)).as_py()}


def added(room: Room, definitions: Sequence[str], mode: str = "") -> dict[str, Added]:
    """Add columns to a table with rows, one after the other; those that the server takes."""
    room.execute(
        "DROP TABLE IF EXISTS t",
        "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(9), at TIMESTAMP NULL)",
        "INSERT INTO t VALUES (1, 'a', '2021-10-31 00:30:00'), (2, NULL, NULL)",
    )
    with closing(room.source()) as source:
        begin = source.current_position()
        kept = kept_after(list(source.stream_changes(begin, begin, bool, {})), {})
        taken = _add(room, definitions, mode)
        slices = list(source.stream_changes(begin, source.current_position(), bool, kept))
        values = _values(room, source)
    notices = [n for part in slices for n in part.notices]
    assert len(notices) == len(taken)
    return {
        definition: Added(definition, values[name], notice)
        for (name, definition), notice in zip(taken.items(), notices, strict=True)
    }


def _add(room: Room, definitions: Sequence[str], mode: str) -> dict[str, str]:
    taken = {}
    connection = room.server.connect(database=room.database)
    with connection, connection.cursor() as cursor:
        cursor.execute("SET sql_mode = %s", (mode,))
        for number, definition in enumerate(definitions):
            with suppress(pymysql.err.MySQLError):
                cursor.execute(f"ALTER TABLE t ADD COLUMN c{number} {definition}")
                taken[f"c{number}"] = definition
    return taken


def _values(room: Room, source: MySQLSource) -> dict[str, set[Any]]:
    [schema] = source.read_schemas([room.table("t")]).values()
    statement = f"SELECT {select_list(schema)} FROM {quote_table(schema.table)}"
    with closing(connect(source.settings)) as reader:
        parts = select_arrow(reader, statement, (), schema, zero_dates="null", where="the test")
        rows = [row for part in parts for row in part.rows.to_pylist()]
    return {name: {_hashable(row[name]) for row in rows} for name in schema.names}


def _hashable(value: Any) -> Any:
    return str(value) if isinstance(value, dict | list) else value


def test_what_rows_have_in_a_new_column_is_told_as_the_server_has_it(
    mysql_family: FamilyServer, family_db: str
) -> None:
    room = Room(mysql_family, family_db)
    found = added(room, SURE)
    assert set(SURE) - set(found) <= {"INT INVISIBLE DEFAULT 5"}, set(SURE) - set(found)
    for one in found.values():
        assert not one.notice.rewrites, one
        assert one.told == one.values, one


def test_a_value_that_is_not_sure_is_read_again(mysql_family: FamilyServer, family_db: str) -> None:
    found = added(Room(mysql_family, family_db), UNSURE)
    assert len(found) > len(UNSURE) // 2, "most are statements the server takes"
    assert [one.definition for one in found.values() if not one.notice.rewrites] == []


def test_no_random_definition_is_told_with_a_value_that_rows_have_not(
    mysql_family: FamilyServer, family_db: str
) -> None:
    rnd = random.Random(FIRST)
    modes = ("", "STRICT_ALL_TABLES", "ANSI", "NO_BACKSLASH_ESCAPES")
    for _ in range(EXAMPLES):
        definitions = [_random(rnd) for _ in range(25)]
        found = added(Room(mysql_family, family_db), definitions, rnd.choice(modes))
        wrong = [o for o in found.values() if not o.notice.rewrites and o.told != o.values]
        assert wrong == []


def _random(rnd: random.Random) -> str:
    null = rnd.choice((" NOT NULL", " NULL", ""))
    return f"{rnd.choice(_TYPES)}{null} DEFAULT {rnd.choice(_VALUES)}"
