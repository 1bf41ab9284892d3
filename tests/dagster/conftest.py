"""One ephemeral Dagster instance for the session; a fresh folder and fresh names per test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import pytest

from tests.dagster.room import Room, run_sql

if TYPE_CHECKING:
    from tests.servers.family import FamilyServer


@pytest.fixture(scope="session")
def instance() -> Iterator[dg.DagsterInstance]:
    """The Dagster instance all tests of the session share."""
    with dg.DagsterInstance.ephemeral() as shared:
        yield shared


@pytest.fixture
def room(tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> Room:
    """A code location without pipelines; the process looks at it."""
    made = Room(tmp_path, instance)
    made.pipelines.mkdir()
    for name, value in made.env.items():
        monkeypatch.setenv(name, value)
    return made


@pytest.fixture
def shop(mysql: FamilyServer, mysql_db: str) -> str:
    """A database with two tables and some rows."""
    run_sql(
        mysql,
        f"CREATE TABLE {mysql_db}.orders (id INT PRIMARY KEY, item VARCHAR(40) NOT NULL, "
        "price DECIMAL(10,2))",
        f"CREATE TABLE {mysql_db}.users (id INT PRIMARY KEY, name VARCHAR(40))",
        f"INSERT INTO {mysql_db}.orders VALUES (1,'pen',1.20),(2,'book',9.99),(3,'bag',30.00)",
        f"INSERT INTO {mysql_db}.users VALUES (1,'ann'),(2,'bob')",
    )
    return mysql_db


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A pipeline name no other test of the session's instance has."""
    return f"p{abs(hash(request.node.nodeid)) % 10**10}"
