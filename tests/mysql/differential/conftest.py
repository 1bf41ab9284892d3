"""A database on each server with a log, its character sets, and columns of any type it has."""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import strategies as st

from tests.mysql.binlog.log import Log
from tests.mysql.differential import columns, columns_own, columns_text
from tests.mysql.differential.charsets import Charset, charsets_of


@pytest.fixture
def log(mysql_family: Any, family_db: str) -> Log:
    return Log(mysql_family, family_db)


@pytest.fixture
def mysql_log(mysql: Any, mysql_db: str) -> Log:
    return Log(mysql, mysql_db)


@pytest.fixture(scope="session")
def repertoires() -> dict[str, list[Charset]]:
    """Character sets by server, asked once."""
    return {}


@pytest.fixture
def charsets(log: Log, repertoires: dict[str, list[Charset]]) -> list[Charset]:
    """The server's character sets, every one of which is read."""
    if log.flavor not in repertoires:
        repertoires[log.flavor] = charsets_of(log.server)
    return repertoires[log.flavor]


@pytest.fixture
def any_column(log: Log, charsets: list[Charset]) -> st.SearchStrategy[columns.ColumnCase]:
    """Columns of every type the server has."""
    return st.one_of(
        columns.integers,
        columns.decimals(),
        columns.floats,
        columns.bits,
        columns.temporal,
        columns_text.texts(charsets),
        columns_text.binaries,
        columns_text.labels(charsets),
        columns_own.own(log.flavor),
    )


@pytest.fixture
def seed_number(request: pytest.FixtureRequest) -> int:
    """CDC_SEED; a fixed one in `make test`, a new one each night. Printed, to repeat a failure."""
    nightly = any(mark.name == "nightly" for mark in request.node.iter_markers())
    default = int.from_bytes(os.urandom(4), "big") if nightly else 20260
    number = int(os.environ.get("CDC_SEED", default))
    print(f"CDC_SEED={number}")
    return number
