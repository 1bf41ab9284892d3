"""A log to read: a fresh database on MySQL or MariaDB."""

from __future__ import annotations

import pytest

from tests.mysql.binlog.log import Log
from tests.servers.family import FamilyServer


@pytest.fixture
def log(mysql_family: FamilyServer, family_db: str) -> Log:
    return Log(mysql_family, family_db)


@pytest.fixture
def mysql_log(mysql: FamilyServer, mysql_db: str) -> Log:
    return Log(mysql, mysql_db)


@pytest.fixture
def mariadb_log(mariadb: FamilyServer, mariadb_db: str) -> Log:
    return Log(mariadb, mariadb_db)
