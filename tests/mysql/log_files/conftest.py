"""Logs recorded once for all tests here: MySQL with and without GTIDs, MariaDB."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.mysql.log_files.recorded import KINDS, Recorded, record


@pytest.fixture(scope="package")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Recorded]]:
    home = tmp_path_factory.mktemp("recorded")
    with ThreadPoolExecutor() as threads:
        servers = dict(zip(KINDS, threads.map(lambda k: KINDS[k]().start(), KINDS), strict=True))
        try:
            found = threads.map(lambda kind: record(servers[kind], home / kind), servers)
            yield dict(zip(servers, found, strict=True))
        finally:
            for server in servers.values():
                server.close()


@pytest.fixture(params=list(KINDS))
def recorded(request: pytest.FixtureRequest, recordings: dict[str, Recorded]) -> Recorded:
    return recordings[request.param]


@pytest.fixture
def on_mysql(recordings: dict[str, Recorded]) -> Recorded:
    return recordings["mysql"]
