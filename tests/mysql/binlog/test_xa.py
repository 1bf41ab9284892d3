"""XA transactions: their rows come when they are committed, wherever the reader was meanwhile."""

from __future__ import annotations

from contextlib import closing

from resources.model.change import LogSlice, RowKind
from resources.model.position import BinlogPosition, position_from_json
from tests.mysql.binlog.log import Log, kinds_of

TABLE = "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(99))"
INSERT = RowKind.INSERT


class Xa:
    """One XA transaction on a connection of its own."""

    def __init__(self, log: Log, name: str, *statements: str) -> None:
        self.name = name
        self._connection = log.server.connect(database=log.database)
        with self._connection.cursor() as cursor:
            for statement in (f"XA START '{name}','b',7", *statements, f"XA END '{name}','b',7"):
                cursor.execute(statement)

    def finish(self, how: str) -> None:
        """PREPARE, COMMIT, ROLLBACK or COMMIT ONE PHASE."""
        word, _, rest = how.partition(" ")
        with self._connection.cursor() as cursor:
            cursor.execute(f"XA {word} '{self.name}','b',7 {rest}")
        if word != "PREPARE":
            self._connection.close()


def insert(first: int, count: int = 1) -> str:
    rows = ", ".join(f"({first + i}, REPEAT('x', 90))" for i in range(count))
    return f"INSERT INTO t VALUES {rows}"


def rewritten(slices: list[LogSlice]) -> list[str]:
    return [n.table.table for part in slices for n in part.notices if n.rewrites]


def stored(position: BinlogPosition) -> BinlogPosition:
    again = position_from_json(position.to_json())
    assert isinstance(again, BinlogPosition)
    return again


def test_rows_come_at_the_commit_and_not_after_a_rollback(log: Log) -> None:
    log.run(TABLE)
    start = log.position()
    kept = Xa(log, "kept", insert(1), insert(2), "UPDATE t SET v = 'y' WHERE id = 1")
    kept.finish("PREPARE")
    dropped = Xa(log, "dropped", insert(10))
    dropped.finish("PREPARE")
    log.run(insert(20))
    dropped.finish("ROLLBACK")
    kept.finish("COMMIT")
    log.run("DELETE FROM t WHERE id = 2")
    slices = log.read(start)
    assert kinds_of(slices, "t") == [
        (INSERT, 20),
        (INSERT, 1),
        (INSERT, 2),
        (RowKind.UPDATE_AFTER, 1),
        (RowKind.DELETE, 2),
    ]
    assert slices[-1].end.prepared == ()  # type: ignore[union-attr]
    assert not rewritten(slices)


def test_a_commit_in_one_phase_is_a_commit(log: Log) -> None:
    log.run(TABLE)
    start = log.position()
    Xa(log, "one", insert(1)).finish("COMMIT ONE PHASE")
    log.run(insert(2))
    assert kinds_of(log.read(start), "t") == [(INSERT, 1), (INSERT, 2)]


def test_a_reader_started_between_prepare_and_commit_has_the_rows(log: Log) -> None:
    log.run(TABLE)
    start = log.position()
    open_one = Xa(log, "open", insert(1), insert(2))
    open_one.finish("PREPARE")
    log.run(insert(20))
    before = log.read(start)
    assert kinds_of(before, "t") == [(INSERT, 20)]
    middle = before[-1].end
    assert isinstance(middle, BinlogPosition)
    assert [p.tables for p in middle.prepared] == [((log.database, "t"),)]
    log.run("FLUSH BINARY LOGS", insert(21))
    open_one.finish("COMMIT")
    after = log.read(stored(middle))
    assert kinds_of(after, "t") == [(INSERT, 21), (INSERT, 1), (INSERT, 2)]


def test_a_large_one_is_handed_out_in_parts_at_its_commit(log: Log) -> None:
    log.run(TABLE)
    start = log.position()
    large = Xa(log, "large", *(insert(n * 100, 100) for n in range(1, 21)))
    large.finish("PREPARE")
    log.run(insert(1))
    assert kinds_of(log.read(start), "t") == [(INSERT, 1)]
    large.finish("COMMIT")
    slices = log.read(start, transaction_rows=300)
    assert [key for _, key in kinds_of(slices, "t")] == [1, *range(100, 2100)]
    assert sum(not part.complete for part in slices) >= 5
    assert slices[-1].complete


def test_the_commit_of_one_prepared_before_the_start_has_the_tables_read_again(log: Log) -> None:
    log.run(TABLE, "CREATE TABLE u (id INT PRIMARY KEY)")
    early = Xa(log, "early", insert(1))
    early.finish("PREPARE")
    start = log.position()
    log.run("INSERT INTO u VALUES (1)")
    early.finish("COMMIT")
    tables = {log.table("t"), log.table("u")}
    slices = log.read(start, tables=lambda: tables)
    assert sorted(rewritten(slices)) == ["t", "u"]
    assert kinds_of(slices, "u") == [(INSERT, 1)]


def purge(log: Log, file: str) -> None:
    """Purge what lies before a file; a dump that has just ended holds its own for a moment."""
    while log.run("SHOW BINARY LOGS")[0][0] != file:
        log.run(f"PURGE BINARY LOGS TO '{file}'")


def test_one_whose_log_was_purged_has_its_tables_read_again(log: Log) -> None:
    log.run(TABLE, "CREATE TABLE u (id INT PRIMARY KEY)")
    log.run("FLUSH BINARY LOGS")
    start = log.position()
    purged = Xa(log, "purged", insert(1))
    purged.finish("PREPARE")
    middle = log.read(start)[-1].end
    assert isinstance(middle, BinlogPosition)
    log.run("FLUSH BINARY LOGS", "INSERT INTO u VALUES (1)")
    later = log.read(middle)[-1].end
    assert isinstance(later, BinlogPosition)
    purge(log, later.file)
    purged.finish("COMMIT")
    log.run("INSERT INTO u VALUES (2)")
    slices = log.read(stored(later))
    assert rewritten(slices) == ["t"]
    assert kinds_of(slices, "u") == [(INSERT, 2)]


def test_a_prepared_transaction_elsewhere_costs_nothing(log: Log) -> None:
    log.run(TABLE, "CREATE TABLE u (id INT PRIMARY KEY)")
    start = log.position()
    other = Xa(log, "other", "INSERT INTO u VALUES (1)")
    other.finish("PREPARE")
    log.run(insert(1))
    other.finish("COMMIT")
    slices = list(log.stream(start, log.position(), wanted=lambda t: t == log.table("t")))
    assert kinds_of(slices, "t") == [(INSERT, 1)]
    assert not rewritten(slices)


def test_a_session_that_ends_leaves_its_prepared_rows_to_be_committed(log: Log) -> None:
    log.run(TABLE)
    start = log.position()
    with closing(log.server.connect(database=log.database)) as connection:
        cursor = connection.cursor()
        for statement in ("XA START 'left'", insert(5), "XA END 'left'", "XA PREPARE 'left'"):
            cursor.execute(statement)
    log.run("XA COMMIT 'left'")
    assert kinds_of(log.read(start), "t") == [(INSERT, 5)]
