"""What a merge into a lake writes anew: files with a changed row in them, and those keep apart."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks.rows import parts, reduced, schema
from resources.model.table import TableId
from resources.sinks import lake_files
from resources.sinks.contract import Feed, Fence, TargetId, TargetTable
from resources.sinks.delta import DeltaSink
from resources.sinks.iceberg import IcebergSink
from resources.sinks.lake import LakeSink
from resources.sinks.lake_format import DataFile
from resources.sinks.parquet import ParquetSink

TARGET = TargetTable(TargetId("shop", "t"), schema("int"))
FEED = Feed("p", TableId("shop", "t"))
CHUNKS, PARTS, PART = 8, 6, 1000
ROWS, CHANGES = CHUNKS * PARTS * PART, 200


@pytest.fixture(params=[DeltaSink, IcebergSink, ParquetSink])
def lake(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> LakeSink:
    """A lake whose files are nearly full with a chunk, a row group for each of its parts."""
    size = parts(PART)[0].nbytes
    monkeypatch.setattr(lake_files, "FILE_BYTES", size * PARTS * 11 // 10)
    monkeypatch.setattr(lake_files, "GROUP_BYTES", size // 2)
    make: Callable[[str], LakeSink] = request.param
    return make(str(tmp_path / "lake"))


def test_merges_leave_files_apart_by_key_so_that_few_hold_the_newest_rows(lake: LakeSink) -> None:
    (table,) = parts(ROWS)
    lake.begin_load(TARGET, "load", FEED)
    for number in range(CHUNKS):
        first = number * PARTS * PART
        chunk = [table.slice(first + i * PART, PART) for i in range(PARTS)]
        lake.load_chunk(TARGET, "load", number + 1, chunk)
    lake.finish_load(TARGET, "load", Fence(FEED, 0, 0, 1), 0)
    merge(lake, 0)
    merge(lake, 1)
    bounds = sorted(f.bounds["id"] for f in files(lake) if f.bounds["id"][1] < ROWS)
    assert len(bounds) == CHUNKS
    assert all(last < first for (_, last), (first, _) in pairwise(bounds))

    before = {f.path: f for f in files(lake)}
    merge(lake, 2, newest=2 * CHANGES)
    rewritten = set(before) - {f.path for f in files(lake)}
    # The newest rows are in one file, and some of the merges before had put new rows beside them.
    assert sum(before[path].rows or 0 for path in rewritten) < ROWS / 5
    assert lake.count_rows(TARGET.id) == lake.read_table(TARGET.id).num_rows


def merge(lake: LakeSink, number: int, newest: int = 0) -> None:
    upserts, deletes = reduced(ROWS, CHANGES, number, newest)
    lake.merge(TARGET, upserts, deletes, Fence(FEED, number, number + 1, 1))


def files(lake: LakeSink) -> tuple[DataFile, ...]:
    live = lake.format.read(TARGET.id)
    assert live is not None
    return tuple(live.files)
