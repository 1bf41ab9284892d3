"""Where a pipeline begins and stops: each place is found exactly, or refused with its remedy."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from resources.errors import ConfigError, PositionPurged
from resources.model.place import FilePlace, GtidPlace, TimePlace
from resources.model.position import BinlogPosition
from tests.mysql.room import Room, started_together
from tests.servers import Server
from tests.servers.mariadb import MariaDBServer
from tests.servers.mysql import MySQLServer

FILES, PER_FILE = 3, 4
KINDS: dict[str, Callable[[], Server]] = {
    "mysql": lambda: MySQLServer(durable=False),
    "mysql-no-gtid": lambda: MySQLServer(durable=False, gtid=False),
    "mariadb": lambda: MariaDBServer(durable=False),
}


@dataclass
class History:
    """A server whose log is known transaction by transaction.

    Attributes:
        room: The server; its table `t` has one row per transaction, `id` counts from 0.
        ends: The log's end after each transaction; `ends[0]` is before the first.
        times: The server's clock at those moments.
    """

    room: Room
    ends: list[BinlogPosition] = field(default_factory=list)
    times: list[datetime] = field(default_factory=list)

    def note(self) -> None:
        self.ends.append(self.end())
        ((now,),) = self.room.server.execute("SELECT CONVERT_TZ(NOW(6), @@time_zone, '+00:00')")
        self.times.append(now.replace(tzinfo=UTC))

    def end(self) -> BinlogPosition:
        """The log's present end: MariaDB writes a checkpoint some time after a new file."""
        with closing(self.room.source()) as source:
            return source.current_position()

    def rows_from(self, start: BinlogPosition, until: BinlogPosition | None = None) -> list[int]:
        """Ids of the rows the log holds from a position on."""
        with closing(self.room.source()) as source:
            return ids_of(source.stream_changes(start, until or self.end(), lambda: False))

    def start(self, startup: Any) -> BinlogPosition:
        with closing(self.room.source(startup=startup)) as source:
            return source.start_position()

    def stop(self, place: Any) -> BinlogPosition:
        with closing(self.room.source()) as source:
            return source.stop_position(place)


def ids_of(slices: Any) -> list[int]:
    batches = [batch for part in slices for batch in part.batches]
    return [value for batch in batches for value in batch.rows["id"].to_pylist()]


def _write_history(server: Server) -> History:
    """Several files of one-row transactions, an idle second before each."""
    server.execute("CREATE DATABASE shop", "CREATE TABLE shop.t (id INT PRIMARY KEY)")
    time.sleep(1.1)  # a file's begin has whole seconds
    history = History(Room(server, "shop"))
    history.note()
    for number in range(FILES * PER_FILE):
        if number and number % PER_FILE == 0:
            time.sleep(1.1)
            server.execute("FLUSH BINARY LOGS")
        time.sleep(0.01)
        server.execute(f"INSERT INTO shop.t VALUES ({number})")
        history.note()
    return history


@pytest.fixture(scope="module")
def histories() -> Iterator[dict[str, History]]:
    with started_together(KINDS, lambda _, server: _write_history(server)) as written:
        yield written


@pytest.fixture(params=list(KINDS))
def history(request: pytest.FixtureRequest, histories: dict[str, History]) -> History:
    return histories[request.param]


ALL = list(range(FILES * PER_FILE))


def test_earliest_has_the_whole_log(history: History) -> None:
    start = history.start("earliest")
    first = history.room.server.execute("SHOW BINARY LOGS")[0][0]
    assert (start.file, start.offset) == (first, 4)
    assert history.rows_from(start) == ALL


def test_latest_has_nothing_of_it(history: History) -> None:
    assert history.rows_from(history.start("latest")) == []


def test_any_time_is_the_boundary_before_the_first_transaction_from_then_on(
    history: History,
) -> None:
    whole_seconds = history.room.kind == "mariadb"
    for number, moment in enumerate(history.times):
        start = history.start(TimePlace(moment))
        found = history.rows_from(start)
        if whole_seconds:  # its log has commit times in seconds: nothing of the second is left out
            assert found == ALL[len(ALL) - len(found) :]
            assert set(found) >= set(ALL[number:])
            first = len(ALL) - len(found)  # on a slow machine the last moment has nothing after it
            assert first in (0, len(ALL)) or history.times[first + 1] >= moment.replace(
                microsecond=0
            )
        else:
            assert found == ALL[number:], moment
            expected = history.ends[number]
            assert start.gtid_set == expected.gtid_set


def test_a_time_before_the_log_or_to_come_is_refused(history: History) -> None:
    with pytest.raises(PositionPurged, match="which begins at 20") as caught:
        history.start(TimePlace(history.times[0] - timedelta(days=1)))
    assert "`earliest`" in caught.value.remedy
    with pytest.raises(ConfigError, match="future"):
        history.start(TimePlace(datetime.now(UTC) + timedelta(minutes=5)))


def test_any_boundary_may_be_named_by_file_and_byte(history: History) -> None:
    for number, end in enumerate(history.ends):
        start = history.start(FilePlace(end.file, end.offset))
        assert (start.file, start.offset) == (end.file, end.offset)
        assert start.gtid_set == end.gtid_set
        assert history.rows_from(start) == ALL[number:]


def test_every_byte_is_a_boundary_or_refused_with_the_nearest_ones(history: History) -> None:
    low, high = history.ends[0], history.ends[1]
    assert low.file == high.file
    for offset in range(low.offset + 1, high.offset, 7):
        with pytest.raises(ConfigError, match="is no boundary") as caught:
            history.start(FilePlace(low.file, offset))
        assert f"{low.file}:{low.offset}" in caught.value.remedy
        assert f"{high.file}:{high.offset}" in caught.value.remedy


def test_the_end_of_a_file_is_the_begin_of_the_next(history: History) -> None:
    sizes = dict(row[:2] for row in history.room.server.execute("SHOW BINARY LOGS"))
    (first, size), (second, _) = list(sizes.items())[:2]
    start = history.start(FilePlace(first, size))
    assert (start.file, start.offset) == (second, 4)
    assert start.gtid_set == history.start(FilePlace(second)).gtid_set
    with pytest.raises(ConfigError, match="past the end of that file"):
        history.start(FilePlace(first, size + 1))


def test_places_the_log_does_not_have(history: History) -> None:
    last = history.end()
    for place in (FilePlace(last.file, last.offset + 1), FilePlace("binlog.999999")):
        with pytest.raises(ConfigError, match="past the log's end"):
            history.start(place)
    with pytest.raises(PositionPurged, match="lies before the log"):
        history.start(FilePlace("binlog.000000"))
    with pytest.raises(ConfigError, match="there is no file"):
        history.start(FilePlace("other-bin.000002"))


def test_any_gtid_set_of_the_server_is_a_start(history: History) -> None:
    if not history.ends[0].gtid_set:
        with pytest.raises(ConfigError, match="no GTIDs"):
            history.start(GtidPlace("3e11fa47-71ca-11e1-9e33-c80aa9429562:1"))
        return
    for number, end in enumerate(history.ends):
        start = history.start(GtidPlace(end.gtid_set))
        assert history.rows_from(start) == ALL[number:]
    for wrong in ("0-1-999999", "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-3"):
        with pytest.raises(ConfigError, match=r"never executed|not a GTID set of"):
            history.start(GtidPlace(wrong))


def test_a_gtid_set_may_have_gaps_on_mysql(histories: dict[str, History]) -> None:
    history = histories["mysql"]
    uuid = history.ends[0].gtid_set.partition(":")[0]
    first = int(history.ends[1].gtid_set.rpartition("-")[2])  # row 0
    start = history.start(GtidPlace(f"{uuid}:1-{first}:{first + 2}:{first + 6}"))
    assert history.rows_from(start) == [n for n in ALL if n not in (0, 2, 6)]


def test_a_run_stops_where_it_is_told(history: History) -> None:
    begin = history.ends[0]
    for number in range(1, len(ALL) + 1, 3):
        end = history.ends[number]
        places: list[Any] = [FilePlace(end.file, end.offset)]
        places += [GtidPlace(end.gtid_set)] if end.gtid_set else []
        places += [TimePlace(history.times[number])] if history.room.kind != "mariadb" else []
        for place in places:
            until = history.stop(place)
            assert history.rows_from(begin, until) == ALL[:number], place


def test_a_stop_to_come_is_the_present_end_and_one_long_past_the_first_byte(
    history: History,
) -> None:
    end = history.end()
    later = [FilePlace(end.file, end.offset + 999), FilePlace("binlog.999999", 4)]
    for place in (*later, TimePlace(datetime.now(UTC) + timedelta(days=1))):
        until = history.stop(place)
        assert (until.file, until.offset) == (end.file, end.offset)
    until = history.stop(TimePlace(history.times[0] - timedelta(days=1)))
    assert until.offset == 4
    assert history.rows_from(history.ends[0], until) == []


def test_purged_places_are_refused_and_the_rest_is_found(history: History) -> None:
    """Last of this file: it deletes the first log file of the module's servers."""
    server, cut = history.room.server, history.ends[PER_FILE]
    names = [row[0] for row in server.execute("SHOW BINARY LOGS")]
    deadline = time.monotonic() + 30
    while server.execute("SHOW BINARY LOGS")[0][0] == names[0] and time.monotonic() < deadline:
        server.execute(f"PURGE BINARY LOGS TO '{names[1]}'")
    places: list[Any] = [FilePlace(cut.file, cut.offset), TimePlace(history.times[1])]
    places += [GtidPlace(history.ends[1].gtid_set)] if cut.gtid_set else []
    for place in places:
        with pytest.raises(PositionPurged):
            history.start(place)
    for start in (history.start("earliest"), history.start(FilePlace(names[1]))):
        assert history.rows_from(start) == ALL[PER_FILE:]
        assert start.gtid_set == cut.gtid_set
