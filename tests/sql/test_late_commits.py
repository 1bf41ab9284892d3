"""Rows that become visible below the mark, with transactions held open on real servers."""

from __future__ import annotations

import time

import pytest

from resources.sql import innodb
from tests.sql.conftest import Place, Reader


def reader_of(place: Place, table: str = "t", **options: object) -> Reader:
    return Reader(place.source(**options), f"{place.schema}.{table}")


def test_late_commit_arrives_once(proving: Place) -> None:
    proving.create()
    late, other = proving.session(), proving.session()
    other.insert(9)
    other.commit()
    late.insert()  # id 10
    other.insert(990)  # 11..1000
    other.commit()
    reader = reader_of(proving, page_rows=100)
    assert reader.round() == [*range(1, 10), *range(11, 1001)]
    assert reader.gaps == [(10, 10)]
    assert reader.round() == []
    late.commit()
    assert reader.round() == [10]
    assert reader.gaps == []
    assert reader.round() == []
    assert sorted(reader.ids) == list(range(1, 1001))


def test_rolled_back_gap_is_final_only_after_its_transaction_ended(proving: Place) -> None:
    proving.create()
    late, other = proving.session(), proving.session()
    late.insert(3)  # 1..3
    other.insert(2)  # 4, 5
    other.commit()
    # No grace: only the open transaction keeps the gap.
    reader = reader_of(proving, grace_seconds=0.0)
    reader.round()
    for _ in range(3):
        reader.round()
        assert reader.gaps == [(1, 3)]
    late.rollback()
    reader.round()
    assert reader.gaps == []
    assert reader.ids == [4, 5]


def test_gap_outlives_younger_transactions_and_ends_with_its_own(proving: Place) -> None:
    proving.create()
    late, young = proving.session(), proving.session()
    late.insert()  # 1
    young.insert()  # 2
    young.commit()
    reader = reader_of(proving)
    reader.round()
    young.insert()  # 3, begun after the gap was seen
    late.rollback()
    reader.round()
    assert reader.gaps == []  # though `young` is open
    young.commit()
    assert reader.round() == [3]


def test_transaction_that_only_read_before_the_round_and_inserts_after_it(proving: Place) -> None:
    proving.create()
    idle, other = proving.session(), proving.session()
    idle.run("SELECT COUNT(*) FROM t")  # open, has written nothing
    other.insert(2)
    other.commit()
    reader = reader_of(proving)
    assert reader.round() == [1, 2]
    idle.insert()  # 3
    other.insert()  # 4
    other.commit()
    assert reader.round() == [4]
    idle.commit()
    assert reader.round() == [3]


def test_one_transaction_owns_ids_on_both_sides_of_the_bound(proving: Place) -> None:
    proving.create()
    late, other = proving.session(), proving.session()
    late.insert()  # 1
    other.insert()  # 2
    other.commit()
    reader = reader_of(proving)
    assert reader.round() == [2]
    late.insert()  # 3, above the mark
    late.commit()
    assert sorted(reader.round()) == [1, 3]
    assert reader.gaps == []


def test_savepoint_rollback_leaves_a_gap_that_closes(proving: Place) -> None:
    proving.create()
    late, other = proving.session(), proving.session()
    late.insert()  # 1
    late.run("SAVEPOINT s")
    late.insert()  # 2
    late.run("ROLLBACK TO SAVEPOINT s")
    late.insert()  # 3
    other.insert()  # 4
    other.commit()
    reader = reader_of(proving)
    assert reader.round() == [4]
    late.commit()
    assert reader.round() == [1, 3]
    assert reader.gaps == []


def test_bound_equal_to_mark_reads_nothing_and_moves_nothing(place: Place) -> None:
    place.create()
    session = place.session()
    reader = reader_of(place, grace_seconds=0.0)
    assert reader.round() == []
    assert reader.position.marks == {}
    session.insert(3)
    session.commit()
    assert reader.round() == [1, 2, 3]
    before = reader.position
    reader.round()  # may drop the gap below the first id
    assert reader.round() == []
    assert reader.position.marks[reader.table].high == before.marks[reader.table].high == 3
    session.insert()
    session.commit()
    assert reader.round() == [4]


@pytest.mark.parametrize("rows", [99, 100, 101, 200])
def test_page_boundaries(on_sqlite: Place, rows: int) -> None:
    on_sqlite.create()
    session = on_sqlite.session()
    session.insert(rows)
    session.commit()
    reader = reader_of(on_sqlite, page_rows=100)
    assert reader.round() == list(range(1, rows + 1))
    assert reader.round() == []


def test_negative_zero_and_huge_ids(place: Place) -> None:
    place.create()
    if place.kind in {"mysql", "mariadb", "oceanbase"}:
        place.run("CREATE TABLE z (id BIGINT AUTO_INCREMENT PRIMARY KEY, a INT)")
        session = place.session()
        session.run("SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO'")
    else:
        session = place.session()
    ids = [-9223372036854775807, -3, 0, 7, 10**9, 9223372036854775806]
    session.run("INSERT INTO t (id, a) VALUES " + ", ".join(f"({i}, 1)" for i in ids))
    session.commit()
    reader = reader_of(place, grace_seconds=0.0, page_rows=2)
    assert reader.round() == ids
    assert reader.round() == []
    assert len(reader.position.marks[reader.table].gaps) <= len(ids)


def test_prepared_and_detached_xa_transaction_keeps_its_gap(on_mysql: Place) -> None:
    on_mysql.create()
    late, other = on_mysql.session(), on_mysql.session()
    late.run("XA START 'cdc-sql'")
    late.insert()  # 1
    other.insert()  # 2
    other.commit()
    reader = reader_of(on_mysql)
    assert reader.round() == [2]
    late.run("XA END 'cdc-sql'")
    late.run("XA PREPARE 'cdc-sql'")
    late.close()
    for _ in range(3):
        assert reader.round() == []
        assert reader.gaps == [(1, 1)]
    other.run("XA COMMIT 'cdc-sql'")
    assert reader.round() == [1]


def test_innodb_list_is_never_a_stale_one(on_mysql: Place) -> None:
    """The server answers from a cache for 0.1 s after each read; measured, and fatal if trusted."""
    on_mysql.create()
    source, late = on_mysql.source(), on_mysql.session()
    flavor = source._flavor
    driver = flavor.database.run(lambda c: c.connection.dbapi_connection)
    (table,) = source._describe(source.list_tables())[0]
    late.run("SELECT 1")
    before = innodb.survey(driver, [table])
    late.insert()
    after = innodb.survey(driver, [table])
    thread = f"run:{late.connection.thread_id()}"
    assert before.alive is not None and thread not in before.alive
    assert after.alive is not None and thread in after.alive
    assert any(t.startswith("<=") for t in after.open[table.id] or ())


def test_running_statement_without_a_transaction_number_counts(on_mysql: Place) -> None:
    """An id is reserved a moment before its transaction has a number."""
    import threading

    on_mysql.create()
    other, slow = on_mysql.session(), on_mysql.session()
    other.insert(1)
    other.run("INSERT INTO t (id, a) VALUES (5, 1)")
    other.commit()
    running = threading.Thread(target=slow.run, args=("SELECT SLEEP(1.5)",))
    running.start()
    time.sleep(0.2)
    reader = reader_of(on_mysql)
    assert reader.round() == [1, 5]
    assert reader.gaps == [(2, 4)]  # whoever runs may be about to insert one of them
    running.join()
    slow.commit()
    reader.round()
    assert reader.gaps == []


def test_grace_period_without_process(on_mysql: Place, mysql: object) -> None:
    on_mysql.run(
        "CREATE USER 'noproc'@'%' IDENTIFIED BY 'noproc-pw'",
        f"GRANT SELECT ON `{on_mysql.schema}`.* TO 'noproc'@'%'",
    )
    try:
        url = mysql.url_for("noproc", "noproc-pw")  # type: ignore[attr-defined]
        on_mysql.create()
        on_mysql.url = url
        late, other = on_mysql.session(), on_mysql.session()
        late.insert(2)  # 1, 2
        other.insert()  # 3
        other.commit()
        reader = reader_of(on_mysql, grace_seconds=1.0)
        findings = reader.source.check()
        assert [(f.level, f.code) for f in findings] == [("warning", "gap_grace")]
        assert "GRANT PROCESS" in findings[0].remedy
        assert reader.round() == [3]
        assert reader.gaps == [(1, 2)]
        assert reader.position.marks[reader.table].gaps[0].open_transactions is None
        late.run("UPDATE t SET a = 2 WHERE id = 1")
        late.commit()
        assert reader.round() == [1, 2]
        late.insert()  # 4
        other.insert()  # 5
        other.commit()
        assert reader.round() == [5]
        time.sleep(1.1)
        reader.round()
        assert reader.gaps == []
    finally:
        on_mysql.run("DROP USER 'noproc'@'%'")
