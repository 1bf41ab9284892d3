"""Connections that break, lie or are refused: nothing is lost, nothing comes twice."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from resources.errors import (
    ConfigError,
    CorruptEvent,
    PositionPurged,
    ServerChanged,
    SourceUnavailable,
)
from resources.model.position import BinlogPosition
from resources.mysql.binlog.server_errors import dump_error
from tests.mysql.binlog.log import Log, kinds_of, rows_of
from tests.servers.proxy import FaultProxy

ROWS = 3000


@pytest.fixture
def proxied(log: Log) -> Iterator[tuple[Log, FaultProxy]]:
    """A log read through a proxy whose faults hit the dump connection only."""
    with FaultProxy(log.server.host, log.server.port, dump_only=True) as proxy:
        log.connect = lambda: log.server.connect_cdc(
            host=proxy.host,
            port=proxy.port,
            ssl_disabled=True,
            user="root",
            password="root-secret-pw",
        )
        yield log, proxy


def written(log: Log) -> BinlogPosition:
    """Three transactions, the middle one of many events; the position before them."""
    log.run(
        "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(60))",
        "CREATE TABLE hundred (seq INT PRIMARY KEY)",
        "INSERT INTO hundred VALUES " + ",".join(f"({i})" for i in range(100)),
    )
    start = log.position()
    log.run(
        "INSERT INTO t VALUES (-1, 'first')",
        "BEGIN",
        *(
            "INSERT INTO t VALUES "
            + ",".join(f"({i}, REPEAT('x', 50))" for i in range(at, at + 100))
            for at in range(0, ROWS, 100)
        ),
        "COMMIT",
        "INSERT INTO t VALUES (-2, 'last')",
    )
    return start


EXPECTED = [-1, *range(ROWS), -2]


@pytest.mark.parametrize("cut", [50, 700, 20_000, 150_000])
def test_a_cut_connection_is_made_again(proxied: tuple[Log, FaultProxy], cut: int) -> None:
    log, proxy = proxied
    start = written(log)
    proxy.cut_after(cut)
    slices = log.read(start, backoff_seconds=0.01)
    assert [r["id"] for r in rows_of(slices, "t")] == EXPECTED
    assert [r["_cdc_seq"] for r in rows_of(slices, "t")] == list(range(len(EXPECTED)))
    assert proxy.delivered > cut


def test_parts_of_a_transaction_already_out_do_not_come_again(
    proxied: tuple[Log, FaultProxy],
) -> None:
    log, proxy = proxied
    start = written(log)
    proxy.cut_after(150_000)
    slices = log.read(start, backoff_seconds=0.01, transaction_rows=500)
    assert [r["id"] for r in rows_of(slices, "t")] == EXPECTED
    parts = [s for s in slices if not s.complete]
    assert len(parts) >= 3 and all(s.rows <= 1200 for s in slices)
    assert len({str(s.end) for s in parts}) == 1  # the boundary before the transaction


def test_a_flipped_byte_is_found_and_read_again(proxied: tuple[Log, FaultProxy]) -> None:
    log, proxy = proxied
    start = written(log)
    proxy.flip_byte(60_000)
    slices = log.read(start, backoff_seconds=0.01)
    assert [r["id"] for r in rows_of(slices, "t")] == EXPECTED


def test_a_byte_wrong_every_time_is_an_error(proxied: tuple[Log, FaultProxy]) -> None:
    log, proxy = proxied
    start = written(log)
    original = log.connect

    def connect() -> object:
        proxy.flip_byte(60_000)
        return original()

    log.connect = connect
    with pytest.raises(CorruptEvent, match="CRC32 expected") as error:
        log.read(start, backoff_seconds=0.01)
    assert error.value.where.startswith(f"{start.file}:")


def test_a_silent_server_counts_as_lost(proxied: tuple[Log, FaultProxy]) -> None:
    log, proxy = proxied
    start = written(log)
    paused = threading.Timer(0.6, proxy.pause)
    resumed = threading.Timer(3.0, proxy.resume)
    until = log.position()
    done = threading.Event()
    seen: list[int] = []
    paused.start(), resumed.start()

    def later() -> None:
        time.sleep(3.5)
        log.run("INSERT INTO t VALUES (-3, 'later')")

    writer = threading.Thread(target=later)
    writer.start()
    stream = log.stream(start, stop=done.is_set, heartbeat_seconds=0.3, backoff_seconds=0.1)
    for piece in stream:
        seen += [r["id"] for r in rows_of([piece], "t")]
        if -3 in seen:
            done.set()
    writer.join()
    assert seen == [*EXPECTED, -3]
    assert proxy.accepted >= 2
    assert log.position().reached(until)


def test_a_server_that_stays_away(log: Log) -> None:
    start = written(log)

    def nobody() -> object:
        raise SourceUnavailable("nobody there")

    log.connect = nobody
    with pytest.raises(SourceUnavailable, match="3 times in a row"):
        log.read(start, attempts=3, backoff_seconds=0.01)


def test_a_refused_login_is_not_tried_again(log: Log) -> None:
    tries = itertools.count()

    def connect() -> object:
        next(tries)
        return log.server.connect_cdc(password="wrong")

    log.connect = connect
    with pytest.raises(ConfigError, match="refused the account"):
        log.read(log_start := BinlogPosition("binlog.000001", 4, "", log.identity))
    assert next(tries) == 1 and log_start.offset == 4


def test_a_missing_privilege_names_the_grant(log: Log) -> None:
    log.run("CREATE USER IF NOT EXISTS poor@'%' IDENTIFIED BY 'poor-pw'")
    log.connect = lambda: log.server.connect(user="poor", password="poor-pw")
    try:
        with pytest.raises(ConfigError) as error:
            list(log.stream(BinlogPosition("binlog.000001", 4, "", log.identity)))
    finally:
        log.run("DROP USER poor@'%'")
    assert "REPLICATION SLAVE" in error.value.remedy


def test_a_purged_position(log: Log) -> None:
    old = log.position()
    unknown = BinlogPosition("binlog.999999", 4, "", old.identity)
    with pytest.raises(PositionPurged) as error:
        list(log.stream(unknown))
    assert "binlog.999999:4" in str(error.value) and "snapshot" in error.value.remedy


def test_purged_gtids(log: Log) -> None:
    log.run("CREATE TABLE t (id INT PRIMARY KEY)")
    start = log.position()
    log.run("INSERT INTO t VALUES (1)", "FLUSH BINARY LOGS", "INSERT INTO t VALUES (2)")
    log.run("FLUSH BINARY LOGS")
    current = log.position().file
    for _ in range(100):  # MariaDB keeps a file until its engines have written it through
        log.run(f"PURGE BINARY LOGS TO '{current}'")
        if log.run("SHOW BINARY LOGS")[0][0] == current:
            break
        time.sleep(0.1)
    with pytest.raises(PositionPurged):
        list(log.stream(start))
    with pytest.raises(PositionPurged):
        list(log.stream(BinlogPosition(start.file, start.offset, "", start.identity)))


def test_a_position_from_the_future(log: Log) -> None:
    here = log.position()
    with pytest.raises(ServerChanged):
        list(log.stream(BinlogPosition(here.file, here.offset + 1_000_000, "", here.identity)))
    if log.flavor == "mariadb":
        ahead = "0-1-99999999"
    else:
        ahead = log.run("SELECT CONCAT(@@server_uuid, ':1-99999999')")[0][0]
    with pytest.raises((ServerChanged, PositionPurged)):
        list(log.stream(BinlogPosition(here.file, here.offset, ahead, here.identity)))


def test_two_readers_with_one_server_id(log: Log) -> None:
    log.run("CREATE TABLE t (id INT PRIMARY KEY)")
    done = threading.Event()
    start = log.position()
    with closing(log.stream(start, stop=done.is_set, slice_seconds=0.1)) as first:
        next(first)
        with closing(log.stream(start, stop=done.is_set, slice_seconds=0.1)) as second:
            next(second)
            with pytest.raises(ConfigError, match="server_id 4242"):
                for _ in itertools.islice(first, 40):
                    pass


def test_a_restarted_server(mysql_family: object, log: Log) -> None:
    log.run("CREATE TABLE t (id INT PRIMARY KEY)")
    start = log.position()
    log.run("INSERT INTO t VALUES (1)")
    done = threading.Event()
    stream = log.stream(start, stop=done.is_set, backoff_seconds=0.2, attempts=40)
    slices = [next(stream)]
    log.server.restart()
    log.run("INSERT INTO t VALUES (2)")
    for piece in stream:
        slices.append(piece)
        if len(rows_of(slices, "t")) >= 2:
            done.set()
    assert [value for _, value in kinds_of(slices, "t")] == [1, 2]
    assert slices[-1].end.file > start.file


@pytest.mark.parametrize(
    ("code", "text", "error"),
    [
        (1236, "Could not find first log file name in binary log index file", PositionPurged),
        (1236, "Cannot replicate because the source purged required binary logs.", PositionPurged),
        (1236, "… requested to start replication from position > file size", ServerChanged),
        (1236, "Replica has more GTIDs than the source has, using …", ServerChanged),
        (1236, "binlog truncated in the middle of event; consider …", CorruptEvent),
        (1236, "A replica with the same server_uuid/server_id as this replica …", ConfigError),
        (4052, "A slave with the same server_uuid/server_id …", ConfigError),
        (1227, "Access denied; you need (at least one of) the …", ConfigError),
        (1236, "something never seen", ConfigError),
    ],
)  # fmt: skip
def test_texts_of_refusals(code: int, text: str, error: type[Exception]) -> None:
    found = dump_error(code, text, "binlog.000001:4", 7)
    assert type(found) is error
