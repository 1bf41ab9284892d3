"""Streams as capture uses them: resuming, following, stopping, pausing."""

from __future__ import annotations

import logging
import threading
import time

import numpy as np
import pytest

from resources.errors import ServerChanged
from resources.model.change import OP, SEQ, TS, LogSlice, RowKind, change_schema
from resources.model.position import BinlogPosition, PollPosition, ServerIdentity
from resources.model.source import SnapshotSource, Source
from tests.sql.conftest import Place, Reader


def never() -> bool:
    return False


def ids_by_table(parts: list[LogSlice]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for part in parts:
        for batch in part.batches:
            ids = batch.rows.column("id").to_pylist()
            found.setdefault(batch.schema.table.table, []).extend(ids)
    return found


def test_is_a_source_without_snapshots(on_sqlite: Place) -> None:
    source = on_sqlite.source()
    assert isinstance(source, Source)
    assert not isinstance(source, SnapshotSource)


def test_crash_after_any_slice_loses_and_repeats_nothing(on_postgres: Place) -> None:
    tables = ["a", "b", "c"]
    late, other = on_postgres.session(), on_postgres.session()
    for table in tables:
        on_postgres.create(table)
        late.insert(3, table)  # 1..3 stay open through the first run
        other.insert(20, table)
        other.commit()
    source = on_postgres.source(page_rows=7)
    first = list(source.stream_changes(PollPosition(), source.current_position(), never))
    late.commit()
    for table in tables:
        other.insert(2, table)
    other.commit()
    everything = {table: list(range(1, 26)) for table in tables}
    for crash in range(len(first) + 1):
        parts = first[:crash]
        position = parts[-1].end if parts else PollPosition()
        assert isinstance(position, PollPosition)
        parts = parts + list(source.stream_changes(position, source.current_position(), never))
        found = ids_by_table(parts)
        assert {t: sorted(ids) for t, ids in found.items()} == everything


def test_tables_take_turns_and_counters_rise(on_sqlite: Place) -> None:
    for table in ("a", "b"):
        on_sqlite.create(table)
        session = on_sqlite.session()
        session.insert(25, table)
        session.commit()
    source = on_sqlite.source(page_rows=10)
    parts = list(source.stream_changes(PollPosition(), source.current_position(), never))
    assert [p.batches[0].schema.table.table for p in parts] == ["a", "b"] * 3
    seq = np.concatenate([p.batches[0].rows.column(SEQ).to_numpy() for p in parts])
    assert seq.tolist() == list(range(50))
    for part in parts:
        (batch,) = part.batches
        assert part.complete and part.rows == batch.rows.num_rows
        assert batch.rows.schema.equals(change_schema(batch.schema))
        assert set(batch.rows.column(OP).to_pylist()) == {RowKind.INSERT}
        assert part.first_ts_us == part.last_ts_us
        assert abs(part.first_ts_us - time.time_ns() // 1000) < 60_000_000
        assert batch.rows.column(TS).cast("int64")[0].as_py() == part.first_ts_us


def test_rows_after_the_bound_wait_for_the_next_round(place: Place) -> None:
    place.create()
    session = place.session()
    session.insert(5)
    session.commit()
    reader = Reader(place.source(grace_seconds=0.0), f"{place.schema}.t")
    until = reader.source.current_position()
    assert until.marks[reader.table].high == 5
    session.insert(5)
    session.commit()
    parts = list(reader.source.stream_changes(PollPosition(), until, never))
    assert ids_by_table(parts) == {"t": [1, 2, 3, 4, 5]}
    assert reader.source.lag_rows(parts[-1].end) == 5
    assert reader.source.lag_bytes(parts[-1].end) is None


def test_following_sees_new_and_late_rows_and_stops(on_postgres: Place) -> None:
    on_postgres.create()
    late, other = on_postgres.session(), on_postgres.session()
    late.insert()  # 1
    other.insert()  # 2
    other.commit()
    done = threading.Event()
    parts: list[LogSlice] = []
    moments: list[float] = []
    source = on_postgres.source(poll_interval=1.5)

    def follow() -> None:
        for part in source.stream_changes(PollPosition(), None, done.is_set):
            parts.append(part)
            moments.append(time.monotonic())

    thread = threading.Thread(target=follow)
    thread.start()
    time.sleep(0.7)
    late.commit()
    other.insert()  # 3
    other.commit()
    deadline = time.monotonic() + 15
    while len(ids_by_table(parts).get("t", [])) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    done.set()
    stopped = time.monotonic()
    thread.join(10)
    assert not thread.is_alive() and time.monotonic() - stopped < 2
    assert sorted(ids_by_table(parts)["t"]) == [1, 2, 3]
    assert any(not part.batches for part in parts)
    assert max(np.diff(moments)) < 2.0


def test_stop_is_honoured_between_pages(on_sqlite: Place) -> None:
    on_sqlite.create()
    session = on_sqlite.session()
    session.insert(100)
    session.commit()
    source = on_sqlite.source(page_rows=10)
    seen: list[int] = []
    until = source.current_position()
    for part in source.stream_changes(PollPosition(), until, lambda: 20 in seen):
        seen.extend(ids_by_table([part])["t"])
    assert seen == list(range(1, 21))


def test_full_ledger_pauses_the_table_and_loses_nothing(
    on_postgres: Place, caplog: pytest.LogCaptureFixture
) -> None:
    on_postgres.create()
    late, other = on_postgres.session(), on_postgres.session()
    for _ in range(20):
        late.insert()
        other.insert()
    other.commit()
    reader = Reader(on_postgres.source(grace_seconds=0.0, ledger_entries=10), "public.t")
    with caplog.at_level(logging.WARNING):
        reader.round()
    assert 0 < len(reader.ids) < 20
    assert "pauses at id" in caplog.text
    assert len(reader.gaps) <= 10
    late.commit()
    reader.round()
    assert sorted(reader.ids) == list(range(1, 41))


def test_full_ledger_goes_on_when_the_grace_period_is_over(on_sqlite: Place) -> None:
    on_sqlite.run("CREATE TABLE t (k TEXT, id INTEGER UNIQUE, a INT)")
    session = on_sqlite.session()
    for number in range(1, 60, 2):
        session.run(f"INSERT INTO t (id, a) VALUES ({number}, 1)")
    session.commit()
    source = on_sqlite.source(keys={"main.t": "id"}, grace_seconds=1.0, ledger_entries=10)
    reader = Reader(source, "main.t")
    assert reader.round() == list(range(1, 60, 2))


def test_ids_that_start_again_are_noticed(on_mysql: Place) -> None:
    on_mysql.create()
    session = on_mysql.session()
    session.insert(5)
    session.commit()
    reader = Reader(on_mysql.source(), f"{on_mysql.schema}.t")
    reader.round()
    session.run("TRUNCATE TABLE t")
    reader.round()
    session.insert(2)
    session.commit()
    stream = reader.source.stream_changes(reader.position, reader.source.current_position(), never)
    (notice,) = [notice for part in stream for notice in part.notices]
    assert (notice.kind, notice.rewrites, notice.table.table) == ("truncate", True, "t")


def test_other_server_is_refused(on_sqlite: Place) -> None:
    on_sqlite.create()
    source = on_sqlite.source()
    elsewhere = PollPosition({}, ServerIdentity("mysql", "another"))
    with pytest.raises(ServerChanged):
        list(source.stream_changes(elsewhere, None, never))


def test_position_of_a_log_is_refused(on_sqlite: Place) -> None:
    source = on_sqlite.source()
    position = BinlogPosition("binlog.1", 4, "", ServerIdentity("mysql", ""))
    with pytest.raises(Exception, match="not of polling"):
        source.stream_changes(position, None, never)


def test_lost_connection_is_opened_again(on_mysql: Place, mysql: object) -> None:
    on_mysql.create()
    session = on_mysql.session()
    session.insert(30)
    session.commit()
    source = on_mysql.source(page_rows=10)
    parts = []
    for part in source.stream_changes(PollPosition(), source.current_position(), never):
        parts.append(part)
        driver = source._flavor.database.run(lambda c: c.connection.dbapi_connection)
        mysql.execute(f"KILL {driver.thread_id()}")  # type: ignore[attr-defined]
    assert ids_by_table(parts) == {"t": list(range(1, 31))}
