"""The segment file: what comes back, what damage is named, what the disk sees."""

from __future__ import annotations

import stat
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resources.errors import CorruptEvent, TransientError
from resources.model.change import TableNotice
from resources.stores.log_files import LogFiles
from resources.stores.segment_file import Block, SegmentFileReader, SegmentFileWriter
from tests.stores.samples import ORDERS, USERS
from tests.strategies import COLUMN_TYPES, WIDE_DECIMALS, arrow_values, comparable

NAME = "segments/a.seg"
NOTICE = TableNotice(ORDERS, 7, "alter", "ALTER TABLE orders", "binlog.1:9", False)


def write(files: LogFiles, blocks: list[pa.RecordBatch]) -> SegmentFileReader:
    file, temporary = files.create_temporary(NAME)
    writer = SegmentFileWriter(file)
    for number, rows in enumerate(blocks):
        table = ORDERS if number % 2 == 0 else USERS
        writer.write_block(table, f"schema {number}", rows, number * 10, number * 10 + 9)
    checksum = writer.finish("shop", 3, [NOTICE])
    files.publish(file, temporary, NAME, "segment")
    return SegmentFileReader(files, NAME, writer.size_bytes, checksum)


def rows(count: int, start: int = 0) -> pa.RecordBatch:
    numbers = range(start, start + count)
    return pa.record_batch({"n": list(numbers), "text": [f"value {n}" for n in numbers]})


def path_of(folder: Path) -> Path:
    return folder / NAME


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(data=st.data(), column_type=st.sampled_from((*COLUMN_TYPES, *WIDE_DECIMALS)))
def test_every_type_comes_back_bit_by_bit(
    tmp_path: Path, data: st.DataObject, column_type: pa.DataType
) -> None:
    values = data.draw(st.lists(st.none() | arrow_values(column_type), max_size=9))
    field = pa.field("v", column_type, metadata={"cdc.type": "words", "cdc.kind": "plain"})
    sent = pa.RecordBatch.from_arrays([pa.array(values, column_type)], schema=pa.schema([field]))
    reader = write(LogFiles(str(tmp_path)), [sent])
    got = [batch for _, batch in reader.read_blocks(reader.index().blocks)]
    assert pa.Table.from_batches(got, sent.schema).schema.equals(sent.schema, check_metadata=True)
    assert comparable(pa.Table.from_batches(got, sent.schema)) == comparable(
        pa.Table.from_batches([sent])
    )


def test_the_index_says_what_is_where(tmp_path: Path) -> None:
    reader = write(LogFiles(str(tmp_path)), [rows(3), rows(2), rows(4)])
    index = reader.index()
    assert (index.pipeline, index.number, index.notices) == ("shop", 3, (NOTICE,))
    assert [(b.table, b.schema, b.rows, b.first_seq, b.last_seq) for b in index.blocks] == [
        (ORDERS, "schema 0", 3, 0, 9),
        (USERS, "schema 1", 2, 10, 19),
        (ORDERS, "schema 2", 4, 20, 29),
    ]
    only = [b for b in index.blocks if b.table == USERS]
    assert [batch.to_pydict() for _, batch in reader.read_blocks(only)] == [rows(2).to_pydict()]
    reader.verify()


def test_an_index_larger_than_the_first_read_is_read_in_full(tmp_path: Path) -> None:
    reader = write(LogFiles(str(tmp_path)), [rows(1)] * 700)
    assert len(reader.index().blocks) == 700
    assert path_of(tmp_path).stat().st_size > 2 * (64 << 10)
    reader.verify()


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(data=st.data())
def test_any_damaged_byte_is_named(tmp_path: Path, data: st.DataObject) -> None:
    reader = write(LogFiles(str(tmp_path)), [rows(40), rows(30, 7), rows(20)])
    blocks = reader.index().blocks
    whole = path_of(tmp_path).read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    bit = data.draw(st.integers(0, 7))
    torn = bytearray(whole)
    torn[at] ^= 1 << bit
    path_of(tmp_path).write_bytes(torn)
    with pytest.raises(CorruptEvent, match=r"damaged|checksum") as caught:
        reader.verify()
    path, _, offset = caught.value.where.partition(" at byte ")
    assert path == str(path_of(tmp_path))
    assert int(offset) in _places(blocks, at, len(whole))
    if at < blocks[-1].offset + blocks[-1].length and at >= 8:
        with pytest.raises(CorruptEvent):  # the reader of that table meets it too
            list(reader.read_blocks([b for b in blocks if b.offset <= at < b.offset + b.length]))


def _places(blocks: tuple[Block, ...], at: int, size: int) -> set[int]:
    for block in blocks:
        if block.offset <= at < block.offset + block.length:
            return {block.offset}
    end = blocks[-1].offset + blocks[-1].length
    return {0} if at < 8 else {end, size - 16}


@pytest.mark.parametrize("kept", [0, 5, 20, 100, -1])
def test_a_cut_file_is_named(tmp_path: Path, kept: int) -> None:
    reader = write(LogFiles(str(tmp_path)), [rows(40)])
    path_of(tmp_path).write_bytes(path_of(tmp_path).read_bytes()[:kept])
    with pytest.raises(CorruptEvent, match="shorter than"):
        reader.index()


def test_another_whole_file_in_its_place_is_named(tmp_path: Path) -> None:
    reader = write(LogFiles(str(tmp_path)), [rows(40)])
    write(LogFiles(str(tmp_path)), [rows(40, 1)])
    with pytest.raises(CorruptEvent):
        reader.verify()


def test_a_missing_file_is_missing(tmp_path: Path) -> None:
    reader = write(LogFiles(str(tmp_path)), [rows(1)])
    path_of(tmp_path).unlink()
    with pytest.raises(FileNotFoundError):
        reader.index()


def test_files_and_folders_are_private(tmp_path: Path) -> None:
    write(LogFiles(str(tmp_path / "a" / "b")), [rows(1)])
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in tmp_path.rglob("*")}
    assert modes == {"a": 0o700, "b": 0o700, "segments": 0o700, "a.seg": 0o600}


def test_a_storage_failure_is_transient_and_names_the_path(tmp_path: Path) -> None:
    (tmp_path / "segments").write_text("a file where the folder should be")
    with pytest.raises(TransientError, match="storage failed") as caught:
        write(LogFiles(str(tmp_path)), [rows(1)])
    assert caught.value.where == str(path_of(tmp_path))
