"""Archived log files: the same rows as the server's own log, without the server."""

from __future__ import annotations

import gzip
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import fsspec
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resources.errors import (
    CdcError,
    ConfigError,
    CorruptEvent,
    PositionPurged,
    ServerChanged,
    SourceUnavailable,
    UnsupportedEvent,
)
from resources.model.change import LogSlice
from resources.model.place import FilePlace, GtidPlace, TimePlace
from resources.model.position import BinlogPosition, PollPosition, ServerIdentity
from resources.model.source import SeekableSource, SnapshotSource, Source
from resources.model.table import TableId
from resources.mysql.log_files_source import BinlogFilesSource
from tests.mysql.room import Room
from tests.servers import Server
from tests.servers.mariadb import MariaDBServer
from tests.servers.mysql import MySQLServer

Rows = list[tuple[int, int, str | None]]
KINDS: dict[str, Callable[[], Server]] = {
    "mysql": lambda: MySQLServer(durable=False),
    "mysql-no-gtid": lambda: MySQLServer(durable=False, gtid=False),
    "mariadb": lambda: MariaDBServer(durable=False, options={"log_bin_compress": "ON"}),
}


@dataclass
class Recorded:
    """A server's log as files, and what the server itself says of it.

    Attributes:
        room: The server.
        folder: Copies of its log files, the last one as it was while the server wrote it.
        ends: The log's end after each transaction.
        rows: What the server's own stream gives, in log order.
    """

    room: Room
    folder: Path
    ends: list[BinlogPosition]
    rows: Rows

    @property
    def files(self) -> list[Path]:
        return sorted(self.folder.iterdir())

    def copy(self, folder: Path, *names: str) -> Path:
        """Copy the files, or some of them, elsewhere."""
        folder.mkdir()
        for file in self.files:
            if not names or file.name in names:
                shutil.copy(file, folder)
        return folder


def _record(server: Server, folder: Path) -> Recorded:
    """Write several files: plain, large and compressed transactions, DDL, a restart."""
    mysql = server.kind == "mysql"
    server.execute("CREATE DATABASE shop", "CREATE DATABASE other")
    room = Room(server, "shop")
    room.execute("CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(2000))")
    ends: list[BinlogPosition] = []

    def commit(*statements: str) -> None:
        with closing(server.connect(database="shop")) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
        with closing(room.source()) as source:
            ends.append(source.current_position())

    number = iter(range(1, 10_000))
    many = ", ".join(f"({next(number)}, REPEAT('x', 400))" for _ in range(300))
    commit(f"INSERT INTO t VALUES {many}")
    commit("UPDATE t SET v = 'changed' WHERE id % 7 = 0")
    time.sleep(1.1)
    commit("FLUSH BINARY LOGS", f"INSERT INTO t VALUES ({next(number)}, NULL)")
    commit("ALTER TABLE t COMMENT 'a table'")
    big = [f"INSERT INTO t VALUES ({next(number)}, REPEAT('é', 900))" for _ in range(40)]
    if mysql:
        commit("SET SESSION binlog_transaction_compression = ON", "BEGIN", *big, "COMMIT")
    else:
        commit("BEGIN", *big, "COMMIT")
    commit("CREATE TABLE other.u (id INT PRIMARY KEY)", "INSERT INTO other.u VALUES (1)")
    server.restart()
    for _ in range(3):
        commit("DELETE FROM t WHERE id % 50 = 1", f"INSERT INTO t VALUES ({next(number)}, 'last')")
    folder.mkdir()
    for (
        name,
        *_,
    ) in server.execute("SHOW BINARY LOGS"):
        shutil.copy(server.datadir / name, folder)
    with closing(room.source(startup="earliest")) as source:
        slices = source.stream_changes(source.start_position(), ends[-1], bool)
        return Recorded(room, folder, ends, rows_of(slices))


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Recorded]]:
    home = tmp_path_factory.mktemp("recorded")
    with ThreadPoolExecutor() as threads:
        servers = dict(zip(KINDS, threads.map(lambda k: KINDS[k]().start(), KINDS), strict=True))
        try:
            found = threads.map(lambda kind: _record(servers[kind], home / kind), servers)
            yield dict(zip(servers, found, strict=True))
        finally:
            for server in servers.values():
                server.close()


@pytest.fixture(params=list(KINDS))
def recorded(request: pytest.FixtureRequest, recordings: dict[str, Recorded]) -> Recorded:
    return recordings[request.param]


@pytest.fixture
def on_mysql(recordings: dict[str, Recorded]) -> Recorded:
    return recordings["mysql"]


def archive(location: Any, **options: Any) -> BinlogFilesSource:
    defaults: dict[str, Any] = {"pipeline": "test", "include": ["shop.*"], "poll_interval": 0.05}
    return BinlogFilesSource(str(location), **{**defaults, **options})


def rows_of(slices: Any) -> Rows:
    """Row kind, key and text of all rows in counter order."""
    found = [
        (row["_cdc_seq"], row["_cdc_op"], row["id"], row["v"])
        for part in slices
        for batch in part.batches
        for row in batch.rows.to_pylist()
    ]
    return [row[1:] for row in sorted(found)]


def read(location: Any, start: BinlogPosition | None = None, **options: Any) -> list[LogSlice]:
    with closing(archive(location, **options)) as source:
        begin = start or source.start_position()
        return list(source.stream_changes(begin, source.current_position(), bool))


def place(position: BinlogPosition) -> tuple[str, int, str]:
    return position.file, position.offset, position.gtid_set


def test_the_files_hold_what_the_server_s_stream_holds(recorded: Recorded) -> None:
    assert len(recorded.files) == 3
    slices = read(recorded.folder)
    assert rows_of(slices) == recorded.rows
    assert place(slices[-1].end) == place(recorded.ends[-1])
    assert slices[-1].end.identity.flavor == recorded.room.kind
    kinds = [notice.kind for part in slices for notice in part.notices]
    assert kinds == ["create", "alter"]
    source = archive(recorded.folder)
    assert isinstance(source, Source)
    assert isinstance(source, SeekableSource)
    assert not isinstance(source, SnapshotSource)


def test_any_transaction_s_end_is_a_place_to_go_on(recorded: Recorded) -> None:
    begin = archive(recorded.folder).start_position()
    for end in recorded.ends:
        here = replace(end, identity=begin.identity)
        with closing(archive(recorded.folder)) as source:
            before = list(source.stream_changes(begin, here, bool))
        assert place(before[-1].end)[:2] == place(end)[:2]
        assert rows_of(before) + rows_of(read(recorded.folder, here)) == recorded.rows


def test_large_transactions_come_in_parts(recorded: Recorded) -> None:
    slices = read(recorded.folder, transaction_bytes=20_000)
    assert rows_of(slices) == recorded.rows
    assert any(not part.complete for part in slices)


def test_object_stores_and_compressed_files(recorded: Recorded, tmp_path: Path) -> None:
    store = fsspec.filesystem("memory")
    packed = {"gz": gzip.compress, "zst": zstandard.ZstdCompressor().compress}
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    for number, file in enumerate(recorded.files):
        data = file.read_bytes()
        store.pipe(f"/{tmp_path.name}/{file.name}", data)
        ending = ["gz", "zst", ""][number]
        name = f"{file.name}.{ending}".rstrip(".")
        (mixed / name).write_bytes(packed[ending](data) if ending else data)
    (mixed / "binlog.index").write_text("./binlog.000001\n")
    for location in (f"memory://{tmp_path.name}", mixed):
        slices = read(location)
        assert rows_of(slices) == recorded.rows
        assert place(slices[-1].end) == place(recorded.ends[-1])
        middle = replace(recorded.ends[2], identity=slices[-1].end.identity)
        first = rows_of(read(recorded.folder, middle))
        assert rows_of(read(location, middle)) == first


@pytest.mark.parametrize("ending", ["gz", "zst"])
def test_an_archive_of_compressed_files_only(
    on_mysql: Recorded, tmp_path: Path, ending: str
) -> None:
    pack = gzip.compress if ending == "gz" else zstandard.ZstdCompressor().compress
    for file in on_mysql.files:
        (tmp_path / f"{file.name}.{ending}").write_bytes(pack(file.read_bytes()))
    slices = read(tmp_path)
    assert rows_of(slices) == on_mysql.rows
    with closing(archive(tmp_path)) as source:
        assert source.lag_bytes(source.start_position()) is None
        assert source.lag_bytes(slices[-1].end) == 0


def cut_copy(recorded: Recorded, folder: Path, size: int) -> Path:
    """The archive as it was when its last file had this many bytes."""
    recorded.copy(folder)
    last = folder / recorded.files[-1].name
    last.write_bytes(last.read_bytes()[:size])
    return last


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_file_cut_anywhere_gives_whole_transactions_and_later_the_rest(
    recorded: Recorded, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    whole = recorded.files[-1].read_bytes()
    cut = data.draw(st.integers(1000, len(whole)))
    folder = tmp_path_factory.mktemp("cut") / "logs"
    last = cut_copy(recorded, folder, cut)
    first = read(folder)
    end = first[-1].end if first else archive(folder).start_position()
    assert end.offset <= cut or end.file != last.name
    wholes = [e for e in recorded.ends if e.file != last.name or e.offset <= cut]
    assert place(end)[:2] >= place(wholes[-1])[:2]
    last.write_bytes(whole)
    assert rows_of(first) + rows_of(read(folder, end)) == recorded.rows


def test_files_that_appear_are_followed(recorded: Recorded, tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    files = recorded.files
    shutil.copy(files[0], folder)
    done = threading.Event()
    seen: list[LogSlice] = []
    with closing(archive(folder)) as source:
        start = source.start_position()
        for part in source.stream_changes(start, None, done.is_set):
            seen.append(part)
            rows = len(rows_of(seen))
            if rows and not (folder / files[1].name).exists():
                shutil.copy(files[1], folder)
            elif (folder / files[1].name).exists() and not (folder / files[2].name).exists():
                half = files[2].read_bytes()
                (folder / files[2].name).write_bytes(half[: len(half) // 2])
            elif (folder / files[2].name).exists():
                shutil.copy(files[2], folder)
            if rows == len(recorded.rows):
                done.set()
    assert rows_of(seen) == recorded.rows
    assert place(seen[-1].end) == place(recorded.ends[-1])


def test_places_are_those_of_the_server(recorded: Recorded) -> None:
    """Every start and stop an archive finds is the one its server finds."""
    room = recorded.room
    places: list[Any] = ["earliest"]
    places += [FilePlace(end.file, end.offset) for end in recorded.ends]
    places += [GtidPlace(end.gtid_set) for end in recorded.ends if end.gtid_set]
    for wanted in places[::2]:
        found = archive(recorded.folder, startup=wanted).start_position()
        with closing(room.source(startup=wanted)) as source:
            expected = source.start_position()
            if isinstance(wanted, GtidPlace):
                expected = source.stop_position(wanted)  # the server begins at a file's head
        assert place(found) == place(expected), wanted
        if wanted != "earliest":
            assert place(archive(recorded.folder).stop_position(wanted)) == place(found)


def test_times_are_found_as_on_the_server(recorded: Recorded) -> None:
    with closing(archive(recorded.folder)) as source:
        slices = source.stream_changes(source.start_position(), source.current_position(), bool)
        stamps = sorted(
            {t for p in slices for b in p.batches for t in b.rows["_cdc_ts"].to_pylist()}
        )
    for stamp in stamps[3:]:
        wanted = TimePlace(stamp)
        found = archive(recorded.folder, startup=wanted).start_position()
        with closing(recorded.room.source(startup=wanted)) as server:
            assert place(found) == place(server.start_position())
        rest = read(recorded.folder, found)
        assert min(p.first_ts_us for p in rest if p.rows) >= wanted.time_us
    early = TimePlace(stamps[0].replace(year=2001))
    with pytest.raises(PositionPurged, match="which begins at"):
        archive(recorded.folder, startup=early).start_position()
    late = TimePlace(stamps[-1].replace(year=2999))
    with pytest.raises(ConfigError, match="past the archive's end"):
        archive(recorded.folder, startup=late).start_position()
    end = archive(recorded.folder).current_position()
    assert place(archive(recorded.folder).stop_position(late)) == place(end)


def test_the_server_goes_on_where_its_archive_ended_and_back(
    recordings: dict[str, Recorded], tmp_path: Path
) -> None:
    for kind in ("mysql", "mariadb"):
        recorded = recordings[kind]
        first, second, third = (file.name for file in recorded.files)
        old = recorded.copy(tmp_path / f"{kind}-old", first, second)
        before = read(old)
        with closing(recorded.room.source()) as server:
            after = list(server.stream_changes(before[-1].end, recorded.ends[-1], bool))
            assert rows_of(before) + rows_of(after) == recorded.rows
            # and from the server's position in the archive
            start = recorded.ends[2]
            rest = rows_of(server.stream_changes(start, recorded.ends[-1], bool))
            assert rows_of(read(recorded.folder, start)) == rest
        assert third


def test_without_gtids_a_server_s_position_means_nothing_here(
    recordings: dict[str, Recorded],
) -> None:
    recorded = recordings["mysql-no-gtid"]
    with pytest.raises(ServerChanged, match="without GTIDs"):
        read(recorded.folder, recorded.ends[0])


def test_a_server_killed_in_the_middle_leaves_a_file_without_an_end(tmp_path: Path) -> None:
    with ThreadPoolExecutor() as threads:
        list(threads.map(lambda kind: _killed(kind, tmp_path / kind), KINDS))


def _killed(kind: str, folder: Path) -> None:
    with KINDS[kind]() as server:
        server.execute("CREATE DATABASE shop")
        room = Room(server, "shop")
        room.execute("CREATE TABLE t (id INT PRIMARY KEY, v TEXT)", "INSERT INTO t VALUES (1, '')")
        server.kill()
        server.start()
        room.execute("INSERT INTO t VALUES (2, '')")
        folder.mkdir()
        names = [row[0] for row in server.execute("SHOW BINARY LOGS")]
        assert len(names) == 2
        for name in names:
            shutil.copy(server.datadir / name, folder)
    if kind == "mysql-no-gtid":
        with pytest.raises(PositionPurged, match="without GTIDs nothing tells"):
            read(folder)
        return
    assert [row[1] for row in rows_of(read(folder))] == [1, 2]
    # The same file copied too early lacks a transaction, and the next file's head tells.
    first = folder / names[0]
    data = first.read_bytes()
    first.write_bytes(data[: _boundaries(folder, names[0], len(data))[-2]])
    with pytest.raises(PositionPurged, match=r"it lacks .*(:\d+|0-\d+-\d+)") as caught:
        read(folder)
    assert "copy the file again" in caught.value.remedy


def _boundaries(folder: Path, name: str, size: int) -> list[int]:
    """Every offset of a file that `startup` accepts, found by the hints of its refusals."""
    found = [4]
    while found[-1] < size:
        try:
            archive(folder, startup=FilePlace(name, found[-1] + 1)).start_position()
        except ConfigError as error:
            found.append(int(error.remedy.rpartition(":")[2]))
    return found


def test_what_an_archive_cannot_be(on_mysql: Recorded, tmp_path: Path) -> None:
    files = on_mysql.files
    (tmp_path / "empty").mkdir()
    cases: dict[str, tuple[type[CdcError], str]] = {
        "empty": (ConfigError, "has no binary logs"),
        "nowhere": (ConfigError, "no such folder"),
        "hole": (PositionPurged, r"the file after binlog\.000001 is missing"),
        "two": (ConfigError, "several logs: binlog, other-bin"),
        "text": (CorruptEvent, "is no binary log"),
        "encrypted": (UnsupportedEvent, "encrypted"),
        "short": (SourceUnavailable, "may not be there in full yet"),
        "headless": (CorruptEvent, "FORMAT_DESCRIPTION"),
        "damaged": (CorruptEvent, "CRC32"),
        "packed": (CorruptEvent, "compressed bytes are damaged"),
        "half-packed": (SourceUnavailable, "ends early"),
    }
    on_mysql.copy(tmp_path / "hole", files[0].name, files[2].name)
    shutil.copy(files[0], on_mysql.copy(tmp_path / "two") / "other-bin.000001")
    contents = {
        "text": b"hello, this is no log",
        "encrypted": b"\xfdbin" + bytes(600),
        "short": files[0].read_bytes()[:60],
        "headless": b"\xfebin" + files[0].read_bytes()[130:],
    }
    for case, data in contents.items():
        (tmp_path / case).mkdir()
        (tmp_path / case / "binlog.000001").write_bytes(data)
    damaged = bytearray(files[0].read_bytes())
    damaged[len(damaged) // 2] ^= 1
    on_mysql.copy(tmp_path / "damaged").joinpath(files[0].name).write_bytes(bytes(damaged))
    packed = bytearray(gzip.compress(files[0].read_bytes()))
    for case in ("packed", "half-packed"):
        (tmp_path / case).mkdir()
    (tmp_path / "half-packed" / "binlog.000001.gz").write_bytes(bytes(packed[:-20]))
    packed[300:320] = bytes(20)
    (tmp_path / "packed" / "binlog.000001.gz").write_bytes(bytes(packed))
    for case, (kind, words) in cases.items():
        with pytest.raises(kind, match=words) as caught:
            read(tmp_path / case)
        assert str(tmp_path / case) in str(caught.value) or case == "damaged", case
        findings = archive(tmp_path / case).check()
        assert case in ("hole", "damaged") or [f.level for f in findings] == ["error"], case


def test_a_closed_file_cut_short_is_refused(recorded: Recorded, tmp_path: Path) -> None:
    """A hole in the middle of an archive is never passed over, wherever the cut is."""
    folder = recorded.copy(tmp_path / "logs")
    for number in (0, 1):
        file = folder / recorded.files[number].name
        data = file.read_bytes()
        ends = [e.offset for e in recorded.ends if e.file == file.name]
        for size in (len(data) - 1, ends[-1] - 10, ends[-1], ends[0], ends[0] - 100, 200):
            file.write_bytes(data[:size])
            if size == ends[-1] and recorded.ends[0].gtid_set:
                assert rows_of(read(folder)) == recorded.rows  # only its last event is missing
                continue
            with pytest.raises((CorruptEvent, PositionPurged)) as caught:
                read(folder)
            assert file.name in str(caught.value)
        file.write_bytes(data)
    assert rows_of(read(folder)) == recorded.rows


def test_positions_of_elsewhere_are_refused(recorded: Recorded, tmp_path: Path) -> None:
    folder = recorded.copy(tmp_path / "logs")
    end = archive(folder).current_position()
    first, second, third = (file.name for file in recorded.files)
    for wrong, words in (
        (replace(end, offset=end.offset + 10_000), "beyond the archive's end"),
        (replace(end, file="binlog.000099"), "beyond the archive's end"),
        (replace(end, identity=ServerIdentity("oceanbase", "")), "taken on oceanbase"),
    ):
        with pytest.raises(ServerChanged, match=words):
            read(folder, wrong)
    with pytest.raises(ConfigError, match="polling"):
        read(folder, PollPosition())  # type: ignore[arg-type]
    if end.gtid_set:
        with pytest.raises(ServerChanged, match="were never read"):
            read(folder, replace(end, file=third, gtid_set=recorded.ends[0].gtid_set))
        nowhere = (
            "1-2-3" if recorded.room.kind == "mariadb" else f"{'7' * 8}-7777-7777-7777-{'7' * 12}:1"
        )
        other = replace(end, identity=ServerIdentity(end.identity.flavor, "x"), gtid_set=nowhere)
        with pytest.raises(ServerChanged, match="nowhere in the archive"):
            read(folder, other)
    (folder / first).unlink()
    begin = replace(end, file=first, offset=4)
    with pytest.raises(PositionPurged, match="gone from the archive"):
        read(folder, begin)
    assert rows_of(read(folder, replace(end, file=second, offset=4, gtid_set="")))


def test_tables_schemas_and_findings(recorded: Recorded, tmp_path: Path) -> None:
    table = TableId("shop", "t")
    with closing(archive(recorded.folder)) as source, closing(recorded.room.source()) as server:
        assert source.list_tables() == [table]
        mine, theirs = source.read_schemas([table])[table], server.read_schemas([table])[table]
        assert mine.fingerprint() == theirs.fingerprint()
        assert source.check() == []
        assert source.lag_bytes(source.current_position()) == 0
        lag = source.lag_bytes(source.start_position())
        assert lag == sum(f.stat().st_size for f in recorded.files) - 4
    both = archive(recorded.folder, include=["*.*"], exclude=["shop.*"])
    list(both.stream_changes(both.start_position(), both.current_position(), bool))
    assert both.list_tables() == [TableId("other", "u")]
    assert [f.code for f in archive(recorded.folder, include=["nobody.*"]).check()] == ["no_tables"]
    holed = recorded.copy(tmp_path / "hole", recorded.files[0].name, recorded.files[2].name)
    assert [f.code for f in archive(holed).check()] == ["missing_files"]
    end = archive(recorded.folder).current_position()
    cut_copy(recorded, tmp_path / "cut", end.offset - 20)
    assert [f.code for f in archive(tmp_path / "cut").check()] == ["cut_file"]


def test_rows_without_column_names_say_what_to_do(
    mysql: Any, mysql_db: str, tmp_path: Path
) -> None:
    room = Room(mysql, mysql_db)
    mysql.execute("FLUSH BINARY LOGS")
    try:
        room.execute(
            "SET GLOBAL binlog_row_metadata = MINIMAL",
            "CREATE TABLE t (id INT PRIMARY KEY, v INT)",
            "INSERT INTO t VALUES (1, 2)",
        )
    finally:
        mysql.execute("SET GLOBAL binlog_row_metadata = FULL")
    name = mysql.execute("SHOW BINARY LOGS")[-1][0]
    shutil.copy(mysql.datadir / name, tmp_path)
    options = {"include": [f"{mysql_db}.*"]}
    (finding,) = archive(tmp_path, **options).check()
    assert (finding.level, finding.table) == ("error", room.table("t"))
    assert "binlog_row_metadata" in finding.remedy
    with pytest.raises(UnsupportedEvent, match="without column names"):
        read(tmp_path, **options)
