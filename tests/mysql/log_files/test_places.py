"""Starts, stops and positions of an archive: those of the server that wrote it."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from resources.errors import (
    ConfigError,
    PositionPurged,
    ServerChanged,
)
from resources.model.place import FilePlace, GtidPlace, TimePlace
from resources.model.position import PollPosition, ServerIdentity
from tests.mysql.log_files.recorded import Recorded, archive, place, read, rows_of


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
