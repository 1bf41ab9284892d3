"""The ClickHouse sink over HTTP, and what it says when the place is down, locked or full."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect import get_client
from clickhouse_connect.driver.client import Client

from resources.errors import ConfigError, SinkUnavailable, TransientError
from resources.sinks.clickhouse import ClickHouseSink
from resources.sinks.clickhouse_errors import translate
from resources.sinks.contract import Sink, Watermark
from tests.contracts.sink_shared_steps import ALL_STEPS
from tests.contracts.sink_steps import (
    FEED,
    STEPS,
    TARGET,
    fence,
    keys_of,
    load,
    observe,
    rows_of,
)
from tests.servers.clickhouse_http import PASSWORD
from tests.sinks.clickhouse_room import WORDS
from tests.sinks.hands_sql import SqlHands
from tests.strategies import comparable


class HttpServer:
    """The engine behind HTTP in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.servers.clickhouse_http"]
        command += [str(self.folder), str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert self.process.stdout.readline().startswith("ready")

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            if self.process.stdout is not None:
                self.process.stdout.close()
            self.process = None

    def sink(self, **options: Any) -> ClickHouseSink:
        given: dict[str, Any] = {"password": PASSWORD, "secure": False, "connect_timeout": 3}
        return ClickHouseSink(host="127.0.0.1", port=self.port, **(given | options))

    def client(self) -> Client:
        """The connection of somebody else."""
        return get_client(host="127.0.0.1", port=self.port, password=PASSWORD)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpServer]:
    server = HttpServer(tmp_path_factory.mktemp("clickhouse-http") / "engine")
    server.start()
    yield server
    server.kill()


@pytest.mark.nightly
class TestClickHouseOverHttpByHand(SqlHands):
    """Changes by another client of the server, as a person with its console would make them."""

    words = WORDS
    server: HttpServer

    @pytest.fixture(autouse=True)
    def _server(self, server: HttpServer) -> None:
        type(self).server = server

    def open(self, place: str) -> ClickHouseSink:
        sink = self.server.sink()
        sink.drop_table(TARGET.id)
        self.run(sink, place, ("DROP DATABASE IF EXISTS shop",))
        return sink

    def run(self, sink: Sink, place: str, statements: tuple[str, ...]) -> None:
        with self.server.client() as client:
            for statement in statements:
                client.command(statement)


@pytest.fixture
def sink(server: HttpServer) -> Iterator[ClickHouseSink]:
    with server.sink() as sink:
        sink.drop_table(TARGET.id)
        yield sink


@pytest.mark.parametrize("step", ["merge", "load", "alter", "append", "shared load"])
def test_every_kind_of_write_over_http(sink: ClickHouseSink, step: str) -> None:
    plan = ALL_STEPS[step]
    sink.drop_table(plan.target.id)
    plan.prepare(sink)
    before = observe(sink, plan.target, plan.feed), sink.read_schema(plan.target.id)
    plan.work(sink)
    after = observe(sink, plan.target, plan.feed), sink.read_schema(plan.target.id)
    assert after != before
    plan.redo(sink)
    assert (observe(sink, plan.target, plan.feed), sink.read_schema(plan.target.id)) == after


def test_threads_write_tables_at_the_same_time(sink: ClickHouseSink) -> None:
    """One connection takes several writers; of two to one table one is fenced out."""
    from dataclasses import replace

    from resources.sinks.contract import TargetId

    failed: list[BaseException] = []

    def write(number: int) -> None:
        target = replace(TARGET, id=TargetId("shop", f"t{number}"))
        try:
            sink.drop_table(target.id)
            sink.create_table(target)
            for seq in range(1, 4):
                sink.merge(target, rows_of({seq: "x"}), keys_of(), fence(seq - 1 or None, seq))
            assert sink.count_rows(target.id) == 3
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


def test_a_wrong_password_is_not_tried_again(server: HttpServer) -> None:
    with server.sink(password="canary") as sink, pytest.raises(ConfigError) as caught:
        sink.read_watermark(TARGET.id, FEED)
    assert "canary" not in str(caught.value)
    assert "password" in caught.value.remedy


def test_a_server_that_is_down_at_the_start_or_goes_down_in_the_middle(
    server: HttpServer,
) -> None:
    """The error is transient and names the place; afterwards the same call goes through."""
    with server.sink() as sink:
        sink.drop_table(TARGET.id)
        STEPS["merge"].prepare(sink)
        server.kill()
        with pytest.raises(SinkUnavailable):
            STEPS["merge"].work(sink)
        with server.sink() as other, pytest.raises(SinkUnavailable, match=str(server.port)):
            other.read_watermark(TARGET.id, FEED)
        server.start()
        assert sink.read_watermark(TARGET.id, FEED) == Watermark(10, 15, 1)
        STEPS["merge"].work(sink)
        left = comparable(rows_of({2: "TWO", 3: None, 4: "four"}))
        assert observe(sink, TARGET) == (left, Watermark(20, 15, 1))


def test_a_folder_another_process_has_open(server: HttpServer, tmp_path: Path) -> None:
    with ClickHouseSink(str(server.folder), lock_timeout=0.2) as sink:
        with pytest.raises(SinkUnavailable, match=r"waited 0\.2 s") as caught:
            sink.read_watermark(TARGET.id, FEED)
        assert str(server.folder) in str(caught.value)
        assert "process" in caught.value.remedy
    with ClickHouseSink(str(tmp_path / "other")) as sink:
        assert load(sink, TARGET, "a", [rows_of({1: "one"})], fence(None, 1)) == 1


class Said(Exception):
    pass


@pytest.mark.parametrize(
    ("code", "name", "text", "kind", "told"),
    [
        (243, "NOT_ENOUGH_SPACE", "Cannot reserve 1 MiB", SinkUnavailable, "free disk space"),
        (241, "MEMORY_LIMIT_EXCEEDED", "secret", SinkUnavailable, "less to do"),
        (252, "TOO_MANY_PARTS", "secret", SinkUnavailable, "larger batches"),
        (242, "TABLE_IS_READ_ONLY", "secret", TransientError, "Keeper"),
        (
            *(497, "ACCESS_DENIED", "it's necessary to have the grant INSERT(id) ON shop.orders."),
            *(ConfigError, "GRANT INSERT(id) ON shop.orders"),
        ),
    ],
)
def test_errors_of_a_server(code: int, name: str, text: str, kind: Any, told: str) -> None:
    """Errors that need a full disk, a quota or a user are taken from their codes."""
    from clickhouse_connect.driver.exceptions import DatabaseError

    error = translate(DatabaseError(f"Code: {code}. {text}", code=code, name=name), "shop.orders")
    assert isinstance(error, kind)
    assert told in str(error)
    assert "secret" not in str(error)
