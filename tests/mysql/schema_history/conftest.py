"""A server whose log does not name its columns, as servers are set by default."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.mysql.room import Room
from tests.servers.family import FamilyServer


@pytest.fixture
def nameless(mysql_family: FamilyServer) -> Iterator[FamilyServer]:
    """MySQL with MINIMAL row metadata and MariaDB with none at all, each the server's default."""
    default = "MINIMAL" if mysql_family.kind == "mysql" else "NO_LOG"
    mysql_family.execute(f"SET GLOBAL binlog_row_metadata = {default}")
    try:
        yield mysql_family
    finally:
        mysql_family.execute("SET GLOBAL binlog_row_metadata = FULL")


@pytest.fixture
def room(nameless: FamilyServer, family_db: str) -> Room:
    """A database of its own on such a server."""
    return Room(nameless, family_db)
