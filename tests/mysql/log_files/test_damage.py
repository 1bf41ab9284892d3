"""What an archive cannot be, and files cut short: refused, never passed over."""

from __future__ import annotations

import gzip
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from resources.errors import (
    CdcError,
    ConfigError,
    CorruptEvent,
    PositionPurged,
    ServerChanged,
    SourceUnavailable,
    UnsupportedEvent,
)
from resources.model.place import FilePlace
from tests.mysql.log_files.recorded import KINDS, Recorded, archive, read, rows_of
from tests.mysql.room import Room


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
        "mixed": (ServerChanged, r"binlog\.000002 does not go on where .*000001 ends.*:\d+"),
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
    mixed = on_mysql.copy(tmp_path / "mixed", files[0].name)
    shutil.copy(files[2], mixed / files[1].name)
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
        unseen = case in ("hole", "mixed", "damaged")
        assert unseen or [f.level for f in findings] == ["error"], case


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
            # Cut within its head, a file may still be on its way.
            with pytest.raises((CorruptEvent, PositionPurged, SourceUnavailable)) as caught:
                read(folder)
            assert file.name in str(caught.value)
        file.write_bytes(data)
    assert rows_of(read(folder)) == recorded.rows
