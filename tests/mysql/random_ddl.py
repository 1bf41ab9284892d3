"""Random statements that change tables, as people write them: for tests that compare servers."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

NAMES = ("a", "b", "c", "d", "e", "Value", "order", "ü", "a`b")
TABLES = ("t0", "t1", "t2")
_TYPES = (
    "INT", "INT UNSIGNED", "INT(5) ZEROFILL", "TINYINT(1)", "TINYINT(1) UNSIGNED", "BOOL",
    "SMALLINT SIGNED", "MEDIUMINT UNSIGNED ZEROFILL", "BIGINT UNSIGNED", "INT8", "INT3 UNSIGNED",
    "MIDDLEINT", "INTEGER", "DECIMAL", "DECIMAL(7)", "DEC(12,3) UNSIGNED", "NUMERIC(30,10)",
    "FIXED(5,5)", "FLOAT", "FLOAT(7,3)", "FLOAT(30)", "FLOAT UNSIGNED", "DOUBLE",
    "DOUBLE PRECISION", "DOUBLE(20,3)", "REAL", "REAL UNSIGNED", "BIT", "BIT(9)", "YEAR",
    "YEAR(4)", "DATE", "TIME", "TIME(3)", "DATETIME", "DATETIME(6)", "TIMESTAMP NULL",
    "TIMESTAMP(3) NULL", "TIMESTAMP", "CHAR", "CHAR(20)", "CHARACTER(3)", "VARCHAR(20)",
    "CHARACTER VARYING(30)", "CHAR VARYING(5)", "NCHAR(3)", "NATIONAL VARCHAR(9)",
    "NATIONAL CHARACTER VARYING(4)", "NVARCHAR(6)", "VARCHAR(10) BINARY", "CHAR(4) ASCII",
    "CHAR(4) UNICODE", "CHAR(4) BYTE", "TINYTEXT", "TEXT", "TEXT(50)", "TEXT(20000)",
    "MEDIUMTEXT", "LONGTEXT", "LONG", "LONG VARCHAR", "LONG VARBINARY", "BINARY", "BINARY(7)",
    "VARBINARY(12)", "TINYBLOB", "BLOB", "BLOB(70000)", "MEDIUMBLOB", "LONGBLOB",
    "ENUM('x','y z','it''s','ü')", "ENUM('a','b') CHARACTER SET latin1", "SET('p','q','r')",
    r"ENUM('new\nline','back\\slash','tail  ')", "JSON", "GEOMETRY", "POINT",
    "GEOMETRYCOLLECTION", "VARCHAR(30) CHARACTER SET latin1", "VARCHAR(30) CHARSET utf8",
    "TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", "CHAR(9) COLLATE latin1_bin",
    "VARCHAR(8) CHARACTER SET 'ucs2'", "VARCHAR(8) CHARACTER SET binary",
    "TEXT CHARACTER SET binary",
)  # fmt: skip
_OF_MYSQL = ("VECTOR(3)", "VECTOR", "POINT SRID 4326", "GEOMCOLLECTION")
_OF_MARIADB = ("UUID", "INET6", "INET4", "POINT REF_SYSTEM_ID=4326")
_ATTRIBUTES = (
    "", "", "", "", "", "", "NOT NULL", "NULL", "COMMENT 'it''s, (a) `comment`'", "INVISIBLE",
    "DEFAULT NULL", "NOT NULL COMMENT \"double\"", "NULL DEFAULT NULL COMMENT ''", "UNIQUE",
    "UNIQUE KEY", "CHECK (1 > 0)", "/* a comment, FIRST */", "-- AFTER b\n", "KEY",
    "NOT NULL UNIQUE", "NOT NULL",
)  # fmt: skip
_CHARSETS = ("latin1", "utf8mb4", "utf8mb3", "ucs2", "gbk", "binary", "utf8")


class RandomDdl:
    """A source of statements; many of them a server refuses.

    Args:
        rnd: Where chances come from.
        server: `mysql` or `mariadb`.
        look: Returns the columns a table has now, none if it is not there.
        tables: Names of tables to work on.
    """

    def __init__(
        self,
        rnd: random.Random,
        server: str,
        look: Callable[[str], Sequence[str]],
        tables: tuple[str, ...] = TABLES,
    ) -> None:
        self.rnd = rnd
        self.server = server
        self.look = look
        self.types = _TYPES + (_OF_MYSQL if server == "mysql" else _OF_MARIADB)
        self.tables = tables

    def statement(self) -> str:
        """Any statement."""
        if not any(self.look(table) for table in self.tables):
            return self.create()
        return self.rnd.choices(
            (self.create, self.alter, self.rename, self.index, self.drop),
            weights=(3, 16, 1, 2, 0.5),
        )[0]()

    def create(self) -> str:
        """CREATE TABLE in one of its forms."""
        rnd, table = self.rnd, self.table()
        head = rnd.choice(("CREATE TABLE", "CREATE TABLE", "CREATE TABLE IF NOT EXISTS"))
        if rnd.random() < 0.15:
            like = rnd.choice(("LIKE {}", "(LIKE {})"))
            return f"{head} {table} {like.format(self.table())}"
        names = rnd.sample(NAMES, rnd.randint(1, 6))
        parts = [self.column(name) for name in names]
        parts += [self.key(names) for _ in range(rnd.choice((0, 0, 1, 1, 2)))]
        if rnd.random() < 0.2:
            parts.append(f"v INT AS (1) {rnd.choice(('', 'VIRTUAL', 'STORED NOT NULL'))}")
        return f"{head} {table} ({', '.join(parts)}){self.options()}"

    def options(self) -> str:
        """Table options, or none."""
        rnd = self.rnd
        out = []
        if rnd.random() < 0.5:
            form = rnd.choice(
                ("DEFAULT CHARSET={}", "CHARACTER SET {}", "DEFAULT CHARACTER SET = {}")
            )
            out.append(form.format(rnd.choice(_CHARSETS)))
        if rnd.random() < 0.2:
            out.append(rnd.choice(("COLLATE latin1_bin", "COLLATE=utf8mb4_bin")))
        if rnd.random() < 0.4:
            out.append(
                rnd.choice(("COMMENT='of CHARSET=latin1'", "ENGINE=InnoDB", "ROW_FORMAT=DYNAMIC"))
            )
        if rnd.random() < 0.1:
            out.append("/*!50100 PARTITION BY HASH (1) PARTITIONS 2 */")
        return "".join(f" {option}" for option in out)

    def column(self, name: str) -> str:
        """A column's definition."""
        kind, attribute = self.rnd.choice(self.types), self.rnd.choice(_ATTRIBUTES)
        return f"{quoted(name)} {kind} {attribute}".strip(" ")

    def key(self, names: list[str]) -> str:
        """An index's definition."""
        rnd = self.rnd
        kind = rnd.choice(
            ("PRIMARY KEY", "UNIQUE", "UNIQUE KEY", "KEY", "INDEX", "CONSTRAINT x UNIQUE",
             "UNIQUE INDEX u", "UNIQUE u2 USING BTREE", "CONSTRAINT PRIMARY KEY")
        )  # fmt: skip
        some = rnd.sample(names, rnd.randint(1, min(2, len(names))))
        parts = [quoted(n) + rnd.choice(("", "", "", "(3)", " DESC", "(200)")) for n in some]
        return f"{kind} ({', '.join(parts)})"

    def alter(self) -> str:
        """ALTER TABLE with one to four parts."""
        there = [table for table in self.tables if self.look(table)]
        table = self.rnd.choice(there or self.tables)
        columns = list(self.look(table)) or list(NAMES)
        specs = [self.spec(columns) for _ in range(self.rnd.choice((1, 1, 1, 2, 3, 4)))]
        return f"ALTER TABLE {table} {', '.join(specs)}"

    def spec(self, columns: list[str]) -> str:
        """One part of an ALTER TABLE on a table with these columns."""
        rnd = self.rnd
        index = rnd.choice(("u", "u2", "x", "a", "b", "a_2"))
        name = rnd.choice(columns)
        other = rnd.choice([n for n in NAMES if n not in columns] or NAMES)
        word = rnd.choice(("COLUMN ", ""))
        place = rnd.choice(("", "", "", " FIRST", f" AFTER {quoted(rnd.choice(columns))}"))
        return rnd.choice(
            (
                f"ADD {word}{self.column(other)}{place}",
                f"ADD {word}{self.column(other)}{place}",
                f"ADD {word}({self.column(rnd.choice(NAMES))}, {self.column(other)})",
                f"DROP {word}{quoted(name)}",
                f"MODIFY {word}{self.column(name)}{place}",
                f"MODIFY {word}{self.column(name)}{place}",
                f"CHANGE {word}{quoted(name)} {self.column(rnd.choice((name, other)))}{place}",
                f"RENAME COLUMN {quoted(name)} TO {quoted(other)}",
                f"ALTER {word}{quoted(name)} SET DEFAULT 5",
                f"ALTER {word}{quoted(name)} DROP DEFAULT",
                f"ADD {self.key(columns)}",
                f"ADD {self.key(columns)}",
                "DROP PRIMARY KEY",
                f"DROP {rnd.choice(('INDEX', 'KEY'))} {index}",
                "RENAME INDEX u TO w",
                f"CONVERT TO CHARACTER SET {rnd.choice(_CHARSETS)}",
                f"DEFAULT CHARACTER SET {rnd.choice(_CHARSETS)}",
                "COLLATE utf8mb4_bin",
                "COMMENT 'a table'",
                "ENGINE=InnoDB",
                f"RENAME {rnd.choice(('TO ', 'AS ', ''))}{self.table()}",
                *self._of_server(name),
            )
        )

    def _of_server(self, name: str) -> tuple[str, ...]:
        if self.server == "mysql":
            return (
                f"ALTER COLUMN {quoted(name)} SET {self.rnd.choice(('VISIBLE', 'INVISIBLE'))}",
                "ALGORITHM=COPY",
            )
        return (
            f"ADD COLUMN IF NOT EXISTS {self.column(name)}",
            f"DROP COLUMN IF EXISTS {quoted(name)}",
            f"MODIFY COLUMN IF EXISTS {self.column(name)}",
            "DROP INDEX IF EXISTS u",
        )

    def rename(self) -> str:
        """RENAME TABLE with one to three steps."""
        steps = [f"{self.table()} TO {self.table()}" for _ in range(self.rnd.randint(1, 3))]
        if self.rnd.random() < 0.4:
            one, two = self.rnd.sample(self.tables, 2)
            steps = [f"{one} TO aside", f"{two} TO {one}", f"aside TO {two}"]
        return f"RENAME TABLE {', '.join(steps)}"

    def index(self) -> str:
        """CREATE INDEX or DROP INDEX."""
        name = self.rnd.choice(("u", "w", "x"))
        if self.rnd.random() < 0.3:
            return f"DROP INDEX {name} ON {self.table()}"
        unique = self.rnd.choice(("", "UNIQUE "))
        return f"CREATE {unique}INDEX {name} ON {self.table()} ({quoted(self.rnd.choice(NAMES))})"

    def drop(self) -> str:
        """DROP TABLE."""
        return f"DROP TABLE IF EXISTS {self.table()}"

    def table(self) -> str:
        """A table's name."""
        return self.rnd.choice(self.tables)


def quoted(name: str) -> str:
    """An identifier in backticks, or bare where that is allowed."""
    if name.isascii() and name.isalnum() and name != "order":
        return name
    return "`" + name.replace("`", "``") + "`"
