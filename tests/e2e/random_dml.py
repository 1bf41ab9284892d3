"""Random changes by several writers at once: what the equality tests put a pipeline through."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

import pymysql

TABLES = {
    "plain": """CREATE TABLE plain (
        id BIGINT UNSIGNED PRIMARY KEY, a INT, b VARCHAR(40), c DECIMAL(30,10), d DOUBLE,
        e DATETIME(6), f JSON, g VARBINARY(20))""",
    "paired": """CREATE TABLE paired (
        name VARCHAR(20), part SMALLINT, v TIME(3), w TIMESTAMP(6) NULL, x ENUM('a','b','ü'),
        y FLOAT, PRIMARY KEY (name, part))""",
    "dated": """CREATE TABLE dated (
        at DATETIME(3) PRIMARY KEY, n BIGINT UNSIGNED, s SET('p','q','r'), t TEXT, z BIT(12),
        yr YEAR)""",
}


class RandomDml:
    """Several threads of random transactions on one database.

    Args:
        connect: Makes a connection.
        database: Where; `create` makes the tables.
        seed: Makes choices repeatable (interleaving is not).
        writers: Threads.
    """

    def __init__(
        self, connect: Callable[[], Any], database: str, seed: int, writers: int = 3
    ) -> None:
        self.connect = connect
        self.database = database
        self.rnd = random.Random(seed)
        self.stopped = threading.Event()
        self.errors: list[BaseException] = []
        self.transactions = 0
        seeds = [self.rnd.random() for _ in range(writers)]
        self.threads = [threading.Thread(target=self._write, args=(s,), daemon=True) for s in seeds]

    def create(self, rows: int) -> None:
        """Create the tables and give each about `rows` rows."""
        connection = self._open()
        with connection.cursor() as cursor:
            for statement in TABLES.values():
                cursor.execute(statement)
            for _ in range(rows):
                for change in (_put_plain, _put_paired, _put_dated):
                    change(cursor, self.rnd)
        connection.commit()
        connection.close()

    def start(self) -> None:
        for thread in self.threads:
            thread.start()

    def stop(self) -> None:
        self.stopped.set()
        for thread in self.threads:
            thread.join()
        if self.errors:
            raise self.errors[0]

    def _open(self) -> Any:
        connection = self.connect()
        connection.autocommit(False)
        with connection.cursor() as cursor:
            cursor.execute(f"USE `{self.database}`")
            cursor.execute("SET SESSION innodb_lock_wait_timeout = 2")
        return connection

    def _write(self, seed: float) -> None:
        rnd = random.Random(seed)
        try:
            connection = self._open()
            with connection.cursor() as cursor:
                while not self.stopped.is_set():
                    self._transaction(connection, cursor, rnd)
                    self.stopped.wait(rnd.random() * 0.03)
            connection.close()
        except BaseException as error:  # raised by stop() in the test's thread
            self.errors.append(error)

    def _transaction(self, connection: Any, cursor: Any, rnd: random.Random) -> None:
        try:
            for _ in range(rnd.choice((1, 1, 2, 3, 8))):
                try:
                    rnd.choice(CHANGES)(cursor, rnd)
                except pymysql.err.IntegrityError:
                    continue
            if rnd.random() < 0.15:
                connection.rollback()
            else:
                connection.commit()
            self.transactions += 1
        except pymysql.err.OperationalError as error:
            if error.args[0] not in (1205, 1213):  # lock wait, deadlock: the server rolled back
                raise
            connection.rollback()


def _text(rnd: random.Random) -> str | None:
    return rnd.choice((None, "", "x", "Ünï☃", "a'b\\c\"d", "🚲" * rnd.randint(1, 5), "tail  "))


def _id(rnd: random.Random) -> int:
    return rnd.choice((rnd.randint(0, 400), rnd.randint(0, 30), 2**64 - 1 - rnd.randint(0, 5)))


def _name(rnd: random.Random) -> str:
    return rnd.choice(("a", "b", "Straße", "ß", "z", "中")) + str(rnd.randint(0, 20))


def _at(rnd: random.Random) -> str:
    return f"2024-0{rnd.randint(1, 3)}-{rnd.randint(1, 28):02d} 10:00:00.{rnd.randint(0, 3)}00"


def _put_plain(cursor: Any, rnd: random.Random) -> None:
    cursor.execute(
        "REPLACE INTO plain VALUES (%s,%s,%s,%s,%s,%s,%s,%s)",
        (
            _id(rnd),
            rnd.choice((None, rnd.randint(-(2**31), 2**31 - 1))),
            _text(rnd),
            rnd.choice((None, f"{rnd.randint(-(10**15), 10**15)}.{rnd.randint(0, 10**9):010d}")),
            rnd.choice((None, rnd.random() * 10 ** rnd.randint(-8, 8))),
            f"20{rnd.randint(10, 37)}-01-01 00:00:00.{rnd.randint(0, 999999):06d}",
            rnd.choice((None, "null", '{"k": [1, 2.5, "é"], "z": null}', '"s"', "[]", "3")),
            rnd.choice((None, rnd.randbytes(rnd.randint(0, 20)))),
        ),
    )


def _put_paired(cursor: Any, rnd: random.Random) -> None:
    cursor.execute(
        "INSERT INTO paired VALUES (%s,%s,%s,%s,%s,%s) ON DUPLICATE KEY UPDATE v=VALUES(v),"
        " x=VALUES(x)",
        (
            _name(rnd),
            rnd.randint(-3, 3),
            rnd.choice((None, "-838:59:58.5", "12:00:00.123")),
            rnd.choice((None, "2030-06-01 01:02:03.000004")),
            rnd.choice((None, "a", "b", "ü")),
            rnd.choice((None, 0.1, 1e30, -3.4e38, 16777217.0)),
        ),
    )


def _put_dated(cursor: Any, rnd: random.Random) -> None:
    cursor.execute(
        "REPLACE INTO dated VALUES (%s,%s,%s,%s,%s,%s)",
        (
            _at(rnd),
            rnd.choice((None, 2**64 - 1, 5)),
            rnd.choice((None, "", "p", "p,r", "q,r")),
            rnd.choice((None, _text(rnd), "long " * 400)),
            rnd.randint(0, 4095),
            rnd.choice((None, 1901, 2155, 2024)),
        ),
    )


def _update(cursor: Any, rnd: random.Random) -> None:
    cursor.execute(
        "UPDATE plain SET a = %s, b = %s WHERE id BETWEEN %s AND %s",
        (rnd.randint(0, 99), _text(rnd), (low := _id(rnd)), low + rnd.randint(0, 9)),
    )


def _change_key(cursor: Any, rnd: random.Random) -> None:
    cursor.execute("UPDATE plain SET id = %s WHERE id = %s", (_id(rnd), _id(rnd)))


def _change_part(cursor: Any, rnd: random.Random) -> None:
    cursor.execute(
        "UPDATE paired SET name = %s, part = part + 1 WHERE name = %s AND part = %s",
        (_name(rnd), _name(rnd), rnd.randint(-3, 3)),
    )


def _swap_keys(cursor: Any, rnd: random.Random) -> None:
    one, two = _id(rnd), _id(rnd)
    for new, old in ((10**12, one), (one, two), (two, 10**12)):
        cursor.execute("UPDATE plain SET id = %s WHERE id = %s", (new, old))


def _delete(cursor: Any, rnd: random.Random) -> None:
    cursor.execute("DELETE FROM dated WHERE at = %s", (_at(rnd),))
    cursor.execute("DELETE FROM plain WHERE id = %s", (_id(rnd),))


def _bounce(cursor: Any, rnd: random.Random) -> None:
    key = (_name(rnd), rnd.randint(-3, 3))
    for _ in range(rnd.randint(1, 3)):
        cursor.execute("DELETE FROM paired WHERE name = %s AND part = %s", key)
        cursor.execute("INSERT INTO paired (name, part, x) VALUES (%s, %s, 'b')", key)
    if rnd.random() < 0.5:
        cursor.execute("DELETE FROM paired WHERE name = %s AND part = %s", key)


def _savepoint(cursor: Any, rnd: random.Random) -> None:
    cursor.execute("SAVEPOINT s")
    rnd.choice((_put_plain, _delete, _update))(cursor, rnd)
    if rnd.random() < 0.5:
        cursor.execute("ROLLBACK TO SAVEPOINT s")


CHANGES = (
    _put_plain,
    _put_paired,
    _put_dated,
    _update,
    _update,
    _change_key,
    _change_part,
    _swap_keys,
    _delete,
    _bounce,
    _savepoint,
)
