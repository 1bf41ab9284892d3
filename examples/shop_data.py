"""The demo's database: a small shop with every habit that makes replication hard.

Composite and text keys, key changes, deletes with re-inserts, rollbacks, savepoints, JSON,
decimals, enums, microseconds. `create` fills it, `Writer` keeps changing it from its own thread.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

import pymysql

TABLES = """
CREATE TABLE customers (
  id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, email VARCHAR(80) NOT NULL, name VARCHAR(60),
  balance DECIMAL(18,4) NOT NULL, score DOUBLE, level TINYINT UNSIGNED, vip BIT(1),
  profile JSON, created DATETIME(6) NOT NULL, seen TIMESTAMP(3) NULL);
CREATE TABLE products (
  sku VARCHAR(20) CHARACTER SET latin1 PRIMARY KEY, title TEXT, price DECIMAL(10,2),
  size ENUM('S','M','L'), tags SET('new','sale','eco'), weight FLOAT, picture VARBINARY(64));
CREATE TABLE orders (
  shop INT, number BIGINT, customer BIGINT UNSIGNED, status ENUM('open','paid','sent','lost'),
  total DECIMAL(12,2), placed DATETIME(3), due DATE, slot TIME(6), PRIMARY KEY (shop, number));
CREATE TABLE order_lines (
  shop INT, number BIGINT, line SMALLINT, sku VARCHAR(20), quantity MEDIUMINT,
  price DECIMAL(10,2), note VARCHAR(200), PRIMARY KEY (shop, number, line))
"""

FILL = """
INSERT INTO customers SELECT n, CONCAT('user', n, '@example.org'), CONCAT('Zoë ', n), n / 7,
  n / 3, n % 256, n % 2, JSON_OBJECT('n', n, 'tags', JSON_ARRAY('a', n % 5)),
  '2020-01-01' + INTERVAL n * 1000003 MICROSECOND, '2021-06-01' + INTERVAL n SECOND FROM numbers;
INSERT INTO products SELECT CONCAT('SKU-', n), REPEAT(CONCAT('Ware ', n, ' '), 3), n % 1000 / 10,
  1 + n % 3, n % 8, n / 9, UNHEX(SHA2(n, 256)) FROM numbers WHERE n <= 5000;
INSERT INTO orders SELECT n % 7, n, 1 + n % 20000, 1 + n % 4, n % 99999 / 100,
  '2022-01-01' + INTERVAL n SECOND, '2022-01-01' + INTERVAL n % 900 DAY,
  SEC_TO_TIME(n % 80000 - 40000) FROM numbers;
INSERT INTO order_lines SELECT n % 7, n, l.line, CONCAT('SKU-', 1 + (n * l.line) % 5000),
  n % 50, n % 700 / 10, IF(n % 3, CONCAT('note ', n), NULL)
  FROM numbers JOIN (SELECT 1 line UNION SELECT 2 UNION SELECT 3) l
"""


def create(connection: Any, database: str, rows: int) -> None:
    """Create and fill the shop.

    Args:
        connection: An autocommit connection allowed to create databases.
        database: Its name; dropped first if it is there.
        rows: Customers and orders; order lines are three times as many.
    """
    with connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS `{database}`")
        cursor.execute(f"CREATE DATABASE `{database}` CHARACTER SET utf8mb4")
        cursor.execute(f"USE `{database}`")
        for statement in TABLES.split(";"):
            cursor.execute(statement)
        cursor.execute("CREATE TEMPORARY TABLE numbers (n INT PRIMARY KEY)")
        cursor.executemany("INSERT INTO numbers VALUES (%s)", [(n,) for n in range(1, rows + 1)])
        for statement in FILL.split(";"):
            cursor.execute(statement)
        cursor.execute("DROP TEMPORARY TABLE numbers")


class Writer:
    """A thread that changes the shop until it is stopped.

    Args:
        connect: Makes a connection of its own.
        database: The shop.
        seed: Makes the run repeatable.
    """

    def __init__(self, connect: Callable[[], Any], database: str, seed: int = 1) -> None:
        self._connect = connect
        self._database = database
        self._random = random.Random(seed)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._error: BaseException | None = None
        self.transactions = 0

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the transaction under way; raises what the thread raised."""
        self._stop.set()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            connection = self._connect()
            connection.autocommit(False)
            with connection.cursor() as cursor:
                cursor.execute(f"USE `{self._database}`")
                while not self._stop.is_set():
                    self._transaction(connection, cursor)
                    self._stop.wait(0.002)
            connection.close()
        except BaseException as error:  # raised again by stop()
            self._error = error

    def _transaction(self, connection: Any, cursor: Any) -> None:
        for _ in range(self._random.randint(1, 4)):
            try:
                self._random.choice(_CHANGES)(cursor, self._random)
            except pymysql.err.IntegrityError:
                continue
        if self._random.random() < 0.1:
            connection.rollback()
        else:
            connection.commit()
        self.transactions += 1


def _update(cursor: Any, rnd: random.Random) -> None:
    cursor.execute(
        "UPDATE customers SET balance = balance + 1.5, score = score * 1.1,"
        " profile = JSON_SET(profile, '$.n', %s) WHERE id = %s",
        (rnd.random(), rnd.randint(1, 30000)),
    )


def _range_update(cursor: Any, rnd: random.Random) -> None:
    low = rnd.randint(1, 30000)
    cursor.execute(
        "UPDATE orders SET status = %s, slot = '-12:30:00.25' WHERE number BETWEEN %s AND %s",
        (rnd.choice(("open", "paid", "sent", "lost")), low, low + 5),
    )


def _insert(cursor: Any, rnd: random.Random) -> None:
    cursor.execute(
        "INSERT INTO order_lines VALUES (%s, %s, %s, %s, 1, 9.99, %s)",
        (rnd.randint(0, 6), rnd.randint(1, 40000), rnd.randint(1, 9), "SKU-1", "späť 🚲"),
    )


def _delete_and_return(cursor: Any, rnd: random.Random) -> None:
    sku = f"SKU-{rnd.randint(1, 5000)}"
    cursor.execute("DELETE FROM products WHERE sku = %s", (sku,))
    cursor.execute("INSERT INTO products (sku, title, size) VALUES (%s, 'again', 'M')", (sku,))
    if rnd.random() < 0.5:
        cursor.execute("DELETE FROM products WHERE sku = %s", (sku,))


def _change_key(cursor: Any, rnd: random.Random) -> None:
    number = rnd.randint(1, 30000)
    cursor.execute(
        "UPDATE orders SET number = %s WHERE shop = %s AND number = %s",
        (number + rnd.randint(0, 90000), number % 7, number),
    )


def _savepoint(cursor: Any, rnd: random.Random) -> None:
    cursor.execute("SAVEPOINT here")
    cursor.execute("DELETE FROM customers WHERE id = %s", (rnd.randint(1, 30000),))
    if rnd.random() < 0.5:
        cursor.execute("ROLLBACK TO SAVEPOINT here")


_CHANGES = (_update, _range_update, _insert, _delete_and_return, _change_key, _savepoint)
