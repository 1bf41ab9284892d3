"""Stretches of a real server's binary log, written for the measurements.

In: a private MySQL and a scale. Out: places in its log and how many row changes lie between.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

from benchmarks.wire_stretch import DATABASE, Place, Stretch

if TYPE_CHECKING:
    from pymysql.connections import Connection

    from tests.servers.family import FamilyServer

NUMBERS = 20_000
UNWANTED = 500
CLIENTS = 2
SERVER_OPTIONS = {
    "innodb_buffer_pool_size": "1G",
    "innodb_redo_log_capacity": "2G",
    "innodb_doublewrite": "OFF",
    "innodb_flush_log_at_trx_commit": "0",
    "sync_binlog": "0",
}
MIXED = """(
  id BIGINT UNSIGNED NOT NULL PRIMARY KEY, code INT NOT NULL, ratio DOUBLE, amount DECIMAL(18,4),
  name VARCHAR(40), state ENUM('new','paid','sent','done') NOT NULL, day DATE, at DATETIME(6),
  seen TIMESTAMP NULL, note VARCHAR(80)
)"""
MIXED_ROWS = """
SELECT {base} + n, n * 7919 % 100003 - 50000, n / 7, {base} + n / 9,
  IF(n % 10, CONCAT('name ', n), NULL), 1 + n % 4, '2020-01-01' + INTERVAL n % 3000 DAY,
  '2020-01-01' + INTERVAL n * 1000003 MICROSECOND, '2021-01-01' + INTERVAL n SECOND,
  REPEAT('x', n % 80)
FROM numbers WHERE n <= {count}
"""
_TX = """
CREATE PROCEDURE churn(low INT, high INT) BEGIN
  WHILE low < high DO
    INSERT INTO tx VALUES (low, low % 1000, low / 3, CONCAT('name ', low), '2020-01-01');
    UPDATE tx SET code = code + 1, amount = amount * 2 WHERE id = low;
    DELETE FROM tx WHERE id = low - 2;
    SET low = low + 2;
  END WHILE;
END
"""


class LogWriter:
    """Writes the workloads.

    Args:
        server: A private MySQL; the database `wire` is made on it.
        scale: 1.0 for the full sizes.
    """

    def __init__(self, server: FamilyServer, scale: float) -> None:
        server.execute(f"CREATE DATABASE {DATABASE}")
        self._server = server
        self._scale = scale
        self.connection: Connection[Any] = server.connect(database=DATABASE)
        self.execute(
            "SET cte_max_recursion_depth = 1000000, sql_mode = ''",
            "CREATE TABLE numbers (n INT PRIMARY KEY)",
            "INSERT INTO numbers WITH RECURSIVE c AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM c "
            f"WHERE n < {NUMBERS}) SELECT n FROM c",
        )

    def execute(self, *statements: str) -> int:
        """Run statements; returns the rows changed by all of them."""
        with self.connection.cursor() as cursor:
            return sum(cursor.execute(statement) for statement in statements)

    def scaled(self, count: int) -> int:
        """Return a count at this scale, at least 1."""
        return max(1, round(count * self._scale))

    def bulk(self) -> Stretch:
        """Inserts, updates and deletes of a table of many types, 100 bytes a row."""
        self.execute(f"CREATE TABLE bulk {MIXED}")
        return self._stretch("bulk", ("bulk",), self._bulk_rounds(self.scaled(50)))

    def _bulk_rounds(self, rounds: int) -> Iterator[int]:
        size = min(NUMBERS, self.scaled(50 * NUMBERS))
        for base in range(0, rounds * size, size):
            some = f"id > {base} AND id <= {base + size}"
            yield self.execute(
                "INSERT INTO bulk " + MIXED_ROWS.format(base=base, count=size),
                f"UPDATE bulk SET amount = amount + 1, at = at + INTERVAL 1 SECOND WHERE {some}",
                f"DELETE FROM bulk WHERE {some} AND code % 2",
            )

    def tx(self) -> Stretch:
        """Transactions of one row, from several clients at once."""
        self.execute(
            "CREATE TABLE tx (id BIGINT PRIMARY KEY, code INT, amount DECIMAL(12,2), "
            "name VARCHAR(30), at DATETIME)",
            _TX,
        )
        count = self.scaled(80_000)
        share = max(1, count // 16)
        return self._stretch("tx", ("tx",), self._churns(((0, share), (share, count))))

    def _churns(self, ranges: tuple[tuple[int, int], ...]) -> Iterator[int]:
        for low, high in ranges:
            before = self._committed_rows()
            threads = [
                threading.Thread(target=self._churn, args=(CLIENTS * low + i, CLIENTS * high))
                for i in range(CLIENTS)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            yield self._committed_rows() - before

    def _churn(self, low: int, high: int) -> None:
        with closing(self._server.connect(database=DATABASE)) as connection:
            connection.cursor().execute("CALL churn(%s, %s)", (low, high))

    def _committed_rows(self) -> int:
        names = "'Innodb_rows_inserted', 'Innodb_rows_updated', 'Innodb_rows_deleted'"
        with self.connection.cursor() as cursor:
            cursor.execute(f"SHOW GLOBAL STATUS WHERE variable_name IN ({names})")
            return sum(int(row[1]) for row in cursor.fetchall())

    def wide(self) -> Stretch:
        """Rows of several kilobytes of text."""
        self.execute("CREATE TABLE wide (id BIGINT PRIMARY KEY, a TEXT, b TEXT, c MEDIUMTEXT)")
        return self._stretch("wide", ("wide",), self._wide_rounds(self.scaled(60)))

    def _wide_rounds(self, rounds: int) -> Iterator[int]:
        for base in range(0, rounds * 1000, 1000):
            yield self.execute(
                f"INSERT INTO wide SELECT {base} + n, REPEAT(SHA2(n, 256), 25), "
                f"REPEAT('wide text ', n % 300), REPEAT(SHA2({base} - n, 256), 40) "
                "FROM numbers WHERE n <= 1000"
            )

    def unwanted(self) -> Stretch:
        """One small table among 500 that nobody asked for; among fewer below a hundredth."""
        names = ["small", *(f"u{i}" for i in range(min(UNWANTED, self.scaled(100 * UNWANTED))))]
        self.execute(*(f"CREATE TABLE {name} {MIXED}" for name in names))
        return self._stretch("unwanted", ("small",), self._into_all(names, self.scaled(10)))

    def _into_all(self, names: list[str], rounds: int) -> Iterator[int]:
        for base in range(0, rounds * 200, 200):
            rows = MIXED_ROWS.format(base=base, count=200)
            yield self.execute(*(f"INSERT INTO {name} {rows}" for name in names))

    def huge(self) -> Stretch:
        """One transaction of 2 GB."""
        self.execute("CREATE TABLE huge (id BIGINT PRIMARY KEY, code INT, a VARCHAR(600), b TEXT)")

        statements = [
            f"INSERT INTO huge SELECT {base} + n, n, REPEAT('a', 100 + n % 300), "
            f"REPEAT(SHA2({base} + n, 256), 4) FROM numbers"
            for base in range(0, self.scaled(200) * NUMBERS, NUMBERS)
        ]
        return self._stretch("huge", ("huge",), self._once("BEGIN", *statements, "COMMIT"))

    def first(self) -> Stretch:
        """A transaction of a thousand rows, for the first decode of a process."""
        self.execute(f"CREATE TABLE first {MIXED}")
        statement = "INSERT INTO first " + MIXED_ROWS.format(base=0, count=1000)
        return self._stretch("first", ("first",), self._once(statement))

    def _once(self, *statements: str) -> Iterator[int]:
        yield self.execute(*statements)

    def fill_results(self) -> int:
        """Make the table `results` for the result sets, unlogged; returns its rows."""
        self.execute("SET sql_log_bin = 0", f"CREATE TABLE results {MIXED}")
        size = min(NUMBERS, self.scaled(50 * NUMBERS))
        rows = sum(
            self.execute("INSERT INTO results " + MIXED_ROWS.format(base=base, count=size))
            for base in range(0, self.scaled(50) * size, size)
        )
        self.execute("SET sql_log_bin = 1")
        return rows

    def place(self) -> Place:
        """Return the end of the log."""
        with self.connection.cursor() as cursor:
            cursor.execute("SHOW BINARY LOG STATUS")
            row = cursor.fetchone()
        assert row is not None
        return Place(row[0], int(row[1]))

    def _stretch(self, name: str, tables: tuple[str, ...], rounds: Iterator[int]) -> Stretch:
        """Begin a file of the log and run the rounds; the share is the first one."""
        self.execute("FLUSH BINARY LOGS")
        start = self.place()
        rows = share_rows = next(rounds)
        share_end = self.place()
        rows += sum(rounds)
        wanted = rows
        if name == "unwanted":
            wanted = self.execute(f"SELECT id FROM {tables[0]}")
        return Stretch(name, start, self.place(), rows, wanted, share_end, share_rows, tables)


WORKLOADS: dict[str, Callable[[LogWriter], Stretch]] = {
    "bulk": LogWriter.bulk,
    "tx": LogWriter.tx,
    "wide": LogWriter.wide,
    "unwanted": LogWriter.unwanted,
}
