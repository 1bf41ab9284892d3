"""What cannot be decoded exactly is refused, with place and remedy, however a client sets it up."""

from __future__ import annotations

import pytest

from resources.errors import UnsupportedEvent
from resources.model.change import TableNotice
from resources.model.position import BinlogPosition, ServerIdentity
from resources.mysql.binlog.decoder import LogDecoder
from resources.mysql.binlog.events import EventType
from resources.mysql.binlog.options import StreamOptions
from tests.mysql.binlog.log import Log, kinds_of
from tests.mysql.binlog.synthetic import FILE, log_event, table_map

TABLE = "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(20), j JSON)"


def refused(log: Log, *statements: str, remedy: str) -> None:
    """Both refused where wanted, and passed over where not."""
    start = log.position()
    log.run(*statements)
    with pytest.raises(UnsupportedEvent) as error:
        log.read(start)
    assert remedy in error.value.remedy
    assert error.value.where.startswith(start.file)
    assert "secret" not in str(error.value)
    others = log.read(start, wanted=lambda table: False)
    assert others[-1].end.reached(log.position())


@pytest.mark.parametrize("image", ["MINIMAL", "NOBLOB"])
def test_partial_row_images(log: Log, image: str) -> None:
    log.run(
        "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(20), b TEXT)",
        "INSERT INTO t VALUES (1, 'secret', 'x')",
    )
    refused(
        log,
        f"SET SESSION binlog_row_image = {image}",
        "UPDATE t SET v = 'secret2'",
        remedy="binlog_row_image = FULL",
    )


def test_rows_without_column_names(log: Log) -> None:
    log.run(TABLE, "SET GLOBAL binlog_row_metadata = MINIMAL")
    try:
        refused(
            log, "INSERT INTO t VALUES (1, 'secret', NULL)", remedy="binlog_row_metadata = FULL"
        )
    finally:
        log.run("SET GLOBAL binlog_row_metadata = FULL")


def test_xa_committed_in_one_phase(mysql_log: Log) -> None:
    mysql_log.run(TABLE)
    start = mysql_log.position()
    mysql_log.run(
        "XA START 'x'",
        "INSERT INTO t VALUES (1, 'a', NULL)",
        "XA END 'x'",
        "XA COMMIT 'x' ONE PHASE",
        "INSERT INTO t VALUES (2, 'b', NULL)",
    )
    slices = mysql_log.read(start)
    assert [value for _, value in kinds_of(slices, "t")] == [1, 2]
    assert sum(s.transactions for s in slices) == 2


def test_dml_logged_as_text_is_told(log: Log) -> None:
    log.run(TABLE, "CREATE TABLE u (id INT PRIMARY KEY)")
    start = log.position()
    log.run(
        "SET SESSION binlog_format = 'STATEMENT'",
        "INSERT INTO t VALUES (1, 'secret', NULL)",
        "SET SESSION binlog_format = 'ROW'",
        "INSERT INTO t VALUES (2, 'b', NULL)",
    )
    slices = log.read(start)
    notices = [n for s in slices for n in s.notices]
    position = notices[0].position
    assert notices == [
        TableNotice(
            log.table("t"), 0, "statement", "INSERT INTO t VALUES(?,?,NULL)", position, True
        )
    ]
    assert [value for _, value in kinds_of(slices, "t")] == [2]


def test_compressed_columns_of_mariadb(mariadb_log: Log) -> None:
    mariadb_log.run("CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(500) COMPRESSED)")
    refused(mariadb_log, "INSERT INTO t VALUES (1, 'x')", remedy="without COMPRESSED")


def test_dates_in_the_old_format(mariadb_log: Log) -> None:
    mariadb_log.run("SET GLOBAL mysql56_temporal_format = OFF")
    try:
        mariadb_log.run("CREATE TABLE t (id INT PRIMARY KEY, v DATETIME)")
        refused(
            mariadb_log,
            "INSERT INTO t VALUES (1, '2021-01-01')",
            remedy="mysql56_temporal_format = ON",
        )
    finally:
        mariadb_log.run("SET GLOBAL mysql56_temporal_format = ON")


def test_text_of_a_collation_nobody_knows() -> None:
    """Every character set of today's servers is decoded; one that comes after them is not."""
    body = table_map(1, 0).replace(b"\x02\x01\x2d", b"\x02\x03\xfc\xff\x0f")
    event = log_event(EventType.TABLE_MAP, body, 99, 1, False)
    start = BinlogPosition(FILE, 4, "", ServerIdentity("mysql", "x"))
    decoder = LogDecoder(start, "mysql", None, lambda t: True, lambda: False, StreamOptions())
    decoder.begin_events(checksums=False)
    decoder.room()[: len(event)] = event
    decoder.received(len(event))
    with pytest.raises(UnsupportedEvent, match="collation 4095") as error:
        list(decoder.pieces())
    assert "utf8mb4" in error.value.remedy and error.value.where.startswith(f"{FILE}:99")
