"""Rows written in ways beside plain statements, and by clocks that go back: the target is equal."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e import child
from tests.e2e.room import Line
from tests.mysql.room import tcp_settings
from tests.servers.family import FamilyServer

pytestmark = pytest.mark.nightly
TABLES = ("orders", "lines", "audit")
CREATED = (
    "CREATE TABLE orders (id INT PRIMARY KEY, name VARCHAR(40), at TIMESTAMP(6) NULL)",
    "CREATE TABLE `lines` (id INT PRIMARY KEY, o INT, n INT, FOREIGN KEY (o) REFERENCES orders (id)"
    " {cascade})",
    "CREATE TABLE audit (id INT AUTO_INCREMENT PRIMARY KEY, o INT, what VARCHAR(40))",
    "CREATE TRIGGER seen AFTER UPDATE ON orders FOR EACH ROW "
    "INSERT INTO audit (o, what) VALUES (NEW.id, CONCAT(OLD.name, '>', NEW.name))",
    "CREATE PROCEDURE rename_all(word VARCHAR(9)) UPDATE orders SET name = CONCAT(name, word)",
    "INSERT INTO orders VALUES (1, 'one', NOW(6)), (2, 'two', NOW(6)), (3, 'three', NULL)",
    "INSERT INTO `lines` VALUES (10, 1, 1), (20, 2, 2), (30, 3, 3)",
)
CLOCKS = (
    "SET timestamp = 2000000000",
    "INSERT INTO orders VALUES (4, 'in the future', NOW(6))",
    "UPDATE orders SET name = 'future' WHERE id = 1",
    "SET timestamp = 1000000",
    "UPDATE orders SET name = 'past', at = NOW(6) WHERE id IN (1, 4)",
    "SET timestamp = DEFAULT",
    "UPDATE orders SET name = 'now' WHERE id = 1",
    "DELETE FROM orders WHERE id = 4",
)
WAYS = (
    "INSERT INTO orders SELECT id + 100, name, at FROM orders",
    "LOAD DATA INFILE '{file}' INTO TABLE orders FIELDS TERMINATED BY ',' (id, name)",
    "LOAD DATA INFILE '{file}' REPLACE INTO TABLE orders FIELDS TERMINATED BY ',' (id, name)",
    "UPDATE orders, `lines` SET orders.name = 'both', `lines`.n = 7 WHERE orders.id = `lines`.o",
    "DELETE `lines`, audit FROM `lines` JOIN audit ON audit.o = `lines`.o WHERE `lines`.id = 10",
    "CALL rename_all('!')",
    "CREATE TEMPORARY TABLE orders_new SELECT * FROM orders",
    "REPLACE INTO orders SELECT id, 'again', at FROM orders_new WHERE id > 100",
    "DELETE FROM orders WHERE id = {parent}",
)


def line_of(server: FamilyServer, database: str, home: Path) -> Line:
    return Line(server, child.Setup(tcp_settings(server), database, home, {"chunk_rows": 2}))


def test_every_way_to_write_and_clocks_that_go_back_end_equal(
    mysql_family: FamilyServer, family_db: str, tmp_path: Path
) -> None:
    """Cascades only where the log has them: MariaDB's does not."""
    logged = mysql_family.kind == "mysql"
    line = line_of(mysql_family, family_db, tmp_path)
    line.execute(*(s.format(cascade="ON DELETE CASCADE" if logged else "") for s in CREATED))
    line.load(*TABLES)
    line.execute(*CLOCKS)
    line.sync()
    line.require_equal(*TABLES)
    file = mysql_family.home / "tmp" / "rows.csv"
    file.write_text("1001,from a file\n1002,ü\n")
    words = {"file": str(file), "parent": "2" if logged else "103"}
    line.execute(*(statement.format(**words) for statement in WAYS))
    assert not logged or not line.select("SELECT * FROM `lines` WHERE o = 2")
    line.sync()
    line.require_equal(*TABLES)
    assert set(line.states().values()) == {"live"}


def test_a_server_with_other_rules_of_quoting_is_read_alike(
    mysql_family: FamilyServer, family_db: str, tmp_path: Path
) -> None:
    """Bounds of chunks, and keys that are asked for, stand in statements of ours."""
    line = line_of(mysql_family, family_db, tmp_path)
    line.execute("CREATE TABLE quoted (k VARCHAR(20) PRIMARY KEY, v TEXT)")
    keys = ["'", "''", "\\", "\\'", '"', '\\"', "a'b\\", "%s", "x' OR '1'='1", "\\\\'"]
    ((mode,),) = mysql_family.execute("SELECT @@GLOBAL.sql_mode")
    mysql_family.execute("SET GLOBAL sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'")
    try:
        for key in keys:
            doubled = key.replace("'", "''")
            line.execute(f"INSERT INTO quoted VALUES ('{doubled}', '')")
        line.load("quoted")
        line.execute('UPDATE quoted SET v = "k"')
        line.sync()
    finally:
        mysql_family.execute(f"SET GLOBAL sql_mode = '{mode}'")
    line.require_equal("quoted")
    rows = line.target("quoted").to_pylist()
    assert {row["k"] for row in rows} == {row["v"] for row in rows} == set(keys)
