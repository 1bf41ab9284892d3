"""Logs recorded once for all tests here: MySQL with and without GTIDs, MariaDB."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.mysql.log_files.recorded import KINDS, Recorded, record
from tests.mysql.room import started_together


@pytest.fixture(scope="package")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Recorded]]:
    home = tmp_path_factory.mktemp("recorded")
    with started_together(KINDS, lambda kind, server: record(server, home / kind)) as recorded:
        yield recorded


@pytest.fixture(params=list(KINDS))
def recorded(request: pytest.FixtureRequest, recordings: dict[str, Recorded]) -> Recorded:
    return recordings[request.param]


@pytest.fixture
def on_mysql(recordings: dict[str, Recorded]) -> Recorded:
    return recordings["mysql"]
