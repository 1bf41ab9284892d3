"""Server fixtures: each kind is started when first asked for and ended with the run."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import Phase, settings
from hypothesis.internal.conjecture import engine

from tests.servers import KINDS, Kind, Server, ServerUnavailableError, start_server

if TYPE_CHECKING:
    from tests.servers.family import FamilyServer
    from tests.servers.kafka import KafkaServer
    from tests.servers.oceanbase import OceanBaseServer
    from tests.servers.postgres import PostgresServer

ALLOW_MISSING = "CDC_ALLOW_MISSING_SERVERS"
_SERVER_FIXTURES = {*KINDS, "mysql_family"}

# A first call may compile a kernel, so no example has a deadline. Explaining a failure traces every
# line that runs, and shrinking one may take five minutes: both cost more here than they tell.
settings.register_profile(
    "cdc", settings.default, deadline=None, phases=set(Phase) - {Phase.explain}, print_blob=True
)
settings.load_profile("cdc")
engine.MAX_SHRINKING_SECONDS = 30


@contextmanager
def shared_server(kind: Kind) -> Iterator[Server]:
    """A server for the session; a missing one fails the test unless missing ones are allowed."""
    try:
        server = start_server(kind)
    except ServerUnavailableError as error:
        reason = f"no {kind} server: {error}"
        if os.environ.get(ALLOW_MISSING) == "1":
            pytest.skip(reason)
        pytest.fail(f"{reason}\n(set {ALLOW_MISSING}=1 to skip such tests)", pytrace=False)
    try:
        yield server
    finally:
        server.close()


@contextmanager
def fresh_database(server: Server) -> Iterator[str]:
    """A new database on the server, dropped afterwards."""
    name = f"t_{uuid.uuid4().hex[:12]}"
    server.execute(f"CREATE DATABASE {name}")
    try:
        yield name
    finally:
        if not server.running:  # the test killed it; the next test needs it
            server.start()
        server.execute(f"DROP DATABASE IF EXISTS {name}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a server, so that ``-m "not server"`` is the quick part."""
    for item in items:
        if _SERVER_FIXTURES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.server)


@pytest.fixture(scope="session")
def mysql() -> Iterator[FamilyServer]:
    """MySQL with GTIDs, ROW format, FULL image and FULL row metadata."""
    with shared_server("mysql") as server:
        yield cast("FamilyServer", server)


@pytest.fixture(scope="session")
def mariadb() -> Iterator[FamilyServer]:
    """MariaDB with ROW format and FULL row metadata."""
    with shared_server("mariadb") as server:
        yield cast("FamilyServer", server)


@pytest.fixture(scope="session")
def oceanbase() -> Iterator[OceanBaseServer]:
    """The OceanBase kernel; it has no binary log."""
    with shared_server("oceanbase") as server:
        yield cast("OceanBaseServer", server)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """PostgreSQL, as a sink."""
    with shared_server("postgres") as server:
        yield cast("PostgresServer", server)


@pytest.fixture(scope="session")
def kafka() -> Iterator[KafkaServer]:
    """A Kafka broker."""
    with shared_server("kafka") as server:
        yield cast("KafkaServer", server)


@pytest.fixture(params=["mysql", "mariadb"])
def mysql_family(request: pytest.FixtureRequest) -> FamilyServer:
    """Both servers with a binary log, one after the other."""
    return cast("FamilyServer", request.getfixturevalue(request.param))


@pytest.fixture
def mysql_db(mysql: FamilyServer) -> Iterator[str]:
    """Name of a fresh database on MySQL."""
    with fresh_database(mysql) as name:
        yield name


@pytest.fixture
def mariadb_db(mariadb: FamilyServer) -> Iterator[str]:
    """Name of a fresh database on MariaDB."""
    with fresh_database(mariadb) as name:
        yield name


@pytest.fixture
def family_db(mysql_family: FamilyServer) -> Iterator[str]:
    """Name of a fresh database on the server of ``mysql_family``."""
    with fresh_database(mysql_family) as name:
        yield name


@pytest.fixture
def oceanbase_db(oceanbase: OceanBaseServer) -> Iterator[str]:
    """Name of a fresh database on the OceanBase kernel."""
    with fresh_database(oceanbase) as name:
        yield name


@pytest.fixture
def postgres_db(postgres: PostgresServer) -> Iterator[str]:
    """Name of a fresh database on PostgreSQL."""
    with fresh_database(postgres) as name:
        yield name
