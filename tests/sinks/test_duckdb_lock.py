"""One DuckDB file and several processes."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest

from resources.errors import SinkUnavailable
from resources.sinks.duckdb import DuckDBSink
from tests.contracts.sink_steps import STEPS, TARGET

_HOLD = """
import duckdb, sys, time
with duckdb.connect(sys.argv[1], read_only=sys.argv[2] == "read") as connection:
    rows = connection.execute("SELECT count(*) FROM shop.shop.orders").fetchall()
    print(rows[0][0], flush=True)
    time.sleep(float(sys.argv[3]))
"""


@contextmanager
def holder(path: str, how: str, seconds: float) -> Iterator[tuple[int, int]]:
    """Another process that has the file open; its id and the rows it counted."""
    command = [sys.executable, "-c", _HOLD, path, how, str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        counted = process.stdout.readline()
        try:
            yield process.pid, int(counted)
        finally:
            process.kill()


@pytest.fixture
def path(tmp_path: Path) -> str:
    path = str(tmp_path / "shop.duckdb")
    with DuckDBSink(path) as sink:
        STEPS["merge"].prepare(sink)
    return path


@pytest.mark.parametrize("how", ["read", "write"])
def test_a_held_file_is_waited_for_and_the_holder_named(path: str, how: str) -> None:
    with holder(path, how, 60) as (pid, rows), DuckDBSink(path, lock_timeout=0.5) as sink:
        assert rows == 3
        start = time.monotonic()
        with pytest.raises(SinkUnavailable) as caught:
            STEPS["merge"].work(sink)
        assert 0.4 < time.monotonic() - start < 10
        assert f"PID {pid}" in str(caught.value)
        assert path in str(caught.value)


def test_a_file_released_in_time_is_written(path: str) -> None:
    with holder(path, "read", 0.5), DuckDBSink(path, lock_timeout=30) as sink:
        STEPS["merge"].work(sink)
        assert sink.count_rows(TARGET.id) == 3


def test_closed_sink_lets_readers_in_and_opens_again(path: str) -> None:
    with DuckDBSink(path) as sink:
        STEPS["merge"].work(sink)
        sink.close()
        with holder(path, "read", 0) as (_, rows):
            assert rows == 3
        assert sink.count_rows(TARGET.id) == 3


def test_nothing_is_opened_before_it_is_used(tmp_path: Path) -> None:
    with DuckDBSink(str(tmp_path / "none.duckdb")):
        pass
    assert list(tmp_path.iterdir()) == []


def test_other_settings_in_this_process(path: str) -> None:
    sink = DuckDBSink(path, lock_timeout=0.2)
    with duckdb.connect(path), pytest.raises(SinkUnavailable, match="open elsewhere in this"):
        sink.count_rows(TARGET.id)
    assert sink.count_rows(TARGET.id) == 3
    sink.close()


def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "text.duckdb").write_text("not a database " * 1000)
    for file in ("text.duckdb", "no folder/x.duckdb"):
        sink = DuckDBSink(str(tmp_path / file), lock_timeout=0.2)
        with pytest.raises(SinkUnavailable, match="cannot be opened"):
            sink.count_rows(TARGET.id)
