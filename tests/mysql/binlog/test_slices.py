"""Slices: when they end, how much they hold, how a stream follows and stops."""

from __future__ import annotations

import itertools
import threading
import time
from dataclasses import replace

from tests.mysql.binlog.log import Log, kinds_of, rows_of

NUMBERS = """WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
             SELECT i, CONCAT('value ', i), i * 1.5 FROM n"""


def test_a_large_transaction_comes_in_bounded_slices(log: Log) -> None:
    count = 200_000
    limit = "max_recursive_iterations" if log.flavor == "mariadb" else "cte_max_recursion_depth"
    log.run("CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(30), d DECIMAL(12,2))")
    start = log.position()
    log.run(f"SET {limit} = 1000000", "INSERT INTO t " + NUMBERS.format(count=count))
    # A slow moment before the first row ends a slice that has none.
    slices = [s for s in log.read(start, transaction_rows=50_000) if s.rows]
    complete = [s.complete for s in slices]
    assert complete == sorted(complete) and complete.count(False) == 3
    assert all(s.rows < 55_000 for s in slices) and sum(s.rows for s in slices) == count
    ids = [i for s in slices for b in s.batches for i in b.rows.column("id").to_pylist()]
    assert ids == list(range(1, count + 1))
    assert {str(s.end) for s in slices if not s.complete} == {str(start)}
    assert slices[-1].end.reached(log.position())


def test_a_row_beyond_sixteen_megabytes(log: Log) -> None:
    log.run("CREATE TABLE t (id INT PRIMARY KEY, v LONGTEXT)")
    start = log.position()
    log.run("INSERT INTO t VALUES (1, REPEAT('ab', 9000000))", "INSERT INTO t VALUES (2, 'x')")
    slices = log.read(start)
    rows = rows_of(slices, "t")
    assert [len(r["v"]) for r in rows] == [18_000_000, 1]
    assert rows[0]["v"] == "ab" * 9_000_000
    assert sum(s.bytes_read for s in slices) > 18_000_000


def test_slices_end_by_bytes_and_rows(log: Log) -> None:
    log.run("CREATE TABLE t (id INT PRIMARY KEY, v TEXT)")
    start = log.position()
    log.run(*(f"INSERT INTO t VALUES ({i}, REPEAT('x', 1000))" for i in range(10)))
    by_bytes = [s.rows for s in log.read(start, slice_bytes=2500) if s.rows]
    assert by_bytes == [3, 3, 3, 1]
    assert [s.rows for s in log.read(start, slice_rows=4) if s.rows] == [4, 4, 2]


def test_no_slice_spans_two_hours(mariadb_log: Log) -> None:
    """MariaDB's commit time is the session's, which a session may set."""
    mariadb_log.run("CREATE TABLE t (id INT PRIMARY KEY)")
    start = mariadb_log.position()
    hours = [1_600_000_000 + 3600 * h for h in (0, 0, 1, 1, 0)]
    statements = [
        (f"SET timestamp = {at}", f"INSERT INTO t VALUES ({i})") for i, at in enumerate(hours)
    ]
    mariadb_log.run(*(s for pair in statements for s in pair))
    slices = [s for s in mariadb_log.read(start) if s.rows]
    assert [[v for _, v in kinds_of([s], "t")] for s in slices] == [[0, 1], [2, 3], [4]]
    assert [s.first_ts_us // 1_000_000 for s in slices] == [hours[0], hours[2], hours[4]]
    for piece, following in itertools.pairwise(slices):
        assert following.end.reached(piece.end) and piece.complete


def test_until_in_the_middle_and_nothing_to_do(log: Log) -> None:
    log.run("CREATE TABLE t (id INT PRIMARY KEY)")
    start = log.position()
    log.run("INSERT INTO t VALUES (1)")
    middle = log.position()
    log.run("INSERT INTO t VALUES (2)", "FLUSH BINARY LOGS")
    end = log.position()
    for gtid in (True, False):
        begin = start if gtid else replace(start, gtid_set="")
        slices = list(log.stream(begin, middle))
        assert [v for _, v in kinds_of(slices, "t")] == [1]
        assert slices[-1].end.offset == middle.offset
        assert kinds_of(log.stream(slices[-1].end, end), "t")[0][1] == 2
    assert list(log.stream(middle, middle)) == []
    assert list(log.stream(end, start)) == []


def test_until_in_a_file_that_has_no_transaction_yet(log: Log) -> None:
    log.run("CREATE TABLE t (id INT PRIMARY KEY)")
    start = log.position()
    log.run("FLUSH BINARY LOGS")
    end = log.position()
    for gtid in (True, False):
        begin = start if gtid else replace(start, gtid_set="")
        slices = list(log.stream(begin, end))
        assert slices[-1].end.reached(end) and not slices[-1].rows


def test_an_idle_stream_speaks_and_stops(log: Log) -> None:
    log.run("CREATE TABLE t (id INT PRIMARY KEY)", "CREATE TABLE other (id INT PRIMARY KEY)")
    start = log.position()
    log.run("INSERT INTO other VALUES (1)")
    here = log.position()
    stopped = threading.Event()
    begun = time.monotonic()
    slices = []
    for piece in log.stream(
        start, wanted=lambda t: t.table == "t", stop=stopped.is_set, slice_seconds=0.3
    ):
        slices.append(piece)
        if len(slices) == 4:
            stopped.set()
    assert 0.8 < time.monotonic() - begun < 10
    assert len(slices) == 5 and not any(s.rows for s in slices)
    assert slices[-1].end.reached(here)


def test_writing_while_reading(log: Log) -> None:
    log.run("CREATE TABLE t (id INT PRIMARY KEY, v INT)")
    start = log.position()
    stopped = threading.Event()

    def write() -> None:
        for i in range(60):
            log.run("BEGIN", f"INSERT INTO t VALUES ({i}, 0)", f"UPDATE t SET v = {i}", "COMMIT")
        stopped.set()

    writer = threading.Thread(target=write)
    writer.start()
    slices = list(log.stream(start, stop=stopped.is_set, slice_seconds=0.05))
    writer.join()
    slices += log.read(slices[-1].end)
    last = {r["id"]: r["v"] for r in rows_of(slices, "t")}
    assert last == dict.fromkeys(range(60), 59)
