"""The README's tour and the documented grants, on real servers, as they are written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resources.mysql.connection import MySQLSettings
from resources.mysql.source import MySQLSource
from tests import oracle
from tests.docs.pages import ROOT, marked

if TYPE_CHECKING:
    from tests.servers.family import FamilyServer

PASSWORD = "tour-secret-pw"
TABLES = ("orders", "customers")
CHANGES = (
    "UPDATE shop.orders SET due = '2026-02-28' WHERE id = 1",
    "DELETE FROM shop.customers WHERE id = 1",
    "INSERT INTO shop.orders VALUES (4, 'lamp', NULL)",
)
DIRTY = 3
MEND = f"UPDATE shop.orders SET due = '2026-03-31' WHERE id = {DIRTY}"


@contextmanager
def shop(server: FamilyServer) -> Iterator[None]:
    """The tour's database and account; one order has a date that is none."""
    server.execute(
        "CREATE DATABASE shop",
        "CREATE TABLE shop.orders (id INT PRIMARY KEY, item VARCHAR(40) NOT NULL, due DATE)",
        "CREATE TABLE shop.customers (id INT PRIMARY KEY, name VARCHAR(40))",
        "INSERT INTO shop.customers VALUES (1, 'Ann'), (2, 'Bob')",
        "SET sql_mode = ''",
        "INSERT INTO shop.orders VALUES (1, 'pen', '2026-01-01'), (2, 'bag', NULL)",
        f"INSERT INTO shop.orders VALUES ({DIRTY}, 'cup', '0000-00-00')",
    )
    try:
        yield
    finally:
        server.execute("DROP DATABASE shop", "DROP USER IF EXISTS 'tour'@'%'")


def grant(server: FamilyServer, text: str) -> None:
    """Run documented statements for a fresh account."""
    text = text.replace("'cdc'@'%'", "'tour'@'%'").replace("…", PASSWORD)
    server.execute(*filter(str.strip, text.split(";")))


def test_the_tour(mysql: FamilyServer, tmp_path: Path) -> None:
    with shop(mysql):
        follow_the_readme(mysql, tmp_path)


def follow_the_readme(server: FamilyServer, home: Path) -> None:
    """Do what the README says, block by block, and compare after each step that should show."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (sql,) = re.findall(r"```sql\n(.*?)```", readme, re.DOTALL)
    grant(server, sql)
    (pipeline,) = (b for b in marked("README.md", "tour") if b.startswith("name:"))
    places = {
        "host: db.example.com": f"host: {server.host}",
        "port: 3306": f"port: {server.port}",
        "user: cdc": "user: tour",
        "mode: verify": "mode: require",
    }
    for written, here in places.items():
        assert written in pipeline
        pipeline = pipeline.replace(written, here)
    (home / "cdc" / "pipelines").mkdir(parents=True)
    (home / "cdc" / "pipelines" / "shop.yaml").write_text(pipeline, encoding="utf-8")

    setting, load_and_follow, one_table, look, replay = (
        b for b in marked("README.md", "tour") if not b.startswith("name:")
    )
    snapshot, sync = load_and_follow.strip().splitlines()
    run(home, setting, setting + snapshot)
    for statement in CHANGES:
        server.execute(statement)
    shown = run(home, setting, "\n".join((sync, look, one_table)))
    assert "pen" in shown
    assert differences(server, home) == {"orders": (1, 0), "customers": (0, 0)}
    server.execute(MEND)
    run(home, setting, replay)
    assert differences(server, home) == {"orders": (0, 0), "customers": (0, 0)}


def differences(server: FamilyServer, home: Path) -> dict[str, tuple[int, int]]:
    """Return per table how many rows the lake lacks, and how many it has in addition."""
    lake = str(home / "cdc" / "lake.duckdb")
    found = {}
    for table in TABLES:
        source = oracle.mysql_rows(server.connect(), "shop", table)
        difference = oracle.compare(table, source, oracle.duckdb_rows(lake, "shop", table))
        found[table] = (len(difference.missing), len(difference.extra))
    return found


def run(home: Path, setting: str, script: str) -> str:
    """Run lines of the tour in the checkout, as a user whose home is `home`."""
    variables = [line for line in setting.splitlines() if line.startswith("export ")]
    text = "\n".join(("set -eu", *variables, script)).replace("…", PASSWORD)
    bin_ = Path(sys.executable).parent
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("CDC_", "DAGSTER_"))}
    done = subprocess.run(
        ["bash", "-c", text],
        cwd=ROOT,
        env={**clean, "HOME": str(home), "PATH": f"{bin_}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done.stdout


def test_documented_grants_suffice(mysql_family: FamilyServer) -> None:
    with shop(mysql_family):
        read_everything(mysql_family)


def read_everything(server: FamilyServer) -> None:
    """Check, follow and copy the shop as an account with the documented grants and no others."""
    (sql,) = marked("docs/operations.md", f"{server.kind}-grants")
    has_tls = server.kind == "mysql"
    grant(server, sql if has_tls else sql.replace(" REQUIRE SSL", ""))
    source = MySQLSource(
        MySQLSettings(
            host=server.host,
            port=server.port,
            user="tour",
            password=PASSWORD,
            tls="require" if has_tls else "off",
            flavor=server.kind,
        ),
        pipeline="tour",
        include=["shop.*"],
    )
    try:
        assert [f for f in source.check() if f.level == "error"] == []
        start = source.current_position()
        for statement in CHANGES:
            server.execute(statement)
        assert changes_since(source, start) == len(CHANGES)
        tables = source.read_schemas(source.list_tables())
        assert sorted(t.table for t in tables) == sorted(TABLES)
        for schema in tables.values():
            chunks = list(source.plan_chunks(schema, 100, None))
            assert sum(p.rows.num_rows for c in chunks for p in source.read_chunk(schema, c)) > 0
    finally:
        source.close()


def changes_since(source: MySQLSource, start: Any) -> int:
    """Return how many rows the log holds from a position to its present end."""
    slices = source.stream_changes(start, source.current_position(), lambda: False)
    return sum(part.rows for part in slices)
