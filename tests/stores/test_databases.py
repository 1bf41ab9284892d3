"""The store suite on every kind of database, and what only one kind does."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from resources.errors import ConfigError, TransientError
from resources.stores.database import StateDatabase
from tests.contracts.store_suite import StoreSuite
from tests.servers.family import FamilyServer
from tests.servers.postgres import PostgresServer


class TestSQLite(StoreSuite):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path}/deep/er/state.db"


class TestPostgreSQL(StoreSuite):
    @pytest.fixture
    def url(self, postgres: PostgresServer, postgres_db: str) -> str:
        return postgres.url_for(postgres.user, postgres.password, postgres_db)


class TestMariaDB(StoreSuite):
    @pytest.fixture
    def url(self, mariadb: FamilyServer, mariadb_db: str) -> Iterator[str]:
        return mariadb.url_for(mariadb.user, mariadb.password, mariadb_db)


def test_a_sqlite_file_is_private_even_under_a_lax_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        db = StateDatabase(f"sqlite:///{tmp_path}/a/b/state.db")
        with db.begin() as conn:
            conn.execute(text("UPDATE cdc_tokens SET last = 1"))
            modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "a/b").iterdir()}
    finally:
        os.umask(before)
    assert set(modes) == {"state.db", "state.db-wal", "state.db-shm"}
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE((tmp_path / "a/b").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o700


def test_readers_do_not_wait_for_a_writer(tmp_path: Path) -> None:
    db = StateDatabase(f"sqlite:///{tmp_path}/state.db")
    with db.begin() as writing:
        writing.execute(text("UPDATE cdc_tokens SET last = 7"))
        with db.read() as reading:
            assert reading.scalar(text("SELECT last FROM cdc_tokens")) == 0


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sqlite://", "needs a file"),
        ("sqlite:///:memory:", "needs a file"),
        ("oracle://u:hunter2@h/d", "cannot hold the state"),
        ("no url hunter2", "cannot be read"),
        ("sqlite:////proc/nope/state.db", "cannot be created"),
    ],
)
def test_what_cannot_hold_the_state_is_refused(url: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        StateDatabase(url)
    assert "hunter2" not in str(caught.value)


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "state.db"
    file.write_bytes(b"some other file's content, longer than a header of 100 bytes " * 4)
    before = file.read_bytes()
    with pytest.raises(ConfigError, match="cannot be used"):
        StateDatabase(f"sqlite:///{file}")
    assert file.read_bytes() == before


def test_a_wrong_password_is_transient_and_never_shown(
    postgres: PostgresServer, mariadb: FamilyServer
) -> None:
    secret = "hunter2%/@: x"
    for url in (postgres.url_for("postgres", secret), mariadb.url_for("root", secret, "mysql")):
        with pytest.raises(TransientError) as caught:
            StateDatabase(url.replace(str(postgres.port), "1") if "postgres" in url else url)
        shown = f"{caught.value} {caught.value!r} {caught.value.__cause__}"
        assert "hunter2" not in shown
        assert "***" in caught.value.where
