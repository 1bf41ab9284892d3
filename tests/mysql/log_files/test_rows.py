"""Archived log files: the same rows as the server's own log, without the server."""

from __future__ import annotations

import gzip
import shutil
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import fsspec
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resources.model.change import LogSlice
from resources.model.source import SeekableSource, SnapshotSource, Source
from tests.mysql.log_files.recorded import Recorded, archive, cut_copy, place, read, rows_of


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
