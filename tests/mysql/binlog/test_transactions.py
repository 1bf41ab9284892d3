"""Transactions as the server logged them: what they change, where they end, what they leave out."""

from __future__ import annotations

import pytest

from resources.model.change import RowKind
from resources.model.position import BinlogPosition
from resources.mysql.binlog.gtid import GtidSet
from tests.mysql.binlog.log import Log, kinds_of, rows_of

INS, B, A, D = RowKind.INSERT, RowKind.UPDATE_BEFORE, RowKind.UPDATE_AFTER, RowKind.DELETE
TABLE = "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(20))"


@pytest.mark.parametrize("gtid", [True, False])
def test_plain_changes(log: Log, gtid: bool) -> None:
    log.run(TABLE)
    start = log.position(gtid)
    log.run(
        "INSERT INTO t VALUES (1, 'a'), (2, NULL)",
        "UPDATE t SET v = 'b' WHERE id = 1",
        "UPDATE t SET id = 3 WHERE id = 1",
        "DELETE FROM t WHERE id = 2",
    )
    slices = log.read(start)
    assert kinds_of(slices, "t") == [(INS, 1), (INS, 2), (A, 1), (B, 1), (A, 3), (D, 2)]
    assert [r["v"] for r in rows_of(slices, "t")] == ["a", None, "b", "b", "b", None]
    assert slices[-1].end.reached(log.position())
    assert sum(s.transactions for s in slices) == 4
    assert all(s.complete for s in slices)


def test_update_of_a_table_without_key_has_both_images(log: Log) -> None:
    log.run("CREATE TABLE t (id INT, v INT)", "INSERT INTO t VALUES (1, 1), (1, 1)")
    start = log.position()
    log.run("UPDATE t SET v = 2", "DELETE FROM t")
    slices = log.read(start)
    assert [k for k, _ in kinds_of(slices, "t")] == [B, A, B, A, D, D]
    assert slices[0].batches[0].schema.key == ()


def test_an_update_of_a_watched_column_has_both_images(log: Log) -> None:
    log.run(
        "CREATE TABLE t (id INT PRIMARY KEY, w VARCHAR(300), v VARCHAR(20), n INT)",
        "INSERT INTO t VALUES (1, REPEAT('w', 300), 'a', 1)",
    )
    start = log.position()
    changes = ["v = 'b'", "w = 'x'", "w = NULL", "v = NULL", "n = NULL", "v = ''", "v = 'c', n = 2"]
    log.run(*(f"UPDATE t SET {change}" for change in changes))
    read = {
        watched: [(RowKind(r["_cdc_op"]), r["v"], r["n"]) for r in rows_of(slices, "t")]
        for watched in ("", "v")
        for slices in [log.read(start, watched=lambda _, names={watched}: names)]
    }
    assert [kind for kind, _, _ in read[""]] == [A] * len(changes)
    before_and_after = [(B, "a", 1), (A, "b", 1)]
    unwatched = [(A, "b", 1), (A, "b", 1)]
    assert read["v"] == [
        *before_and_after,
        *unwatched,
        *[(B, "b", 1), (A, None, 1)],
        (A, None, None),
        *[(B, None, None), (A, "", None)],
        *[(B, "", None), (A, "c", 2)],
    ]


def test_rolled_back_work_is_not_there(log: Log) -> None:
    log.run(TABLE, "CREATE TABLE u (id INT PRIMARY KEY)")
    start = log.position()
    log.run(
        "BEGIN",
        "INSERT INTO t VALUES (1, 'a')",
        "SAVEPOINT s",
        "INSERT INTO t VALUES (2, 'b')",
        "INSERT INTO u VALUES (9)",
        "ROLLBACK TO s",
        "INSERT INTO u VALUES (1)",
        "COMMIT",
        "BEGIN",
        "INSERT INTO t VALUES (3, 'c')",
        "ROLLBACK",
    )
    slices = log.read(start)
    assert kinds_of(slices, "t") == [(INS, 1)]
    assert kinds_of(slices, "u") == [(INS, 1)]
    times = {r["_cdc_ts"] for t in "tu" for r in rows_of(slices, t)}
    assert len(times) == 1 and sum(s.transactions for s in slices) == 1


def test_myisam_statements_end_without_an_xid(log: Log) -> None:
    log.run("CREATE TABLE m (id INT PRIMARY KEY) ENGINE=MyISAM")
    start = log.position()
    log.run("INSERT INTO m VALUES (1), (2)", "DELETE FROM m WHERE id = 1")
    slices = log.read(start)
    assert kinds_of(slices, "m") == [(INS, 1), (INS, 2), (D, 1)]
    assert slices[-1].end.reached(log.position())
    assert sum(s.transactions for s in slices) == 2


def test_myisam_rows_survive_a_rollback(mariadb_log: Log) -> None:
    """MySQL with GTIDs refuses such transactions."""
    mariadb_log.run(TABLE, "CREATE TABLE m (id INT PRIMARY KEY) ENGINE=MyISAM")
    start = mariadb_log.position()
    mariadb_log.run(
        "BEGIN",
        "INSERT INTO t VALUES (1, 'a')",
        "INSERT INTO m VALUES (1)",
        "ROLLBACK",
        "INSERT INTO t VALUES (2, 'b')",
    )
    slices = mariadb_log.read(start)
    assert kinds_of(slices, "m") == [(INS, 1)]
    assert kinds_of(slices, "t") == [(INS, 2)]


def test_create_select_is_rows_in_one_transaction(log: Log) -> None:
    log.run(TABLE, "INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    start = log.position()
    log.run("CREATE TABLE copy (PRIMARY KEY (id)) AS SELECT * FROM t")
    slices = log.read(start)
    assert sorted(kinds_of(slices, "copy")) == [(INS, 1), (INS, 2)]
    notices = [n for s in slices for n in s.notices]
    assert [(n.kind, n.rewrites, n.table) for n in notices] == [
        ("create", False, log.table("copy"))
    ]


def test_a_row_has_the_schema_of_its_place_in_the_log(log: Log) -> None:
    log.run("CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(10), b INT)")
    start = log.position()
    log.run(
        "INSERT INTO t VALUES (1, 'x', 10)",
        "ALTER TABLE t DROP COLUMN a, ADD COLUMN c DATE FIRST",
        "INSERT INTO t (id, b, c) VALUES (2, 20, '2021-02-03')",
        "ALTER TABLE t RENAME COLUMN b TO a",
        "INSERT INTO t (id, a) VALUES (3, 30)",
        "DROP TABLE t",
    )
    slices = log.read(start)
    batches = [b for s in slices for b in s.batches]
    assert [b.schema.names for b in batches] == [
        ("id", "a", "b"),
        ("c", "id", "b"),
        ("c", "id", "a"),
    ]
    assert [b.rows.column("id").to_pylist() for b in batches] == [[1], [2], [3]]
    notices = [n for s in slices for n in s.notices]
    assert [(n.kind, n.rewrites) for n in notices] == [
        ("alter", False),
        ("alter", True),
        ("drop", True),
    ]
    assert [n.seq for n in notices] == [1, 2, 3]


def test_unwanted_tables_cost_a_position_only(log: Log) -> None:
    log.run(TABLE, "CREATE TABLE u (id INT PRIMARY KEY)")
    start = log.position()
    log.run("INSERT INTO t VALUES (1, 'a')", "ALTER TABLE t ADD x INT DEFAULT 1", "DROP TABLE t")
    slices = log.read(start, wanted=lambda table: table.table == "u")
    assert [(s.rows, s.batches, s.notices) for s in slices] == [(0, [], [])] * len(slices)
    assert slices[-1].end.reached(log.position())


def test_a_stream_goes_on_where_a_slice_ended(log: Log) -> None:
    """Every slice's end, taken as a start by file and by GTID, gives exactly the rest."""
    log.run(TABLE)
    start = log.position()
    log.run(*(f"INSERT INTO t VALUES ({i}, 'x')" for i in range(12)))
    end = log.position()
    slices = list(log.stream(start, end, slice_rows=5))
    assert [s.rows for s in slices if s.rows] == [5, 5, 2]
    for index, piece in enumerate(slices[:-1]):
        rest = kinds_of(slices[index + 1 :], "t")
        no_gtid = BinlogPosition(piece.end.file, piece.end.offset, "", piece.end.identity)
        assert kinds_of(log.stream(piece.end, end), "t") == rest
        assert kinds_of(log.stream(no_gtid, end), "t") == rest
    flavor = log.flavor
    assert GtidSet.parse(slices[-1].end.gtid_set, flavor) == GtidSet.parse(end.gtid_set, flavor)


def test_a_start_without_gtids_invents_none(log: Log) -> None:
    """A set of only what was read would make a later start by GTID read everything before."""
    log.run(TABLE, "INSERT INTO t VALUES (1, 'a')")
    start = log.position(gtid=False)
    log.run("INSERT INTO t VALUES (2, 'b')")
    middle = log.read(start)[-1].end
    assert middle.gtid_set == ""
    log.run("FLUSH BINARY LOGS", "INSERT INTO t VALUES (3, 'c')")
    slices = log.read(middle)
    assert kinds_of(slices, "t") == [(INS, 3)]
    told = slices[-1].end.gtid_set
    assert told == str(GtidSet.parse(log.position().gtid_set, log.flavor))
    log.run("INSERT INTO t VALUES (4, 'd')")
    assert kinds_of(log.read(slices[-1].end), "t") == [(INS, 4)]


def test_tagged_and_ordinary_gtids(mysql_log: Log) -> None:
    mysql_log.run(TABLE)
    start = mysql_log.position()
    mysql_log.run(
        "SET GTID_NEXT = 'AUTOMATIC:blue'",
        "INSERT INTO t VALUES (1, 'a')",
        "SET GTID_NEXT = 'AUTOMATIC'",
        "INSERT INTO t VALUES (2, 'b')",
    )
    slices = list(mysql_log.stream(start, mysql_log.position(), slice_rows=1))
    assert kinds_of(slices, "t") == [(INS, 1), (INS, 2)]
    assert ":blue:" in slices[0].end.gtid_set
    assert kinds_of(mysql_log.read(slices[0].end), "t") == [(INS, 2)]
    end = mysql_log.position()
    assert slices[-1].end.gtid_set == end.gtid_set
    mysql_log.run("FLUSH BINARY LOGS")  # the set is now in a PREVIOUS_GTIDS event too
    mysql_log.run("INSERT INTO t VALUES (3, 'c')")
    assert kinds_of(mysql_log.read(end), "t") == [(INS, 3)]


def test_compressed_transactions(mysql_log: Log) -> None:
    mysql_log.run(TABLE)
    start = mysql_log.position()
    mysql_log.run(
        "SET SESSION binlog_transaction_compression = ON",
        "INSERT INTO t VALUES (1, REPEAT('a', 20)), (2, 'b')",
        "BEGIN",
        "UPDATE t SET v = 'c'",
        "DELETE FROM t WHERE id = 1",
        "COMMIT",
    )
    slices = mysql_log.read(start)
    assert kinds_of(slices, "t") == [(INS, 1), (INS, 2), (A, 1), (A, 2), (D, 1)]
    assert slices[-1].end.reached(mysql_log.position())


def test_compressed_events_of_mariadb(mariadb_log: Log) -> None:
    mariadb_log.run(
        "CREATE TABLE t (id INT PRIMARY KEY, v TEXT)",
        "SET GLOBAL log_bin_compress = ON",
        "SET GLOBAL log_bin_compress_min_len = 10",
    )
    start = mariadb_log.position()
    try:
        mariadb_log.run(
            "INSERT INTO t VALUES (1, REPEAT('abc', 5000)), (2, 'b')",
            "UPDATE t SET v = REPEAT('x', 9000) WHERE id = 2",
            "DELETE FROM t WHERE id = 1",
            "ALTER TABLE t COMMENT = 'a statement long enough to be compressed, too, in the log'",
        )
        slices = mariadb_log.read(start)
    finally:
        mariadb_log.run("SET GLOBAL log_bin_compress = OFF")
    assert [(k, r) for k, r in kinds_of(slices, "t")] == [(INS, 1), (INS, 2), (A, 2), (D, 1)]
    assert [len(r["v"]) for r in rows_of(slices, "t")] == [15000, 1, 9000, 15000]
    assert [n.kind for s in slices for n in s.notices] == ["alter"]
