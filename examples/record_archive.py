"""Records `examples/archive`: the binary logs of a small shop, and what its tables held.

python -m examples.record_archive

Runs a private MySQL, writes a few hundred transactions over three log files, deletes an order too
many in the last one, and keeps the files as an archive would: old ones compressed, the newest as
the server left it. `expected.json.gz` has every row before the mistake and at the end.
"""

from __future__ import annotations

import gzip
import json
import random
import shutil
import time
from pathlib import Path
from typing import Any

import zstandard

from examples import shop_data
from tests import oracle
from tests.servers import Server, start_server

FOLDER = Path(__file__).parent / "archive"
EXPECTED = "expected.json.gz"
TABLES = ("customers", "products", "orders", "order_lines")
ROWS, TRANSACTIONS = 60, 120
MISTAKE = "DELETE FROM orders WHERE shop = 3"


def main() -> None:
    """Record the archive anew."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    rnd = random.Random(7)
    with start_server("mysql") as server:
        server.execute("RESET BINARY LOGS AND GTIDS")
        shop_data.create(server.connect(), "shop", ROWS)
        _write(server, rnd)
        _next_file(server)
        _write(server, rnd)
        _next_file(server)
        _write(server, rnd)
        before = _contents(server)
        time.sleep(1.5)
        ((moment,),) = server.execute("SELECT DATE_FORMAT(UTC_TIMESTAMP(), '%Y-%m-%dT%H:%i:%sZ')")
        time.sleep(1.5)
        server.execute("USE shop", MISTAKE)
        _write(server, rnd)
        after = _contents(server)
        names = [row[0] for row in server.execute("SHOW BINARY LOGS")]
        for name, keep in zip(names, (_gzipped, _zstandard, _as_it_is), strict=True):
            keep(server.datadir / name)
    text = json.dumps({"moment": moment, "before": before, "after": after}, ensure_ascii=False)
    (FOLDER / EXPECTED).write_bytes(gzip.compress(text.encode(), mtime=0))
    for file in sorted(FOLDER.iterdir()):
        print(f"{file.stat().st_size:>8,}  {file.name}")
    print(f"the mistake comes after {moment}")


def expected_rows(moment: str) -> dict[str, list[tuple[str]]]:
    """Return the recorded rows of every table, each as its text.

    Args:
        moment: `before` the mistake, or `after` everything.
    """
    return {table: [(row,) for row in rows] for table, rows in _recorded()[moment].items()}


def mistake_after() -> str:
    """Return a time right before the mistake, as a pipeline file says it."""
    return str(_recorded()["moment"])


def _recorded() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(gzip.decompress((FOLDER / EXPECTED).read_bytes()))
    return found


def as_recorded(rows: list[tuple[Any, ...]]) -> list[tuple[str]]:
    """Return rows in the form of `expected_rows`."""
    return [(repr(row),) for row in rows]


def _contents(server: Server) -> dict[str, list[str]]:
    connection = server.connect()
    return {
        table: sorted(row for (row,) in as_recorded(oracle.mysql_rows(connection, "shop", table)))
        for table in TABLES
    }


def _write(server: Server, rnd: random.Random) -> None:
    """Commit transactions of the kinds a shop has, some of them rolled back."""
    connection = server.connect(database="shop")
    connection.autocommit(False)
    with connection.cursor() as cursor:
        for _ in range(TRANSACTIONS // 3):
            for _ in range(rnd.randint(1, 3)):
                rnd.choice(_CHANGES)(cursor, rnd)
            if rnd.random() < 0.1:
                connection.rollback()
            else:
                connection.commit()
    connection.close()


def _next_file(server: Server) -> None:
    time.sleep(1.5)  # a file's begin has whole seconds
    server.execute("FLUSH BINARY LOGS")


def _pay(cursor: Any, rnd: random.Random) -> None:
    cursor.execute(
        "UPDATE customers SET balance = balance - 1.25, seen = UTC_TIMESTAMP(3),"
        " profile = JSON_SET(profile, '$.paid', %s) WHERE id = %s",
        (rnd.randint(1, 99), rnd.randint(1, ROWS)),
    )


def _order(cursor: Any, rnd: random.Random) -> None:
    cursor.execute(
        "REPLACE INTO orders VALUES (%s, %s, %s, 'open', %s, UTC_TIMESTAMP(3), NULL, '01:02:03.5')",
        (rnd.randint(0, 6), rnd.randint(1000, 1200), rnd.randint(1, ROWS), rnd.randint(1, 9999)),
    )


def _renumber(cursor: Any, rnd: random.Random) -> None:
    number = rnd.randint(1, ROWS)
    cursor.execute(
        "UPDATE IGNORE orders SET number = number + %s WHERE shop = %s AND number = %s",
        (rnd.randint(1, 500), number % 7, number),
    )


def _return(cursor: Any, rnd: random.Random) -> None:
    sku = f"SKU-{rnd.randint(1, ROWS)}"
    cursor.execute("DELETE FROM products WHERE sku = %s", (sku,))
    cursor.execute("INSERT INTO products (sku, title, size) VALUES (%s, 'zurück', 'M')", (sku,))


def _note(cursor: Any, rnd: random.Random) -> None:
    cursor.execute(
        "UPDATE order_lines SET note = %s, quantity = quantity + 1 WHERE number = %s",
        (rnd.choice((None, "späť 🚲", "")), rnd.randint(1, ROWS)),
    )


_CHANGES = (_pay, _order, _renumber, _return, _note)


def _gzipped(file: Path) -> None:
    (FOLDER / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes(), mtime=0))


def _zstandard(file: Path) -> None:
    packed = zstandard.ZstdCompressor(level=19).compress(file.read_bytes())
    (FOLDER / f"{file.name}.zst").write_bytes(packed)


def _as_it_is(file: Path) -> None:
    shutil.copyfile(file, FOLDER / file.name)


if __name__ == "__main__":
    main()
